import { IpProtocol, ipHeaderLength, type UdpAddresses, writeIpHeader, writeUdpHeader } from '../wire/ip.ts';

/**
 * Octets that `allocatePacket` keeps free before and after the data, so that every layer of a telescope (up to eight
 * ESP layers over IPv6) is added and removed in place.
 */
export const HEADROOM = 576;
export const TAILROOM = 320;

/** The longest IP packet that enters or leaves a data plane. */
export const MAX_PACKET = 65_535;

/** A packet in a larger buffer: octets `start` to `end` (exclusive). Layers move `start` and `end`; nothing is copied. */
export interface Packet {
  /** The slot: the data, with room around it. */
  readonly buffer: Uint8Array;
  /** Offset of the first octet. */
  start: number;
  /** Offset behind the last octet. */
  end: number;
}

/** A new slot that holds `length` octets of data (zeros) with room for every layer. */
export function allocatePacket(length: number): Packet {
  return { buffer: new Uint8Array(HEADROOM + length + TAILROOM), start: HEADROOM, end: HEADROOM + length };
}

/** A packet with its own copy of `bytes`. */
export function packetFrom(bytes: Uint8Array): Packet {
  const packet = allocatePacket(bytes.length);
  packet.buffer.set(bytes, packet.start);
  return packet;
}

/** A view of the packet's octets. */
export function packetBytes(packet: Packet): Uint8Array {
  return packet.buffer.subarray(packet.start, packet.end);
}

/** A UDP datagram as a whole IP packet, with the constant header that all our packets have. */
export function udpPacket(message: Uint8Array, addresses: UdpAddresses): Packet {
  const headerLength = ipHeaderLength(addresses.source.length === 4 ? 4 : 6);
  const packet = allocatePacket(headerLength + 8 + message.length);
  const { buffer, start, end } = packet;
  const udp = start + headerLength;
  buffer.set(message, udp + 8);
  writeUdpHeader(buffer, udp, end, addresses);
  writeIpHeader(buffer, start, { ...addresses, protocol: IpProtocol.UDP }, end - udp);
  return packet;
}
