import { outerFamily } from '../descriptor/outer-family.ts';
import type { Address, Family, Prefix } from '../wire/address.ts';

/** What a client has to know of a relay to extend to it; a signed relay descriptor has all of it. */
export interface RelayTarget {
  /** For people; it is the key that identifies a relay. */
  readonly name: string;
  /** The pinned key: SubjectPublicKeyInfo, DER. */
  readonly publicKey: Uint8Array;
  /** Public addresses; a private one beside one of the other family is for the hops after the first. */
  readonly addresses: { readonly ip4?: Address; readonly ip6?: Address };
  /** The blocks that it assigns addresses from. */
  readonly pools: { readonly ip4?: Prefix; readonly ip6?: Prefix };
  /** The largest packet that its overlay tunnels carry to other relays, in octets. */
  readonly overlayMtu: number;
  /** How clients authenticate; `public-key` relays take NULL, stock relays a shared key that everybody knows. */
  readonly publicSharedKey?: string;
}

export function addressOf(relay: RelayTarget, family: Family): Address | undefined {
  return family === 4 ? relay.addresses.ip4 : relay.addresses.ip6;
}

/** Where a relay is reached as the first of a path. @throws RangeError if it has no address */
export function entryAddress(relay: RelayTarget): Address {
  const family = outerFamily(relay.addresses);
  if (family === undefined) throw new RangeError(`relay '${relay.name}' has no address`);
  return addressOf(relay, family)!;
}

export function poolOf(relay: RelayTarget, family: Family): Prefix | undefined {
  return family === 4 ? relay.pools.ip4 : relay.pools.ip6;
}
