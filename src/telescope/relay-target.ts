import type { Address, Family, Prefix } from '../wire/address.ts';

/** What a client has to know of a relay to extend to it; a signed relay descriptor has all of it. */
export interface RelayTarget {
  readonly name: string;
  /** The pinned key: SubjectPublicKeyInfo, DER. */
  readonly publicKey: Uint8Array;
  /** Public addresses. */
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

export function poolOf(relay: RelayTarget, family: Family): Prefix | undefined {
  return family === 4 ? relay.pools.ip4 : relay.pools.ip6;
}
