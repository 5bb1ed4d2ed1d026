import type { RelayDescriptor } from '../descriptor/descriptor.ts';
import type { Addresses } from '../descriptor/outer-family.ts';
import type { Prefix } from '../wire/address.ts';
import {
  addressSelector,
  equalSelectors,
  prefixSelector,
  type TrafficSelector,
} from '../wire/traffic-selector.ts';

type Ends = {
  readonly addresses: Addresses;
  readonly pools: { readonly ip4?: Prefix; readonly ip6?: Prefix };
};

/**
 * The traffic selectors of an overlay tunnel, on each side exactly a relay's public address and its pool, of the families
 * that both have. Nothing wider: a client's address is bound to the overlay that it comes through (T25).
 */
export function overlaySelectors(
  own: Ends,
  peer: Ends,
): { readonly local: readonly TrafficSelector[]; readonly remote: readonly TrafficSelector[] } {
  const families = (['ip4', 'ip6'] as const).filter(
    (family) => own.addresses[family] !== undefined && peer.addresses[family] !== undefined,
  );
  const pair = ({ addresses, pools }: Ends) =>
    families.flatMap((family) => {
      const pool = pools[family];
      return [addressSelector(addresses[family]!), ...(pool === undefined ? [] : [prefixSelector(pool)])];
    });
  return { local: pair(own), remote: pair(peer) };
}

/** Whether two lists hold the same selectors, in whatever order. */
export function sameSelectors(a: readonly TrafficSelector[], b: readonly TrafficSelector[]): boolean {
  return (
    a.length === b.length &&
    a.every((selector) => b.some((other) => equalSelectors(selector, other))) &&
    b.every((selector) => a.some((other) => equalSelectors(selector, other)))
  );
}

/** Why a negotiated overlay tunnel is not exactly what two relays have said of themselves; undefined if it is. */
export function overlayMismatch(
  own: RelayDescriptor,
  peer: RelayDescriptor,
  negotiated: { readonly local: readonly TrafficSelector[]; readonly remote: readonly TrafficSelector[] },
): string | undefined {
  const wanted = overlaySelectors(own, peer);
  if (sameSelectors(negotiated.local, wanted.local) && sameSelectors(negotiated.remote, wanted.remote))
    return undefined;
  return `relay '${peer.name}' and this one do not agree on their addresses and pools: exchange descriptors again`;
}
