import { outerFamily } from '../descriptor/outer-family.ts';
import type { RelayConfig } from '../relay/config.ts';
import { type Address, type Family, hostPrefix, type Prefix } from '../wire/address.ts';

/** The overlay tunnel to one peer, as a kernel and a daemon have to know it. */
export interface OverlayPlan {
  /** The peer's name, for people. */
  readonly peer: string;
  /** Hex: what the peer calls itself in IKE_AUTH (ID_KEY_ID). */
  readonly keyId: string;
  /** The peer's, SubjectPublicKeyInfo. */
  readonly publicKey: Uint8Array;
  /** The VTI device; its connection and its key file are called so as well. */
  readonly device: string;
  /** The key of the device and the mark of the tunnel's policies: they meet by it. */
  readonly mark: number;
  /** Of the network between the two, with both ends. */
  readonly family: Family;
  readonly local: Address;
  readonly remote: Address;
  /** What is inside, by family. */
  readonly inner: readonly InnerFamily[];
}

/** One address family of an overlay. */
export interface InnerFamily {
  readonly family: Family;
  readonly own: Address;
  readonly peer: Address;
  readonly ownPool: Prefix | undefined;
  readonly peerPool: Prefix | undefined;
}

/** What the devices of overlays are called; a number follows. */
export const DEVICE = 'overlay';

/** Marks are this and the number of the device. */
const MARKS = 729_600;

/** One for each peer of relay.yaml, in its order. */
export function overlayPlans({ own, peers }: RelayConfig): readonly OverlayPlan[] {
  return peers.map((peer, index) => {
    const inner = ([4, 6] as const).flatMap((family) => {
      const [ours, theirs] = [own, peer].map(({ addresses }) => ofFamily(addresses, family));
      if (ours === undefined || theirs === undefined) return [];
      const [ownPool, peerPool] = [own, peer].map(({ pools }) => ofFamily(pools, family));
      return [{ family, own: ours, peer: theirs, ownPool, peerPool }];
    });
    const family = outerFamily(own.addresses, peer.addresses)!;
    return {
      peer: peer.name,
      keyId: peer.keyId,
      publicKey: peer.publicKey,
      device: `${DEVICE}${index + 1}`,
      mark: MARKS + index + 1,
      family,
      local: ofFamily(own.addresses, family)!,
      remote: ofFamily(peer.addresses, family)!,
      inner,
    };
  });
}

/** What an overlay carries, on our side and on the peer's: exactly both relays' addresses and pools. */
export function overlayBlocks({ inner }: OverlayPlan): {
  readonly local: readonly Prefix[];
  readonly remote: readonly Prefix[];
} {
  const blocks = (address: Address, pool: Prefix | undefined) =>
    pool === undefined ? [hostPrefix(address)] : [hostPrefix(address), pool];
  return {
    local: inner.flatMap(({ own, ownPool }) => blocks(own, ownPool)),
    remote: inner.flatMap(({ peer, peerPool }) => blocks(peer, peerPool)),
  };
}

export function ofFamily<T>(
  { ip4, ip6 }: { readonly ip4?: T; readonly ip6?: T },
  family: Family,
): T | undefined {
  return family === 4 ? ip4 : ip6;
}
