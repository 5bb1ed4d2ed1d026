import { createSocket } from 'node:dgram';
import { connectNamespaces, type NetworkNamespace, openNamespace } from '../../src/host/namespace.ts';
import { loadNative } from '../../src/native/load.ts';
import type { Native } from '../../src/native/native.ts';
import type { Address } from '../../src/wire/address.ts';

/** Runs `action` with new network namespaces, which are closed afterwards, also when it fails. */
export async function withNamespaces<T>(
  count: number,
  action: (...namespaces: NetworkNamespace[]) => Promise<T>,
): Promise<T> {
  const opened = await Promise.all(Array.from({ length: count }, openNamespace));
  try {
    return await action(...opened);
  } finally {
    await Promise.all(opened.map((namespace) => namespace.close()));
  }
}

/** The two ends of a veth: `name` in each namespace, addresses 10.9.`subnet`.1 and .2, fd09:`subnet + 1`::1 and ::2. */
export interface Wire {
  readonly name: string;
  readonly a4: string;
  readonly b4: string;
  readonly a6: string;
  readonly b6: string;
}

/** Joins two namespaces; IPv6 addresses are usable at once. */
export async function wire(a: NetworkNamespace, b: NetworkNamespace, subnet = 0, mtu = 1500): Promise<Wire> {
  const name = `w${subnet}`;
  await connectNamespaces(a, b, { aName: name, bName: name, mtu });
  const ends = {
    a4: `10.9.${subnet}.1`,
    b4: `10.9.${subnet}.2`,
    a6: `fd09:${subnet + 1}::1`,
    b6: `fd09:${subnet + 1}::2`,
  };
  await Promise.all([
    a.exec(['ip', 'address', 'add', `${ends.a4}/24`, 'dev', name]),
    b.exec(['ip', 'address', 'add', `${ends.b4}/24`, 'dev', name]),
  ]);
  await Promise.all([
    a.exec(['ip', 'address', 'add', `${ends.a6}/64`, 'dev', name, 'nodad']),
    b.exec(['ip', 'address', 'add', `${ends.b6}/64`, 'dev', name, 'nodad']),
  ]);
  return { name, ...ends };
}

/** The native interface; the tests need it. */
export function native(): Native {
  const loaded = loadNative();
  if ('unavailable' in loaded) throw new Error(loaded.unavailable);
  return loaded.native;
}

/** Opens something in a namespace: `within(ns, () => native().openTun('t0'))`. */
export function within<T>(namespace: Pick<NetworkNamespace, 'file'>, action: () => T): T {
  return native().withinNetworkNamespace(namespace.file, action);
}

/** A UDP socket in a namespace that collects what it receives. */
export interface UdpEnd {
  readonly port: number;
  readonly received: Uint8Array[];
  send(datagram: Uint8Array, address: Address, port: number): void;
  close(): void;
}

/** Opens a UDP socket in a namespace. */
export function udpIn(namespace: NetworkNamespace, address: Address, port = 0): UdpEnd {
  const fd = within(namespace, () => native().openUdp(address, port));
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  const received: Uint8Array[] = [];
  socket.on('message', (message) => received.push(Uint8Array.from(message)));
  socket.on('error', () => {});
  socket.bind({ fd });
  return {
    port: socket.address().port,
    received,
    send: (datagram, to, toPort) => socket.send(datagram, toPort, to),
    close: () => socket.close(),
  };
}
