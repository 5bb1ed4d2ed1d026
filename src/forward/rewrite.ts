import { type IpHeader, internetChecksum, OUTER_TTL } from '../wire/ip.ts';

/**
 * Overwrites `buffer[offset...]` (an even number of octets, at an even distance from where its checksum starts) and
 * returns what `amendChecksum` needs: the sum of ~m + m' over the 16-bit words changed (RFC 1624 eqn. 3).
 */
export function replaceOctets(buffer: Uint8Array, offset: number, octets: Uint8Array): number {
  let delta = 0;
  for (let i = 0; i < octets.length; i += 2) {
    delta += replaceU16(buffer, offset + i, (octets[i] << 8) | octets[i + 1]);
  }
  return delta;
}

/** `replaceOctets` for one word. */
export function replaceU16(buffer: Uint8Array, offset: number, value: number): number {
  const old = (buffer[offset] << 8) | buffer[offset + 1];
  buffer[offset] = value >> 8;
  buffer[offset + 1] = value & 255;
  return (~old & 0xffff) + value;
}

/**
 * Brings the checksum at `offset` up to date with the words replaced (RFC 1624): a packet that was damaged before stays
 * damaged.
 */
export function amendChecksum(buffer: Uint8Array, offset: number, delta: number): void {
  let sum = (~((buffer[offset] << 8) | buffer[offset + 1]) & 0xffff) + delta;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  buffer[offset] = (~sum >> 8) & 255;
  buffer[offset + 1] = ~sum & 255;
}

/** `amendChecksum` for UDP, where zero means that there is none (RFC 768). */
export function amendUdpChecksum(buffer: Uint8Array, offset: number, delta: number): void {
  if (buffer[offset] === 0 && buffer[offset + 1] === 0) return;
  amendChecksum(buffer, offset, delta);
  if (buffer[offset] === 0 && buffer[offset + 1] === 0) {
    buffer[offset] = 0xff;
    buffer[offset + 1] = 0xff;
  }
}

/**
 * Takes the sender's habits out of a header without options: TTL constant (T3), DSCP 0 and Not-ECT (T13-T15), flow label 0,
 * and an IPv4 identification that is 0 with DF and random without (T4; RFC 6864 4.1). Writes the header checksum.
 */
export function normaliseHeader(
  buffer: Uint8Array,
  header: IpHeader,
  random: (length: number) => Uint8Array,
): void {
  const at = header.offset;
  if (header.family === 6) {
    buffer[at] = 0x60;
    buffer[at + 1] = 0;
    buffer[at + 2] = 0;
    buffer[at + 3] = 0;
    buffer[at + 7] = OUTER_TTL;
    return;
  }
  buffer[at + 1] = 0;
  if ((buffer[at + 6] & 0x40) !== 0) {
    buffer[at + 4] = 0;
    buffer[at + 5] = 0;
  } else if (!header.fragment) {
    buffer.set(random(2), at + 4);
  }
  buffer[at + 8] = OUTER_TTL;
  buffer[at + 10] = 0;
  buffer[at + 11] = 0;
  const sum = internetChecksum(buffer, at, header.payload);
  buffer[at + 10] = sum >> 8;
  buffer[at + 11] = sum & 255;
}
