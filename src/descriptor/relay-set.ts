import { addressBytes, prefixContains, prefixesOverlap, prefixText } from '../wire/address.ts';
import type { RelayDescriptor } from './descriptor.ts';
import { DescriptorError } from './document.ts';

/** The relays that a relay or client knows of now; a directory changes it over time. */
export interface RelaySet {
  /** Those that are known now; the array does not change afterwards. */
  relays(): readonly RelayDescriptor[];
  /** The relay with that key id. */
  find(keyId: string): RelayDescriptor | undefined;
}

/** Makes the error for the relay at `index` of a list. */
export type RefuseAt = (index: number, problem: string) => Error;

const refuseList: RefuseAt = (_, problem) => new DescriptorError(problem);

/**
 * A set that does not change.
 * @throws DescriptorError, or what `refuse` makes of the second, if two descriptors have the same key
 */
export function fixedRelaySet(
  descriptors: readonly RelayDescriptor[],
  refuse: RefuseAt = refuseList,
): RelaySet {
  const byKey = new Map<string, RelayDescriptor>();
  descriptors.forEach((relay, index) => {
    const other = byKey.get(relay.keyId);
    if (other !== undefined) {
      throw refuse(index, `relays '${other.name}' and '${relay.name}' have the same key; list it once`);
    }
    byKey.set(relay.keyId, relay);
  });
  return { relays: () => descriptors, find: (keyId) => byKey.get(keyId) };
}

/**
 * Pools of connected relays are disjoint, and no relay's address lies in a pool: the overlay tells clients apart by the
 * pool that their address is from.
 * @throws what `refuse` makes of a peer, naming the two relays and the blocks
 */
export function checkDisjointPools(
  own: RelayDescriptor,
  peers: readonly RelayDescriptor[],
  refuse: RefuseAt = refuseList,
): void {
  peers.forEach((peer, index) => {
    for (const other of [own, ...peers.slice(0, index)]) {
      const conflict = conflictOf(other, peer);
      if (conflict !== undefined) {
        throw refuse(index, `${conflict}; one of them must choose another and sign its descriptor again`);
      }
    }
  });
}

/** Why two relays cannot be in one network. */
function conflictOf(a: RelayDescriptor, b: RelayDescriptor): string | undefined {
  for (const family of ['ip4', 'ip6'] as const) {
    const [poolA, poolB] = [a.pools[family], b.pools[family]];
    if (poolA !== undefined && poolB !== undefined && prefixesOverlap(poolA, poolB)) {
      return `the pools of relays '${a.name}' (${prefixText(poolA)}) and '${b.name}' (${prefixText(poolB)}) overlap`;
    }
    const address = a.addresses[family];
    if (address !== undefined && address === b.addresses[family]) {
      return `relays '${a.name}' and '${b.name}' have the same address`;
    }
    for (const [holder, other] of [
      [a, b],
      [b, a],
    ]) {
      const pool = holder.pools[family];
      const inside = other.addresses[family];
      if (pool !== undefined && inside !== undefined && prefixContains(pool, addressBytes(inside))) {
        return `the pool of relay '${holder.name}' (${prefixText(pool)}) contains the address of relay '${other.name}'`;
      }
    }
  }
  return undefined;
}
