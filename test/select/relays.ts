import { createHash } from 'node:crypto';
import type { RelayDescriptor } from '../../src/descriptor/descriptor.ts';
import { parsePrefix } from '../../src/wire/address.ts';

/** A relay in a network of its own, number 0 to 65535. */
export function relay(number: number, changes: Partial<RelayDescriptor> = {}): RelayDescriptor {
  return {
    name: `r${number}`,
    keyId: `key${number}`,
    publicKey: new Uint8Array([number]),
    addresses: { ip4: `${64 + (number >> 8)}.${number & 255}.0.1` },
    pools: { ip4: parsePrefix(`10.${number & 255}.0.0/16`) },
    overlayMtu: 1446,
    exit: true,
    ...changes,
  };
}

/** Numbers that look random and are the same each time. */
export function chance(seed: string): { random(length: number): Uint8Array } {
  let count = 0;
  return {
    random: (length) =>
      new Uint8Array(createHash('sha256').update(`${seed} ${count++}`).digest().subarray(0, length)),
  };
}
