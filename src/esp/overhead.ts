import { protectionLayout } from '../crypto/transforms.ts';
import type { EspSuite } from '../link/sa-store.ts';
import type { Family } from '../wire/address.ts';
import { ipHeaderLength } from '../wire/ip.ts';

/** SPI and sequence number (RFC 4303 2.1, 2.2). */
export const ESP_HEADER = 8;

/** Pad Length and Next Header. */
export const ESP_TRAILER = 2;

const UDP_HEADER = 8;

/** What the encrypted part, trailer included, must be a multiple of (RFC 4303 2.4): 4, or the cipher's block. */
export function espAlignment(blockLength: number): number {
  return Math.max(4, blockLength);
}

/**
 * Octets that ESP adds to an inner packet of `innerLength` octets: header, IV, padding, trailer and ICV, without the outer
 * IP header. @throws UnsupportedAlgorithm
 */
export function espOverhead(suite: EspSuite, innerLength: number): number {
  const { ivLength, icvLength, blockLength } = protectionLayout(suite);
  const alignment = espAlignment(blockLength);
  const sealed = Math.ceil((innerLength + ESP_TRAILER) / alignment) * alignment;
  return ESP_HEADER + ivLength + (sealed - innerLength) + icvLength;
}

/** The headers around an ESP packet: the family of the outer IP header, and whether there is a UDP header (RFC 3948). */
export interface OuterHeaders {
  readonly family: Family;
  readonly encapsulated: boolean;
}

/**
 * The MTU of a tunnel: the largest inner packet whose outer packet has at most `outerMtu` octets. @throws
 * UnsupportedAlgorithm; RangeError if no packet fits
 */
export function maxInnerPacket(outerMtu: number, suite: EspSuite, outer: OuterHeaders): number {
  const { ivLength, icvLength, blockLength } = protectionLayout(suite);
  const alignment = espAlignment(blockLength);
  const headers =
    ipHeaderLength(outer.family) + (outer.encapsulated ? UDP_HEADER : 0) + ESP_HEADER + ivLength;
  const sealed = Math.floor((outerMtu - headers - icvLength) / alignment) * alignment;
  if (sealed <= ESP_TRAILER)
    throw new RangeError(`an MTU of ${outerMtu} leaves no room for a packet inside ESP`);
  return sealed - ESP_TRAILER;
}
