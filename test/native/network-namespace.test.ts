import { spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { closeSync, readlinkSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { ip } from '../../src/host/ip.ts';
import { internetChecksum } from '../../src/wire/ip.ts';
import { nodeCommand } from '../support/compiled.ts';
import { native, within, withNamespaces } from '../support/namespaces.ts';

const current = () => readlinkSync('/proc/thread-self/ns/net');

describe('withinNetworkNamespace', () => {
  it('runs the action there and returns, also when the action throws', () =>
    withNamespaces(2, async (a, b) => {
      const home = current();
      const inside = within(a, () => [current(), within(b, current), current()]);
      expect(inside).toEqual([readlinkSync(a.file), readlinkSync(b.file), readlinkSync(a.file)]);
      expect(current()).toBe(home);
      expect(() =>
        within(a, () => {
          throw new RangeError('no');
        }),
      ).toThrow(RangeError);
      expect(current()).toBe(home);
    }));

  it('enters new ones, which have nothing but a loopback interface that is down', async () => {
    const home = current();
    const fds = [native().newNetworkNamespace(), native().newNetworkNamespace()];
    const files = fds.map((fd) => `/proc/self/fd/${fd}`);
    expect(current()).toBe(home);
    const names = files.map((file) => native().withinNetworkNamespace(file, current));
    expect(new Set([...names, home]).size).toBe(3);
    const links = native().withinNetworkNamespace(files[0], () => ip(['-oneline', 'link', 'show', 'up']));
    expect((await links).stdout).toBe('');
    for (const fd of fds) closeSync(fd);
  });

  it('says why it cannot enter', () => {
    const home = current();
    expect(() => native().withinNetworkNamespace('/proc/1/ns/nothing', () => 1)).toThrow(
      /ENOENT; has its process ended/,
    );
    expect(() => native().withinNetworkNamespace('/proc/self/status', () => 1)).toThrow(
      /EINVAL; that file is not a network namespace/,
    );
    expect(current()).toBe(home);
  });

  it('ends the process if it cannot return', () =>
    withNamespaces(1, async (namespace) => {
      const command = nodeCommand(
        `import { closeSync, readdirSync, readlinkSync } from 'node:fs';
         const { loadNative } = await import(SRC + '/native/load.js');
         loadNative().native.withinNetworkNamespace(process.argv[1], () => {
           for (const fd of readdirSync('/proc/self/fd')) {
             try { if (readlinkSync('/proc/self/fd/' + fd).startsWith('net:')) closeSync(Number(fd)); } catch {}
           }
         });
         console.log('still here');`,
        namespace.file,
      );
      const { signal, stderr, stdout } = spawnSync(command[0], command.slice(1), { encoding: 'utf8' });
      expect(signal).toBe('SIGABRT');
      expect(stderr).toContain('returning to the network namespace: EBADF; ending the process');
      expect(stdout).toBe('');
    }));
});

describe('ping socket', () => {
  for (const [family, address, request, reply] of [
    [4, '127.0.0.1', 8, 0],
    [6, '::1', 128, 129],
  ] as const) {
    it(`sends an ICMP echo over IPv${family} through dgram`, () =>
      withNamespaces(1, async (namespace) => {
        await namespace.exec([
          'perl',
          '-e',
          'open F, ">", shift; print F "0 0"',
          '/proc/sys/net/ipv4/ping_group_range',
        ]);
        const fd = within(namespace, () => native().openPingSocket(family));
        const socket = createSocket(family === 4 ? 'udp4' : 'udp6');
        socket.bind({ fd });
        const echo = Uint8Array.of(request, 0, 0, 0, 0, 0, 0, 1, 0xab);
        const sum = internetChecksum(echo, 0, echo.length);
        echo.set([sum >> 8, sum & 255], 2);
        socket.send(echo, 1, address);
        const [message] = await once(socket, 'message');
        expect([message[0], message[7], message[8]]).toEqual([reply, 1, 0xab]);
        socket.close();
      }));
  }

  it('names the sysctl that forbids it', () =>
    withNamespaces(1, async (namespace) => {
      expect(() => within(namespace, () => native().openPingSocket(4))).toThrow(
        /EACCES.*net\.ipv4\.ping_group_range/,
      );
    }));
});
