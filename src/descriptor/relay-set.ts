import { addressBytes, prefixContains, prefixesOverlap, prefixText } from '../wire/address.ts';
import type { RelayDescriptor } from './descriptor.ts';
import { DescriptorError } from './document.ts';

/** The relays that a relay or client knows of now; a directory changes it over time. */
export interface RelaySet {
  relays(): readonly RelayDescriptor[];
  /** The relay with that key id. */
  find(keyId: string): RelayDescriptor | undefined;
}

/** A set that does not change. @throws DescriptorError if two descriptors have the same key */
export function fixedRelaySet(descriptors: readonly RelayDescriptor[]): RelaySet {
  const byKey = new Map<string, RelayDescriptor>();
  for (const relay of descriptors) {
    const other = byKey.get(relay.keyId);
    if (other !== undefined) {
      throw new DescriptorError(`relays '${other.name}' and '${relay.name}' have the same key; list it once`);
    }
    byKey.set(relay.keyId, relay);
  }
  return { relays: () => descriptors, find: (keyId) => byKey.get(keyId) };
}

/**
 * Pools of connected relays are disjoint, and no relay's address lies in a pool: the overlay tells clients apart by the
 * pool that their address is from.
 * @throws DescriptorError naming the two relays and the blocks
 */
export function checkDisjointPools(own: RelayDescriptor, peers: readonly RelayDescriptor[]): void {
  const connected = [own, ...peers];
  connected.forEach((a, index) => {
    for (const b of connected.slice(index + 1)) checkPair(a, b);
  });
}

function checkPair(a: RelayDescriptor, b: RelayDescriptor): void {
  const remedy = 'one of them must choose another and sign its descriptor again';
  for (const family of ['ip4', 'ip6'] as const) {
    const [poolA, poolB] = [a.pools[family], b.pools[family]];
    if (poolA !== undefined && poolB !== undefined && prefixesOverlap(poolA, poolB)) {
      throw new DescriptorError(
        `the pools of relays '${a.name}' (${prefixText(poolA)}) and '${b.name}' (${prefixText(poolB)}) overlap; ${remedy}`,
      );
    }
    const address = a.addresses[family];
    if (address !== undefined && address === b.addresses[family]) {
      throw new DescriptorError(`relays '${a.name}' and '${b.name}' have the same address; ${remedy}`);
    }
    for (const [holder, other] of [
      [a, b],
      [b, a],
    ]) {
      const pool = holder.pools[family];
      const inside = other.addresses[family];
      if (pool !== undefined && inside !== undefined && prefixContains(pool, addressBytes(inside))) {
        throw new DescriptorError(
          `the pool of relay '${holder.name}' (${prefixText(pool)}) contains the address of relay '${other.name}'; ${remedy}`,
        );
      }
    }
  }
}
