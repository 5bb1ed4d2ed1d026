import { type Address, addressBytes, type Family, familyOf, type Prefix } from './address.ts';
import { compareBytes, equalBytes } from './bytes.ts';

/** RFC 7296 3.13.1: an address range, a port range and a protocol (0 = any). Addresses are 4 or 16 octets. */
export interface TrafficSelector {
  /** Of the addresses. */
  readonly family: Family;
  /** IP protocol number; 0: every one. */
  readonly protocol: number;
  /** The lowest port; 0 if they are of no account. */
  readonly startPort: number;
  /** The highest port; 65535 if they are of no account. */
  readonly endPort: number;
  /** The lowest address. */
  readonly startAddress: Uint8Array;
  /** The highest address. */
  readonly endAddress: Uint8Array;
}

/** Everything of one family: 0.0.0.0/0 or ::/0, all ports, all protocols. */
export function anySelector(family: Family): TrafficSelector {
  return prefixSelector({ family, bytes: new Uint8Array(family === 4 ? 4 : 16), length: 0 });
}

/** Every address of a block, all ports and protocols. */
export function prefixSelector(prefix: Prefix): TrafficSelector {
  const endAddress = prefix.bytes.slice();
  for (let bit = prefix.length; bit < endAddress.length * 8; bit++) endAddress[bit >> 3] |= 0x80 >> (bit & 7);
  return {
    family: prefix.family,
    protocol: 0,
    startPort: 0,
    endPort: 65535,
    startAddress: prefix.bytes,
    endAddress,
  };
}

/** The selector of exactly one address, all ports and protocols. */
export function addressSelector(address: Address): TrafficSelector {
  const bytes = addressBytes(address);
  return { ...anySelector(familyOf(address)), startAddress: bytes, endAddress: bytes };
}

export function equalSelectors(a: TrafficSelector, b: TrafficSelector): boolean {
  return (
    a.family === b.family &&
    a.protocol === b.protocol &&
    a.startPort === b.startPort &&
    a.endPort === b.endPort &&
    equalBytes(a.startAddress, b.startAddress) &&
    equalBytes(a.endAddress, b.endAddress)
  );
}

/** Whether `address` (4 or 16 octets) lies in the selector's range; ports and protocol are not looked at. */
export function selectorHasAddress(selector: TrafficSelector, address: Uint8Array): boolean {
  return (
    selector.startAddress.length === address.length &&
    compareBytes(selector.startAddress, address) <= 0 &&
    compareBytes(address, selector.endAddress) <= 0
  );
}
