import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { tunLauncher } from '../../src/native/perl-tun.ts';
import { nodeCommand } from '../support/compiled.ts';
import { native, udpIn, within, withNamespaces } from '../support/namespaces.ts';
import { until } from '../support/waiting.ts';

describe('a process', () => {
  it('ends by itself once its devices are closed, and with process.exit while they are open', () =>
    withNamespaces(1, async (namespace) => {
      for (const [index, ending] of [
        'for (const open of opened) open.close();',
        'process.exit(0);',
      ].entries()) {
        const [program, ...args] = nodeCommand(
          `const { native } = (await import(SRC + '/native/load.js')).loadNative();
           const opened = [native.openTun('t${index}'), native.openRawEsp('127.0.0.1'), native.openCapture('lo')];
           for (const open of opened) open.start(() => {});
           setTimeout(() => { ${ending} }, 50);`,
        );
        const child = namespace.spawn([program, ...args], { stdio: 'inherit' });
        expect(await once(child, 'exit')).toEqual([0, null]);
      }
    }));

  it('does TUN with Perl and node:fs alone', () =>
    withNamespaces(1, async (namespace) => {
      const command = nodeCommand(
        `const { tunFromFd } = await import(SRC + '/native/tun-from-fd.js');
         const tun = tunFromFd(7, 't0');
         // Answers a UDP datagram: addresses and ports swapped, which leaves every checksum as it was.
         tun.start((packets) => {
           for (const { buffer, start, end } of packets) {
             if (buffer[start + 9] !== 17) continue;
             const swap = (at, length) => {
               const first = buffer.slice(at, at + length);
               buffer.copyWithin(at, at + length, at + 2 * length);
               buffer.set(first, at + length);
             };
             swap(start + 12, 4);
             swap(start + 20, 2);
             if (!tun.write({ buffer, start, end })) console.log('refused');
             if (buffer[end - 1] === 255) tun.close();
           }
         });
         console.log('started');`,
      );
      const child = namespace.spawn(tunLauncher('t0', command, 7), { stdio: ['ignore', 'pipe', 'inherit'] });
      let said = '';
      child.stdout?.on('data', (text) => {
        said += text;
      });
      await until('the child', () => said.includes('started'));
      await namespace.exec(['ip', 'address', 'add', '10.8.0.1/24', 'dev', 't0']);
      await namespace.exec(['ip', 'link', 'set', 't0', 'up']);
      const udp = udpIn(namespace, '10.8.0.1', 1000);
      for (let i = 0; i < 100; i++) {
        udp.send(new Uint8Array(1200).fill(i), '10.8.0.2', 9);
        if (i % 20 === 19) await until('the echoes', () => udp.received.length > i);
      }
      expect(udp.received[99]).toEqual(new Uint8Array(1200).fill(99));
      udp.send(Uint8Array.of(255), '10.8.0.2', 9);
      if (child.exitCode === null) await once(child, 'exit');
      expect([child.exitCode, said]).toEqual([0, 'started\n']);
      udp.close();
    }));

  it('is told what Perl could not do', () =>
    withNamespaces(1, async (namespace) => {
      const tun = within(namespace, () => native().openTun('t0'));
      await expect(namespace.exec(tunLauncher('t0', ['true'], 7))).rejects.toThrow(
        /TUN device 't0': Device or/,
      );
      await expect(namespace.exec(tunLauncher('t1', ['/no/such'], 7))).rejects.toThrow(
        '/no/such: No such file',
      );
      tun.close();
    }));
});

describe('loadNative', () => {
  it('gives the reason when koffi is not there', async () => {
    const [program, ...args] = nodeCommand(
      `import { Module } from 'node:module';
       const load = Module._load;
       Module._load = (name, ...rest) => {
         if (name === 'koffi') throw new Error("Cannot find module 'koffi'\\nRequire stack: ...");
         return load(name, ...rest);
       };
       console.log((await import(SRC + '/native/load.js')).loadNative().unavailable);`,
    );
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    let said = '';
    child.stdout.on('data', (text) => {
      said += text;
    });
    await once(child, 'close');
    expect(said).toBe(
      "the optional package koffi cannot be loaded (Cannot find module 'koffi'); install it: npm install koffi\n",
    );
  });
});
