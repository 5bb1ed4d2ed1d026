import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type AddressKey, keyOfAddress } from '../../src/forward/address-key.ts';
import { DropReason } from '../../src/forward/drop-reason.ts';
import type { Exit } from '../../src/forward/exit.ts';
import { openKernelExit } from '../../src/forward/kernel-exit.ts';
import { MAX_SOCKETS_PER_CLIENT, openSocketExit } from '../../src/forward/socket-exit.ts';
import { openTunExit } from '../../src/forward/tun-exit.ts';
import type { NetworkNamespace } from '../../src/host/namespace.ts';
import type { Clock } from '../../src/link/clock.ts';
import type { Native } from '../../src/native/native.ts';
import { native, udpIn } from '../support/namespaces.ts';
import { VirtualClock } from '../support/virtual-clock.ts';
import { until } from '../support/waiting.ts';
import {
  closeLab,
  DOWN4,
  EXIT4,
  EXIT6,
  type Lab,
  openLab,
  openResponder,
  POOLS,
  type Responder,
  S1,
  S2,
  S6,
  tunEnvironment,
} from './lab.ts';
import { echo, icmp, packet, SYN, tcp, udp, type View, view } from './packets.ts';

interface Kind {
  readonly name: string;
  open(relay: NetworkNamespace, clock: Clock): Promise<Exit>;
  /** The address that D sees. */
  seen(lab: Lab): { readonly ip4: string; readonly ip6: string };
  readonly tcp: boolean;
}

const KINDS: readonly Kind[] = [
  {
    name: 'tun',
    open: (relay, clock) => openTunExit([EXIT4, EXIT6], tunEnvironment(relay, clock)),
    seen: () => ({ ip4: EXIT4, ip6: EXIT6 }),
    tcp: true,
  },
  {
    name: 'kernel',
    open: (relay, clock) => openKernelExit(POOLS, tunEnvironment(relay, clock)),
    seen: ({ wire }) => ({ ip4: wire.a4, ip6: wire.a6 }),
    tcp: true,
  },
  {
    name: 'socket',
    open: (relay, clock) => openSocketExit({ clock, native: native(), netns: relay.pid }),
    seen: ({ wire }) => ({ ip4: wire.a4, ip6: wire.a6 }),
    tcp: false,
  },
];

