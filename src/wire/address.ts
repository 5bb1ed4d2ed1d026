import ipaddr from 'ipaddr.js';

/** An IP address as canonical text: dotted IPv4, or RFC 5952 IPv6. Make one with `parseAddress`. */
export type Address = string;

/** IPv4 or IPv6. */
export type Family = 4 | 6;

/** An address block. Make one with `parsePrefix`. */
export interface Prefix {
  /** Of `bytes`. */
  readonly family: Family;
  /** The lowest address, 4 or 16 octets: host bits are zero. */
  readonly bytes: Uint8Array;
  /** Bits that its addresses share. */
  readonly length: number;
}

/** The canonical text of an address. @throws RangeError if `text` is not an IPv4 or IPv6 address */
export function parseAddress(text: string): Address {
  // Neither abbreviated IPv4 addresses nor IPv6 zones.
  const isValid = text.includes(':')
    ? ipaddr.isValid(text) && !text.includes('%')
    : ipaddr.IPv4.isValidFourPartDecimal(text);
  if (!isValid) {
    throw new RangeError(`'${text}' is not an IPv4 or IPv6 address`);
  }
  const parsed = ipaddr.parse(text);
  return parsed.kind() === 'ipv6' ? (parsed as ipaddr.IPv6).toRFC5952String() : parsed.toString();
}

export function familyOf(address: Address): Family {
  return address.includes(':') ? 6 : 4;
}

/** The unspecified address: any of a host's. */
export function anyAddress(family: Family): Address {
  return family === 4 ? '0.0.0.0' : '::';
}

/** 4 or 16 octets, network order. */
export function addressBytes(address: Address): Uint8Array {
  return Uint8Array.from(ipaddr.parse(address).toByteArray());
}

/** The address in `bytes` (4 or 16 octets). */
export function addressText(bytes: Uint8Array): Address {
  if (bytes.length === 4) return `${bytes[0]}.${bytes[1]}.${bytes[2]}.${bytes[3]}`;
  const parsed = ipaddr.fromByteArray(Array.from(bytes));
  return parsed.kind() === 'ipv6' ? (parsed as ipaddr.IPv6).toRFC5952String() : parsed.toString();
}

/** Parses "10.1.0.0/16" or "fd00::/48". @throws RangeError if malformed or if host bits are set */
export function parsePrefix(text: string): Prefix {
  const [address, length, extra] = text.split('/');
  if (length === undefined || extra !== undefined || !/^\d+$/.test(length)) {
    throw new RangeError(`'${text}' is not an address block such as 10.1.0.0/24`);
  }
  const bytes = addressBytes(parseAddress(address));
  const bits = Number(length);
  if (bits > bytes.length * 8)
    throw new RangeError(`'${text}': the prefix length is over ${bytes.length * 8}`);
  for (let bit = bits; bit < bytes.length * 8; bit++) {
    if (bytes[bit >> 3] & (0x80 >> (bit & 7))) throw new RangeError(`'${text}' has host bits set`);
  }
  return { family: bytes.length === 4 ? 4 : 6, bytes, length: bits };
}

/** The single-address block of `address` (/32 or /128). */
export function hostPrefix(address: Address): Prefix {
  const bytes = addressBytes(address);
  return { family: familyOf(address), bytes, length: bytes.length * 8 };
}

/** The block of `length` bits that `address` is in. */
export function prefixOf(address: Address, length: number): Prefix {
  const { family, bytes } = hostPrefix(address);
  for (let bit = length; bit < bytes.length * 8; bit++) bytes[bit >> 3] &= ~(0x80 >> (bit & 7));
  return { family, bytes, length };
}

export function prefixText(prefix: Prefix): string {
  return `${addressText(prefix.bytes)}/${prefix.length}`;
}

/** Whether the address at `bytes[offset...]` lies in `prefix`; the caller knows that the families agree. */
export function prefixContains(prefix: Prefix, bytes: Uint8Array, offset = 0): boolean {
  const whole = prefix.length >> 3;
  for (let i = 0; i < whole; i++) if (bytes[offset + i] !== prefix.bytes[i]) return false;
  const bits = prefix.length & 7;
  if (bits === 0) return true;
  const mask = 0xff00 >> bits;
  return ((bytes[offset + whole] ^ prefix.bytes[whole]) & mask & 0xff) === 0;
}

export function prefixesOverlap(a: Prefix, b: Prefix): boolean {
  if (a.family !== b.family) return false;
  return a.length <= b.length ? prefixContains(a, b.bytes) : prefixContains(b, a.bytes);
}
