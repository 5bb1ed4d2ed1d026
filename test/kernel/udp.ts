import { createSocket } from 'node:dgram';
import type { Address } from '../../src/wire/address.ts';
import { native, within } from '../support/namespaces.ts';

/** A UDP socket in a network namespace. */
export interface UdpSocket {
  send(datagram: Uint8Array, address: Address, port: number): void;
  close(): void;
}

/** @param netns - a process in the namespace */
export function openUdpIn(netns: number, ...rest: Rest): UdpSocket {
  return openUdpFile(`/proc/${netns}/ns/net`, ...rest);
}

type Rest = [
  address: Address,
  port: number,
  onMessage: (message: Uint8Array, source: { readonly address: Address; readonly port: number }) => void,
];

/** @param file - the namespace's */
export function openUdpFile(file: string, ...[address, port, onMessage]: Rest): UdpSocket {
  const fd = within({ file }, () => native().openUdp(address, port));
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  socket.on('message', onMessage);
  socket.on('error', () => {});
  socket.bind({ fd });
  return {
    send: (datagram, to, toPort) => socket.send(datagram, toPort, to),
    close: () => socket.close(),
  };
}
