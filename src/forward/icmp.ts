import type { Family } from '../wire/address.ts';
import { type IpHeader, IpProtocol, internetChecksum, ipHeaderLength, pseudoHeaderSum } from '../wire/ip.ts';

/** What the NAPT knows of a family's ICMP: RFC 792 and RFC 5508, RFC 4443. */
export const ICMP = {
  4: {
    protocol: IpProtocol.ICMP,
    echoRequest: 8,
    echoReply: 0,
    /** Destination unreachable, time exceeded, parameter problem: they quote the packet that they are about. */
    errors: [3, 11, 12] as readonly number[],
  },
  6: {
    protocol: IpProtocol.ICMPV6,
    echoRequest: 128,
    echoReply: 129,
    /** Destination unreachable, packet too big, time exceeded, parameter problem. */
    errors: [1, 2, 3, 4] as readonly number[],
  },
} as const;

/** The packet quoted in an ICMP error: whole or cut short after eight octets of its transport header. */
export interface QuotedPacket {
  readonly offset: number;
  readonly source: number;
  readonly destination: number;
  readonly protocol: number;
  readonly payload: number;
  /** One past the last octet that was quoted. */
  readonly end: number;
}

/** The packet that the ICMP error at `start` of `buffer` quotes; undefined if its transport header is not there. */
export function parseQuoted(
  buffer: Uint8Array,
  start: number,
  end: number,
  family: Family,
): QuotedPacket | undefined {
  const offset = start + 8;
  if (end - offset < ipHeaderLength(family) || buffer[offset] >> 4 !== family) return undefined;
  const payload = family === 4 ? offset + (buffer[offset] & 15) * 4 : offset + 40;
  if (payload < offset + ipHeaderLength(family) || end - payload < 8) return undefined;
  const laterFragment = family === 4 && (((buffer[offset + 6] & 0x1f) << 8) | buffer[offset + 7]) !== 0;
  if (laterFragment) return undefined;
  return {
    offset,
    source: offset + (family === 4 ? 12 : 8),
    destination: offset + (family === 4 ? 16 : 24),
    protocol: buffer[offset + (family === 4 ? 9 : 6)],
    payload,
    end,
  };
}

function icmpSum(buffer: Uint8Array, header: IpHeader): number {
  if (header.family === 4) return internetChecksum(buffer, header.payload, header.end);
  const source = buffer.subarray(header.source, header.source + 16);
  const destination = buffer.subarray(header.destination, header.destination + 16);
  const pseudo = pseudoHeaderSum(source, destination, IpProtocol.ICMPV6, header.end - header.payload);
  return internetChecksum(buffer, header.payload, header.end, pseudo);
}

/** RFC 5508 REQ-3: an error with a wrong checksum is dropped. */
export function icmpChecksumHolds(buffer: Uint8Array, header: IpHeader): boolean {
  return icmpSum(buffer, header) === 0;
}

/** Writes the checksum of the whole ICMP message, for the addresses that the header has now. */
export function writeIcmpChecksum(buffer: Uint8Array, header: IpHeader): void {
  buffer[header.payload + 2] = 0;
  buffer[header.payload + 3] = 0;
  const sum = icmpSum(buffer, header);
  buffer[header.payload + 2] = sum >> 8;
  buffer[header.payload + 3] = sum & 255;
}
