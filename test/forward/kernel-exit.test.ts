import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { keyOfAddress } from '../../src/forward/address-key.ts';
import { DropReason } from '../../src/forward/drop-reason.ts';
import { openKernelExit } from '../../src/forward/kernel-exit.ts';
import { openNftTable } from '../../src/forward/nft-table.ts';
import { nodeCommand } from '../support/compiled.ts';
import { native, udpIn, within } from '../support/namespaces.ts';
import { VirtualClock } from '../support/virtual-clock.ts';
import { until } from '../support/waiting.ts';
import { closeLab, openLab, openResponder, POOLS, S1, S6, tunEnvironment } from './lab.ts';
import { echo, icmp, packet, udp, type View, view } from './packets.ts';

/** Processes that this one started, by the name of their program. */
function childrenRunning(program: string): { readonly pid: number; readonly group: number }[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const [, comm, rest] = /\((.*)\) \S (.*)$/s.exec(readFileSync(`/proc/${name}/stat`, 'utf8'))!;
        const [parent, group] = rest.split(' ').map(Number);
        return comm === program && parent === process.pid ? [{ pid: Number(name), group }] : [];
      } catch {
        return []; // it has ended
      }
    });
}

describe('the kernel exit', () => {
  it('has a table of its own that goes with it, and no device that stays', async () => {
    const lab = await openLab();
    const tables = async () => (await lab.relay.exec(['nft', 'list', 'ruleset'])).stdout;
    await lab.relay.exec(['nft', 'add table ip operators']);
    const exit = await openKernelExit(POOLS, tunEnvironment(lab.relay, new VirtualClock()));
    const during = await tables();
    expect(during).toContain(`table inet ike_telescope_${process.pid}_tun0`);
    expect(during).toContain('flags owner');
    expect(during).toContain('ip saddr 10.1.0.0/24 oifname != "tun0" masquerade');
    await exit.close();
    expect((await tables()).trim().replace(/\s+/g, ' ')).toBe('table ip operators { }');
    expect((await lab.relay.exec(['ip', 'route'])).stdout).not.toContain('10.1.0.0');
    await closeLab(lab);
  });

  it('leaves no table behind when its process is killed', async () => {
    const lab = await openLab();
    const script = `
      const { openNftTable } = await import(SRC + '/forward/nft-table.js');
      await openNftTable('orphan', 'chain c { type filter hook forward priority filter; }', ${lab.relay.pid});
      console.log('open');
      setInterval(() => {}, 1000);`;
    const [program, ...args] = nodeCommand(script);
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(child.stdout, 'data');
    const tables = async () => (await lab.relay.exec(['nft', 'list', 'ruleset'])).stdout.trim();
    expect(await tables()).toContain('orphan');
    child.kill('SIGKILL');
    let left = await tables();
    for (let i = 0; i < 200 && left !== ''; i++) left = await tables();
    expect(left).toBe('');
    await closeLab(lab);
  });

  it("lets no client's address out with packets that belong to no connection", async () => {
    const lab = await openLab();
    const exit = await openKernelExit(POOLS, tunEnvironment(lab.relay, new VirtualClock()));
    let returned = 0;
    exit.onReturn(() => returned++);
    const seen: View[] = [];
    const capture = within(lab.d, () => native().openCapture(lab.wire.name));
    capture.start(({ bytes }) => {
      const ethertype = bytes[12] * 256 + bytes[13];
      if (ethertype === 0x0800 || ethertype === 0x86dd) seen.push(view(bytes.slice(14)));
    });
    const unasked = [
      echo({ source: S1, destination: lab.wire.b4, id: 1, reply: true }),
      echo({ source: S6, destination: lab.wire.b6, id: 1, reply: true }),
      icmp({ source: S1, destination: lab.wire.b4, type: 3, code: 3, data: new Uint8Array(28) }),
    ];
    const asked = echo({ source: S1, destination: lab.wire.b4, id: 2 });
    for (const bytes of [...unasked, asked]) exit.send(packet(bytes), keyOfAddress(view(bytes).source));
    await until('the answer', () => returned > 0);
    const sources = new Set(seen.map(({ source }) => source));
    expect(sources).toContain(lab.wire.a4);
    expect(sources).not.toContain(S1);
    expect(sources).not.toContain(S6);
    capture.close();
    await exit.close();
    await closeLab(lab);
  });

  it('closes its device at once when the owner of its table ends, and says so', async () => {
    const lab = await openLab();
    const exit = await openKernelExit(POOLS, tunEnvironment(lab.relay, new VirtualClock()));
    const server = openResponder(lab.d, lab.wire.b4);
    const query = udp({ source: S1, destination: lab.wire.b4, sport: 4000, dport: 5300 });
    expect(exit.problem).toBeUndefined();
    const [owner] = childrenRunning('nft');
    expect(owner.group).toBe(owner.pid); // not ended by a signal to our group
    process.kill(owner.pid, 'SIGTERM');
    await until('the problem', () => exit.problem);
    expect(exit.problem).toMatch(/nft -i\) has ended; start the relay again/);
    expect(exit.send(packet(query), keyOfAddress(S1))).toBe(DropReason.NOT_SENT);
    expect((await lab.relay.exec(['ip', 'route'])).stdout).not.toContain('10.1.0.0');
    expect(server.queries).toEqual([]);
    server.close();
    await exit.close();
    await closeLab(lab);
  });

  it('has no problem when it is closed', async () => {
    const lab = await openLab();
    const exit = await openKernelExit(POOLS, tunEnvironment(lab.relay, new VirtualClock()));
    await exit.close();
    expect(exit.problem).toBeUndefined();
    await closeLab(lab);
  });

  it("gives the next holder of an address nothing of the former's, but errors about its own packets", async () => {
    const lab = await openLab();
    const exit = await openKernelExit(POOLS, tunEnvironment(lab.relay, new VirtualClock()));
    const returned: View[] = [];
    exit.onReturn((slot) => returned.push(view(slot)));
    await lab.d.exec(['ip', 'address', 'add', '10.9.0.66/32', 'dev', lab.wire.name]);
    const silent = udpIn(lab.d, '10.9.0.66', 5300);
    const to = (destination: string, sport: number, dport: number) =>
      udp({ source: S1, destination, sport, dport });
    exit.send(packet(to('10.9.0.66', 4000, 5300)), keyOfAddress(S1));
    await until('the query', () => silent.received.length > 0);
    exit.releaseClient(keyOfAddress(S1));
    silent.send(Uint8Array.of(66), lab.wire.a4, 4000); // the former holder's answer, to the connection that is left
    await until('the drop', () => exit.counters[DropReason.FILTERED] === 1);
    exit.send(packet(to(lab.wire.b4, 4001, 9)), keyOfAddress(S1)); // nobody listens there
    await until('an error', () => returned.length > 0);
    expect(returned).toMatchObject([{ destination: S1, protocol: 1, first: 3 }]);
    silent.close();
    await exit.close();
    await closeLab(lab);
  });

  it('says what nft did not like', async () => {
    const lab = await openLab();
    await expect(openNftTable('t', 'chain c { type nonsense; }', lab.relay.pid)).rejects.toThrow(
      /nft did not take/,
    );
    await closeLab(lab);
  });

  it('keeps the host itself from reaching clients unasked', async () => {
    const lab = await openLab();
    const exit = await openKernelExit(POOLS, tunEnvironment(lab.relay, new VirtualClock()));
    let returned = 0;
    exit.onReturn(() => returned++);
    const local = udpIn(lab.relay, lab.wire.a4);
    local.send(Uint8Array.of(1), S1, 4000);
    const ping = echo({ source: S1, destination: lab.wire.b4, id: 1 });
    exit.send(packet(ping), keyOfAddress(S1));
    await until('the answer', () => returned > 0);
    expect(returned).toBe(1);
    local.close();
    await exit.close();
    await closeLab(lab);
  });
});