describe.each(KINDS)('the $name exit', (kind) => {
  let lab: Lab;
  let exit: Exit;
  let server: Responder;
  let server6: Responder;
  const clock = new VirtualClock();
  const returned: { readonly client: AddressKey; readonly view: View }[] = [];

  beforeAll(async () => {
    lab = await openLab();
    exit = await kind.open(lab.relay, clock);
    exit.onReturn((slot, client) => returned.push({ client, view: view(slot) }));
    server = openResponder(lab.d, lab.wire.b4);
    server6 = openResponder(lab.d, lab.wire.b6);
  });
  afterAll(async () => {
    server.close();
    server6.close();
    await exit.close();
    await closeLab(lab);
  });

  const send = (bytes: Uint8Array) => exit.send(packet(bytes), keyOfAddress(view(bytes).source));
  const query = (source: string, sport: number, tag: number) =>
    udp({
      source,
      destination: source.includes(':') ? lab.wire.b6 : lab.wire.b4,
      sport,
      dport: 5300,
      data: Uint8Array.of(tag, 2, 3),
      ttl: 17,
      tos: 0x28,
    });
  /** The answer to a client among what came back, with these ports (or ICMP type and id). */
  const backTo = (client: string, first: number, second: number, from = 0) =>
    until(`an answer to ${client}`, () => {
      const found = returned
        .slice(from)
        .find(
          (one) => one.view.destination === client && one.view.first === first && one.view.second === second,
        );
      return found;
    });
  /** Sends a query and waits for D's answer; with it, the port that D saw. */
  const exchange = async (source: string, sport: number, tag: number) => {
    const before = returned.length;
    expect(send(query(source, sport, tag))).toBeUndefined();
    const answer = await backTo(source, 5300, sport, before);
    const six = source.includes(':');
    const asked = (six ? server6 : server).queries.at(-1)!;
    expect(asked).toMatchObject({
      address: six ? kind.seen(lab).ip6 : kind.seen(lab).ip4,
      data: [tag, 2, 3],
    });
    return { answer, port: asked.port };
  };

  it('carries UDP out and its answer back', async () => {
    const { answer } = await exchange(S1, 4000, 1);
    expect(answer.client).toBe(keyOfAddress(S1));
    expect(answer.view).toMatchObject({ source: lab.wire.b4, ttl: 64, tos: 0, sound: true });
    expect([...answer.view.payload.subarray(8)]).toEqual([1, 99]);
  });

  it('carries UDP over IPv6', async () => {
    const { answer } = await exchange(S6, 4000, 2);
    expect(answer.client).toBe(keyOfAddress(S6));
    expect(answer.view).toMatchObject({ source: lab.wire.b6, ttl: 64, sound: true });
  });

  it('tells two clients with the same ports and destination apart (K17)', async () => {
    const [first, second] = [await exchange(S1, 4100, 3), await exchange(S2, 4100, 4)];
    expect(second.port).not.toBe(first.port);
    expect([...first.answer.view.payload.subarray(8)]).toEqual([3, 99]);
    expect([...second.answer.view.payload.subarray(8)]).toEqual([4, 99]);
  });

  it('carries echo requests of both families', async () => {
    expect(send(echo({ source: S1, destination: lab.wire.b4, id: 77 }))).toBeUndefined();
    expect(send(echo({ source: S6, destination: lab.wire.b6, id: 78 }))).toBeUndefined();
    const four = await backTo(S1, 0, 77);
    const six = await backTo(S6, 129, 78);
    for (const { view } of [four, six]) {
      expect(view.sound).toBe(true);
      expect([...view.payload.subarray(8)]).toEqual([9, 8, 7]);
    }
  });

  it(kind.tcp ? 'carries TCP' : 'refuses TCP by name', async () => {
    const syn = tcp({ source: S1, destination: lab.wire.b4, sport: 4200, dport: 81, flags: SYN });
    if (!kind.tcp) {
      expect(send(syn)).toBe(DropReason.TCP_NEEDS_PRIVILEGES);
      return;
    }
    expect(send(syn)).toBeUndefined();
    const { view } = await backTo(S1, 81, 4200);
    expect(view).toMatchObject({ protocol: 6, sound: true });
    expect(view.payload[13]).toBe(0x14); // nobody listens there: a reset
  });

  it("does not reach the host's own addresses (T24)", async () => {
    // a4 and a6 run; the network of the address below is nowhere, for its interface has no carrier; .255 is a broadcast
    const own = [lab.wire.a4, lab.wire.a6, DOWN4, '10.9.0.255', '127.0.0.1'];
    const services = ['0.0.0.0', '::'].map((any) => udpIn(lab.relay, any, 2222));
    const reasons = own.map((destination) => {
      const source = destination.includes(':') ? S6 : S1;
      return send(udp({ source, destination, sport: 9, dport: 2222 }));
    });
    // the kernel exit leaves it to the kernel; what is sent afterwards arrives afterwards
    expect(reasons).toEqual(own.map(() => (kind.name === 'kernel' ? undefined : DropReason.OWN_SERVICES)));
    await exchange(S1, 4250, 10);
    await exchange(S6, 4250, 11);
    expect(services.map(({ received }) => received.length)).toEqual([0, 0]);
    for (const service of services) service.close();
  });

  it('drops fragments and what is no packet', () => {
    const fragment = udp({
      source: S1,
      destination: lab.wire.b4,
      sport: 1,
      dport: 2,
      df: false,
      moreFragments: true,
    });
    expect(send(fragment)).toBe(DropReason.FRAGMENT);
    expect(exit.send(packet(new Uint8Array(9)), keyOfAddress(S1))).toBe(DropReason.MALFORMED);
  });

  it('lets nothing in that no client has asked for', async () => {
    const { port } = await exchange(S1, 4300, 5);
    const { ip4 } = kind.seen(lab);
    const before = returned.length;
    server.send(Uint8Array.of(66), S1, 4300);
    const stranger = udpIn(lab.d, lab.wire.b4);
    await lab.d.exec(['ip', 'address', 'add', '10.9.0.66/32', 'dev', lab.wire.name]);
    const elsewhere = udpIn(lab.d, '10.9.0.66', 5300);
    elsewhere.send(Uint8Array.of(66), ip4, port);
    stranger.send(Uint8Array.of(66), ip4, port + 1000);
    // what is sent afterwards arrives afterwards
    await exchange(S1, 4301, 6);
    expect(returned.slice(before).map(({ view }) => view.payload[8])).toEqual([6]);
    elsewhere.close();
    stranger.close();
  });

  it('forgets a client that is released, and goes on for others', async () => {
    await exchange(S2, 4400, 7);
    exit.releaseClient(keyOfAddress(S2));
    await exchange(S1, 4401, 8);
    await exchange(S2, 4400, 9);
  });
});

