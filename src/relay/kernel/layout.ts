import { isPrivate, outerFamily } from '../../descriptor/outer-family.ts';
import {
  type Address,
  type Family,
  familyOf,
  hostPrefix,
  type Prefix,
  prefixText,
} from '../../wire/address.ts';
import { overlayMtuOf, type RelayConfig } from '../config.ts';

/** A VTI device: packets that are sent to it leave on an SA of its mark or not at all, and what such an SA opens comes out of it. */
export interface VtiDevice {
  readonly name: string;
  /** The key of the device is the mark of its SAs and policies. */
  readonly mark: number;
  /** The mark of packets that have come out of it. */
  readonly opened: number;
  /** Of the network under it. */
  readonly family: Family;
  readonly local: Address;
  /** Absent: everybody for whom there is no other device. */
  readonly remote?: Address;
  readonly mtu: number;
}

/** What a relay has of one family: an address, a pool, or both. */
export interface RelayAddresses {
  readonly family: Family;
  readonly address: Address | undefined;
  readonly pool: Prefix | undefined;
}

/** What an overlay carries of one family. */
export interface InnerFamily extends RelayAddresses {
  /** The peer's, as its pool is. */
  readonly address: Address;
  /** Our own. */
  readonly own: Address;
}

/** The overlay to one peer. */
export interface OverlayDevice extends VtiDevice {
  /** Key id. */
  readonly peer: string;
  readonly remote: Address;
  /** The families that both relays have addresses of. */
  readonly inner: readonly InnerFamily[];
}

/** What a relay has in its kernel, besides SAs: names and numbers of everything. */
export interface Layout {
  /** Of the names of everything. */
  readonly prefix: string;
  /** Every client's packets, by the family of the network that it comes from. */
  readonly clients: readonly VtiDevice[];
  readonly overlays: readonly OverlayDevice[];
  readonly own: readonly RelayAddresses[];
  /** The number of our routing table. */
  readonly table: number;
}

/** Where the names and numbers come from; see `Xfrm`. */
export interface Names {
  readonly prefix: string;
  allocate(): number;
  deviceName(number: number): string;
}

/** Of our routing rules: after the local table, before all that operators usually have. */
const PREFERENCE = 1670;
/** Of routes that are asked last. */
const LAST_METRIC = 4096;

/** @param mtu - of the host's network of a family */
export function layoutOf(config: RelayConfig, names: Names, mtu: (family: Family) => number): Layout {
  const { own, peers, encapsulatedOnly } = config;
  const device = (family: Family, encapsulated: boolean) => {
    const mark = names.allocate();
    const local = ofFamily(own.addresses, family)!;
    return {
      name: names.deviceName(mark),
      mark,
      opened: names.allocate(),
      family,
      local,
      mtu: overlayMtuOf(mtu(family), family, encapsulated),
    };
  };
  const families = ([4, 6] as const).filter((family) => ofFamily(own.addresses, family) !== undefined);
  return {
    prefix: names.prefix,
    clients: families.map((family) => device(family, false)),
    overlays: peers.map((peer) => {
      const family = outerFamily(own.addresses, peer.addresses)!;
      return {
        ...device(family, encapsulatedOnly),
        peer: peer.keyId,
        remote: ofFamily(peer.addresses, family)!,
        inner: families.flatMap((inner) => {
          const address = ofFamily(peer.addresses, inner);
          return address === undefined
            ? []
            : [
                {
                  family: inner,
                  address,
                  pool: ofFamily(peer.pools, inner),
                  own: ofFamily(own.addresses, inner)!,
                },
              ];
        }),
      };
    }),
    own: ([4, 6] as const).map((family) => ({
      family,
      address: ofFamily(own.addresses, family),
      pool: ofFamily(own.pools, family),
    })),
    table: names.allocate(),
  };
}

export function ofFamily<T>(
  { ip4, ip6 }: { readonly ip4?: T; readonly ip6?: T },
  family: Family,
): T | undefined {
  return family === 4 ? ip4 : ip6;
}

/** Every device, those of clients first. */
export function devicesOf({ clients, overlays }: Layout): readonly VtiDevice[] {
  return [...clients, ...overlays];
}

/** `ip` commands that add the devices, down. They never have an address, so nothing chooses one of theirs. */
export function deviceCommands(layout: Layout): readonly string[] {
  return devicesOf(layout).flatMap(({ name, mark, family, local, remote, mtu }) => [
    `link add ${name} type ${family === 4 ? 'vti' : 'vti6'} local ${local} ${remote === undefined ? '' : `remote ${remote} `}key ${mark}`,
    `link set ${name} mtu ${mtu} addrgenmode none`,
  ]);
}

/**
 * `ip` commands of a family that route between the devices. To a peer, packets of our clients go through its overlay, and ours do not: they are
 * the overlay's own IKE and ESP, unless the address is known inside only. Where the device is not there, or down, packets go nowhere rather
 * than out in clear.
 */
export function routeCommands({ clients, overlays, own, table }: Layout, family: Family): readonly string[] {
  const route = (to: Prefix, device: string) => [
    `route add ${prefixText(to)} dev ${device} table ${table}`,
    `route add blackhole ${prefixText(to)} table ${table} metric ${LAST_METRIC}`,
  ];
  const rule = (side: 'from' | 'to', block: Prefix) =>
    `rule add pref ${PREFERENCE} ${side} ${prefixText(block)} lookup ${table}`;
  const isMeant = (addresses: RelayAddresses) => addresses.family === family;
  return [
    ...own
      .filter(isMeant)
      .flatMap(({ pool }) =>
        pool === undefined ? [] : [...route(pool, clients[0].name), rule('from', pool), rule('to', pool)],
      ),
    ...overlays.flatMap(({ name, inner, family: outer }) =>
      inner
        .filter(isMeant)
        .flatMap(({ address, pool }) => [
          ...route(hostPrefix(address), name),
          ...(outer === family || !isPrivate(address) ? [] : [rule('to', hostPrefix(address))]),
          ...(pool === undefined ? [] : [...route(pool, name), rule('to', pool)]),
        ]),
    ),
  ];
}

/**
 * `ip` commands that route addresses to a client which comes from the other family's network; most come from that of the first device,
 * which has the pools.
 * @param from - its address
 */
export function clientRouteCommands(
  { clients: [first, second], table }: Layout,
  action: 'add' | 'del',
  assigned: readonly Prefix[],
  from: Address,
): readonly string[] {
  if (familyOf(from) === first.family) return [];
  return assigned.map(
    (address) => `route ${action} ${prefixText(address)} dev ${second.name} table ${table}`,
  );
}
