import { createSocket } from 'node:dgram';
import { type NetworkNamespace, openNamespace } from '../../src/host/namespace.ts';
import type { Clock } from '../../src/link/clock.ts';
import { parsePrefix } from '../../src/wire/address.ts';
import { native, type Wire, wire, within } from '../support/namespaces.ts';
import { seededRandom } from '../support/seeded-random.ts';

export const S1 = '10.1.0.1';
export const S2 = '10.1.0.2';
export const S6 = 'fd00:1::1';
export const POOLS = [parsePrefix('10.1.0.0/24'), parsePrefix('fd00:1::/64')];
export const EXIT4 = '203.0.113.7';
export const EXIT6 = '2001:db8:e::7';
/** An address of the exit's host, on an interface without carrier. */
export const DOWN4 = '10.8.0.1';

/** An exit in one namespace, a host D in another one, and a wire between them. */
export interface Lab {
  readonly relay: NetworkNamespace;
  readonly d: NetworkNamespace;
  readonly wire: Wire;
}

export async function openLab(): Promise<Lab> {
  const [relay, d] = await Promise.all([openNamespace(), openNamespace()]);
  const ends = await wire(relay, d);
  await relay.exec(['sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1']);
  await relay.exec(['sysctl', '-qw', 'net.ipv4.ping_group_range=0 2147483647']);
  await relay.exec(['ip', 'link', 'add', 'idle', 'type', 'veth', 'peer', 'name', 'idle-peer']);
  await relay.exec(['ip', 'address', 'add', `${DOWN4}/24`, 'dev', 'idle']);
  await relay.exec(['ip', 'link', 'set', 'idle', 'up']);
  await d.exec(['ip', 'route', 'add', `${EXIT4}/32`, 'via', ends.a4]);
  await d.exec(['ip', 'route', 'add', `${EXIT6}/128`, 'via', ends.a6]);
  // a way to the clients' addresses, which nothing may come to
  await d.exec(['ip', 'route', 'add', '10.1.0.0/24', 'via', ends.a4]);
  return { relay, d, wire: ends };
}

export async function closeLab({ relay, d }: Lab): Promise<void> {
  await Promise.all([relay.close(), d.close()]);
}

/** A UDP server at D that answers every query with its first octet and 99, and keeps who asked what. */
export interface Responder {
  readonly queries: { readonly address: string; readonly port: number; readonly data: number[] }[];
  send(datagram: Uint8Array, address: string, port: number): void;
  close(): void;
}

export function openResponder(d: NetworkNamespace, address: string): Responder {
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

export const tunEnvironment = (relay: NetworkNamespace, clock: Clock) => ({
  native: native(),
  clock,
  random: seededRandom(1),
  mtu: 1280,
  netns: relay.pid,
});
