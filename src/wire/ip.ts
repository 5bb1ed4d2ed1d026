import { type Address, addressBytes, type Family } from './address.ts';

/** IANA protocol numbers that this project meets. */
export const IpProtocol = { ICMP: 1, TCP: 6, UDP: 17, ESP: 50, ICMPV6: 58, NO_NEXT_HEADER: 59 } as const;

/** Time to live of every header that we write: constant, so that it says nothing of the sender (T3). */
export const OUTER_TTL = 64;

/** A parsed IP header. Offsets are absolute in the buffer that was parsed. */
export interface IpHeader {
  readonly family: Family;
  /** First octet of the header, source address, destination address, payload; and one past the packet's end. */
  readonly offset: number;
  readonly source: number;
  readonly destination: number;
  readonly payload: number;
  readonly end: number;
  readonly protocol: number;
  /** A fragment other than a whole packet (IPv4 MF or offset, IPv6 fragment header). */
  readonly fragment: boolean;
}

/**
 * Parses the IPv4 or IPv6 header at `start`. IPv6 extension headers are not skipped: `protocol` is the first
 * next header. Returns undefined for anything that is not a complete, consistent packet.
 */
export function parseIpHeader(buffer: Uint8Array, start: number, limit: number): IpHeader | undefined {
  if (limit - start < 20) return undefined;
  const version = buffer[start] >> 4;
  if (version === 4) {
    const payload = start + (buffer[start] & 15) * 4;
    const end = start + ((buffer[start + 2] << 8) | buffer[start + 3]);
    if (payload < start + 20 || end > limit || payload > end) return undefined;
    return {
      family: 4,
      offset: start,
      source: start + 12,
      destination: start + 16,
      payload,
      end,
      protocol: buffer[start + 9],
      fragment: (((buffer[start + 6] & 0x3f) << 8) | buffer[start + 7]) !== 0,
    };
  }
  if (version === 6 && limit - start >= 40) {
    const end = start + 40 + ((buffer[start + 4] << 8) | buffer[start + 5]);
    if (end > limit) return undefined;
    const protocol = buffer[start + 6];
    return {
      family: 6,
      offset: start,
      source: start + 8,
      destination: start + 24,
      payload: start + 40,
      end,
      protocol,
      fragment: protocol === 44,
    };
  }
  return undefined;
}

/** Octets of the fixed header: 20 for IPv4 without options, 40 for IPv6. */
export function ipHeaderLength(family: Family): number {
  return family === 4 ? 20 : 40;
}

/**
 * Writes the header of an outer or locally made packet at `start`: DSCP 0, Not-ECT, DF, ID 0, TTL 64, flow label 0
 * (nothing in it depends on the inner packet or on the sender).
 * @param length - octets of payload after the header
 */
export function writeIpHeader(
  buffer: Uint8Array,
  start: number,
  header: {
    readonly source: Address | Uint8Array;
    readonly destination: Address | Uint8Array;
    readonly protocol: number;
  },
  length: number,
): void {
  const source = typeof header.source === 'string' ? addressBytes(header.source) : header.source;
  const destination =
    typeof header.destination === 'string' ? addressBytes(header.destination) : header.destination;
  if (source.length === 4) {
    const total = length + 20;
    buffer[start] = 0x45;
    buffer[start + 1] = 0;
    buffer[start + 2] = total >> 8;
    buffer[start + 3] = total & 255;
    buffer[start + 4] = 0;
    buffer[start + 5] = 0;
    buffer[start + 6] = 0x40;
    buffer[start + 7] = 0;
    buffer[start + 8] = OUTER_TTL;
    buffer[start + 9] = header.protocol;
    buffer[start + 10] = 0;
    buffer[start + 11] = 0;
    buffer.set(source, start + 12);
    buffer.set(destination, start + 16);
    const sum = internetChecksum(buffer, start, start + 20);
    buffer[start + 10] = sum >> 8;
    buffer[start + 11] = sum & 255;
    return;
  }
  buffer[start] = 0x60;
  buffer[start + 1] = 0;
  buffer[start + 2] = 0;
  buffer[start + 3] = 0;
  buffer[start + 4] = length >> 8;
  buffer[start + 5] = length & 255;
  buffer[start + 6] = header.protocol;
  buffer[start + 7] = OUTER_TTL;
  buffer.set(source, start + 8);
  buffer.set(destination, start + 24);
}

