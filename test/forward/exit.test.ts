import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type AddressKey, keyOfAddress } from '../../src/forward/address-key.ts';
import { DropReason } from '../../src/forward/drop-reason.ts';
import type { Exit } from '../../src/forward/exit.ts';
import { openKernelExit } from '../../src/forward/kernel-exit.ts';
import { openNftTable } from '../../src/forward/nft-table.ts';
import { MAX_SOCKETS_PER_CLIENT, openSocketExit } from '../../src/forward/socket-exit.ts';
import { openTunExit } from '../../src/forward/tun-exit.ts';
import { type NetworkNamespace, openNamespace } from '../../src/host/namespace.ts';
import type { Clock } from '../../src/link/clock.ts';
import { parsePrefix } from '../../src/wire/address.ts';
import { nodeCommand } from '../support/compiled.ts';
import { native, udpIn, type Wire, wire, within } from '../support/namespaces.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { VirtualClock } from '../support/virtual-clock.ts';
import { until } from '../support/waiting.ts';
import { echo, icmp, packet, SYN, tcp, udp, type View, view } from './packets.ts';

const S1 = '10.1.0.1';
const S2 = '10.1.0.2';
const S6 = 'fd00:1::1';
const POOLS = [parsePrefix('10.1.0.0/24'), parsePrefix('fd00:1::/64')];
const EXIT4 = '203.0.113.7';
const EXIT6 = '2001:db8:e::7';

/** An exit in one namespace, a host D in another one, and a wire between them. */
interface Lab {
  readonly relay: NetworkNamespace;
  readonly d: NetworkNamespace;
  readonly wire: Wire;
}

async function openLab(): Promise<Lab> {
  const [relay, d] = await Promise.all([openNamespace(), openNamespace()]);
  const ends = await wire(relay, d);
  await relay.exec(['sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1']);
  await relay.exec(['sysctl', '-qw', 'net.ipv4.ping_group_range=0 2147483647']);
  await d.exec(['ip', 'route', 'add', `${EXIT4}/32`, 'via', ends.a4]);
  await d.exec(['ip', 'route', 'add', `${EXIT6}/128`, 'via', ends.a6]);
  // a way to the clients' addresses, which nothing may come to
  await d.exec(['ip', 'route', 'add', '10.1.0.0/24', 'via', ends.a4]);
  return { relay, d, wire: ends };
}

async function closeLab({ relay, d }: Lab): Promise<void> {
  await Promise.all([relay.close(), d.close()]);
}

/** A UDP server at D that answers every query with its first octet and 99, and keeps who asked what. */
interface Responder {
  readonly queries: { readonly address: string; readonly port: number; readonly data: number[] }[];
  send(datagram: Uint8Array, address: string, port: number): void;
  close(): void;
}

function openResponder(d: NetworkNamespace, address: string): Responder {
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  const queries: Responder['queries'] = [];
  socket.on('message', (message, { address, port }) => {
    queries.push({ address, port, data: [...message] });
    socket.send(Uint8Array.of(message[0], 99), port, address);
  });
  socket.on('error', () => {});
  socket.bind({ fd: within(d, () => native().openUdp(address, 5300)) });
  return {
    queries,
    send: (datagram, to, port) => socket.send(datagram, port, to),
    close: () => socket.close(),
  };
}

interface Kind {
  readonly name: string;
  open(relay: NetworkNamespace, clock: Clock): Promise<Exit>;
  /** The address that D sees. */
  seen(lab: Lab): { readonly ip4: string; readonly ip6: string };
  readonly tcp: boolean;
}

const tunEnvironment = (relay: NetworkNamespace, clock: Clock) => ({
  native: native(),
  clock,
  random: seededRandom(1),
  mtu: 1280,
  netns: relay.pid,
});

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
    open: async (relay, clock) => openSocketExit({ clock, native: native(), netns: relay.pid }),
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

  it("does not reach the host's own addresses (T24)", () => {
    const to = (destination: string, source = S1) => udp({ source, destination, sport: 9, dport: 22 });
    expect(send(to(lab.wire.a4))).toBe(DropReason.OWN_SERVICES);
    expect(send(to('127.0.0.1'))).toBe(DropReason.OWN_SERVICES);
    expect(send(to(lab.wire.a6, S6))).toBe(DropReason.OWN_SERVICES);
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

  it('refuses two exit addresses of one family', async () => {
    const lab = await openLab();
    const environment = tunEnvironment(lab.relay, new VirtualClock());
    await expect(openTunExit([EXIT4, '203.0.113.8'], environment)).rejects.toThrow('leave 203.0.113.8 out');
    await closeLab(lab);
  });
});

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

describe('the socket exit', () => {
  const open = (relay: NetworkNamespace, clock: Clock) =>
    openSocketExit({ clock, native: native(), netns: relay.pid });

  it('refuses echo requests by name where the kernel does not let it send them', async () => {
    const lab = await openLab();
    await lab.relay.exec(['sysctl', '-qw', 'net.ipv4.ping_group_range=1 0']);
    const ping = echo({ source: S1, destination: lab.wire.b4, id: 1 });
    const exit = open(lab.relay, new VirtualClock());
    expect(exit.send(packet(ping), keyOfAddress(S1))).toBe(DropReason.ICMP_NOT_PERMITTED);
    await exit.close();
    const without = openSocketExit({ clock: new VirtualClock() });
    expect(without.send(packet(ping), keyOfAddress(S1))).toBe(DropReason.ICMP_NOT_PERMITTED);
    const redirect = icmp({ source: S1, destination: lab.wire.b4, type: 5 });
    expect(without.send(packet(redirect), keyOfAddress(S1))).toBe(DropReason.UNSUPPORTED_ICMP);
    await without.close();
    await closeLab(lab);
  });

  it('closes a socket after 300 idle seconds', async () => {
    const lab = await openLab();
    const clock = new VirtualClock();
    const exit = open(lab.relay, clock);
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
    const exit = open(lab.relay, new VirtualClock());
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