describe('the tun exit', () => {
  it('translates ICMP errors of the path', async () => {
    const lab = await openLab();
    const exit = await openTunExit([EXIT4], tunEnvironment(lab.relay, new VirtualClock()));
    const returned: View[] = [];
    exit.onReturn((slot) => returned.push(view(slot)));
    const closed = udp({ source: S1, destination: lab.wire.b4, sport: 4000, dport: 9 });
    expect(exit.send(packet(closed), keyOfAddress(S1))).toBeUndefined();
    const [error] = await until('an error', () => returned.length > 0 && returned);
    expect(error).toMatchObject({ source: lab.wire.b4, destination: S1, protocol: 1, first: 3, sound: true });
    expect(view(error.payload.slice(8))).toMatchObject({ source: S1, first: 4000, second: 9 });
    await exit.close();
    await closeLab(lab);
  });

  it('counts what it drops from outside, and refuses a family that it has no address of', async () => {
    const lab = await openLab();
    const exit = await openTunExit([EXIT4], tunEnvironment(lab.relay, new VirtualClock()));
    const stranger = udpIn(lab.d, lab.wire.b4);
    stranger.send(Uint8Array.of(1), EXIT4, 4000);
    await until('the drop', () => exit.counters[DropReason.NO_MAPPING] === 1);
    const six = udp({ source: S6, destination: lab.wire.b6, sport: 1, dport: 2 });
    expect(exit.send(packet(six), keyOfAddress(S6))).toBe(DropReason.NOT_SENT);
    stranger.close();
    await exit.close();
    await closeLab(lab);
  });

  it('says what to do when the kernel does not forward', async () => {
    const lab = await openLab();
    await lab.relay.exec(['sysctl', '-qw', 'net.ipv4.ip_forward=0']);
    await expect(openTunExit([EXIT4], tunEnvironment(lab.relay, new VirtualClock()))).rejects.toThrow(
      'sysctl -w net.ipv4.ip_forward=1',
    );
    await closeLab(lab);
  });

  it('refuses an exit address that an interface has', async () => {
    const lab = await openLab();
    const environment = tunEnvironment(lab.relay, new VirtualClock());
    await expect(openTunExit([DOWN4], environment)).rejects.toThrow(
      `the exit address ${DOWN4} is the host's own: remove it from its interface`,
    );
    await closeLab(lab);
  });

  it('refuses two exit addresses of one family', async () => {
    const lab = await openLab();
    const environment = tunEnvironment(lab.relay, new VirtualClock());
    await expect(openTunExit([EXIT4, '203.0.113.8'], environment)).rejects.toThrow('leave 203.0.113.8 out');
    await closeLab(lab);
  });
});

describe('the socket exit', () => {
  it('binds its sockets of another namespace without dgram', async () => {
    const lab = await openLab();
    const bound: string[] = [];
    const recording: Native = {
      ...native(),
      openUdp: (local, port) => {
        bound.push(`${local} ${port}`);
        return native().openUdp(local, port);
      },
    };
    const exit = await openSocketExit({ clock: new VirtualClock(), native: recording, netns: lab.relay.pid });
    for (const [source, destination] of [
      [S1, lab.wire.b4],
      [S6, lab.wire.b6],
    ]) {
      const query = udp({ source, destination, sport: 4000, dport: 9 });
      expect(exit.send(packet(query), keyOfAddress(source))).toBeUndefined();
    }
    expect(bound).toEqual(['0.0.0.0 0', ':: 0']);
    await exit.close();
    await closeLab(lab);
  });

  const open = (relay: NetworkNamespace, clock: Clock) =>
    openSocketExit({ clock, native: native(), netns: relay.pid });

  it('refuses echo requests by name where the kernel does not let it send them', async () => {
    const lab = await openLab();
    await lab.relay.exec(['sysctl', '-qw', 'net.ipv4.ping_group_range=1 0']);
    const ping = echo({ source: S1, destination: lab.wire.b4, id: 1 });
    const exit = await open(lab.relay, new VirtualClock());
    expect(exit.send(packet(ping), keyOfAddress(S1))).toBe(DropReason.ICMP_NOT_PERMITTED);
    await exit.close();
    const without = await openSocketExit({ clock: new VirtualClock() });
    expect(without.send(packet(ping), keyOfAddress(S1))).toBe(DropReason.ICMP_NOT_PERMITTED);
    const redirect = icmp({ source: S1, destination: lab.wire.b4, type: 5 });
    expect(without.send(packet(redirect), keyOfAddress(S1))).toBe(DropReason.UNSUPPORTED_ICMP);
    await without.close();
    await closeLab(lab);
  });

  it('closes a socket after 300 idle seconds', async () => {
    const lab = await openLab();
    const clock = new VirtualClock();
    const exit = await open(lab.relay, clock);
    const bytes = udp({ source: S1, destination: lab.wire.b4, sport: 4000, dport: 9 });
    exit.send(packet(bytes), keyOfAddress(S1));
    await clock.advance(200_000);
    exit.send(packet(bytes), keyOfAddress(S1));
    await clock.advance(299_999);
    expect(clock.pending).toBe(1);
    await clock.advance(1);
    expect(clock.pending).toBe(0);
    await exit.close();
    await closeLab(lab);
  });

  it('limits the sockets of a client', async () => {
    const lab = await openLab();
    const exit = await open(lab.relay, new VirtualClock());
    const from = (source: string, sport: number) => {
      const bytes = udp({ source, destination: lab.wire.b4, sport, dport: 9 });
      return exit.send(packet(bytes), keyOfAddress(source));
    };
    for (let i = 0; i < MAX_SOCKETS_PER_CLIENT; i++) expect(from(S1, 4000 + i)).toBeUndefined();
    expect(from(S1, 3999)).toBe(DropReason.NAPT_FULL);
    expect(from(S1, 4000)).toBeUndefined();
    expect(from(S2, 3999)).toBeUndefined();
    exit.releaseClient(keyOfAddress(S1));
    expect(from(S1, 3999)).toBeUndefined();
    await exit.close();
    await closeLab(lab);
  });
});