/** The ones' complement sum of `buffer[start..end)`, folded to 16 bits, added to `initial` (RFC 1071). */
export function onesComplementSum(buffer: Uint8Array, start: number, end: number, initial = 0): number {
  let sum = initial;
  let i = start;
  for (; i + 1 < end; i += 2) sum += (buffer[i] << 8) | buffer[i + 1];
  if (i < end) sum += buffer[i] << 8;
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return sum;
}

/** The Internet checksum of `buffer[start..end)` (RFC 1071), with the sum of a pseudo header as `initial`. */
export function internetChecksum(buffer: Uint8Array, start: number, end: number, initial = 0): number {
  return ~onesComplementSum(buffer, start, end, initial) & 0xffff;
}

/** The sum over the pseudo header of UDP, TCP and ICMPv6 (RFC 768, RFC 8200 8.1). `length` is the upper-layer length. */
export function pseudoHeaderSum(
  source: Uint8Array,
  destination: Uint8Array,
  protocol: number,
  length: number,
): number {
  const sum = onesComplementSum(source, 0, source.length, protocol + (length >>> 16) + (length & 0xffff));
  return onesComplementSum(destination, 0, destination.length, sum);
}

/** Both ends of a UDP datagram; addresses are 4 or 16 octets. */
export interface UdpAddresses {
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  readonly sourcePort: number;
  readonly destinationPort: number;
}

/** Writes an 8-octet UDP header at `start` for `buffer[start+8..end)`, with its checksum. */
export function writeUdpHeader(buffer: Uint8Array, start: number, end: number, header: UdpAddresses): void {
  const length = end - start;
  buffer[start] = header.sourcePort >> 8;
  buffer[start + 1] = header.sourcePort & 255;
  buffer[start + 2] = header.destinationPort >> 8;
  buffer[start + 3] = header.destinationPort & 255;
  buffer[start + 4] = length >> 8;
  buffer[start + 5] = length & 255;
  buffer[start + 6] = 0;
  buffer[start + 7] = 0;
  const pseudo = pseudoHeaderSum(header.source, header.destination, IpProtocol.UDP, length);
  const sum = internetChecksum(buffer, start, end, pseudo) || 0xffff;
  buffer[start + 6] = sum >> 8;
  buffer[start + 7] = sum & 255;
}

/** A parsed UDP datagram; offsets are absolute. */
export interface UdpHeader {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly payload: number;
  readonly end: number;
}

/** Parses and checks the UDP header of `packet` (length, checksum if present). Undefined if it is not sound. */
export function parseUdpHeader(buffer: Uint8Array, packet: IpHeader): UdpHeader | undefined {
  const start = packet.payload;
  if (packet.end - start < 8) return undefined;
  const length = (buffer[start + 4] << 8) | buffer[start + 5];
  if (length < 8 || start + length > packet.end) return undefined;
  const checksum = (buffer[start + 6] << 8) | buffer[start + 7];
  // RFC 8200 8.1: over IPv6 the checksum is not optional.
  if (checksum === 0 && packet.family === 6) return undefined;
  if (checksum !== 0) {
    const source = buffer.subarray(packet.source, packet.destination);
    const addressLength = source.length;
    const destination = buffer.subarray(packet.destination, packet.destination + addressLength);
    const pseudo = pseudoHeaderSum(source, destination, IpProtocol.UDP, length);
    if (internetChecksum(buffer, start, start + length, pseudo) !== 0) return undefined;
  }
  return {
    sourcePort: (buffer[start] << 8) | buffer[start + 1],
    destinationPort: (buffer[start + 2] << 8) | buffer[start + 3],
    payload: start + 8,
    end: start + length,
  };
}
