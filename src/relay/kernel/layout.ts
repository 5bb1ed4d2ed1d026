import { isPrivate, outerFamily } from '../../descriptor/outer-family.ts';
import { LinkError, type Origin } from '../../link/link.ts';
import type { TunnelPolicy } from '../../link/sa-store.ts';
import {
  type Address,
  type Family,
  familyOf,
  hostPrefix,
  type Prefix,
  prefixText,
} from '../../wire/address.ts';
import { overlayMtuOf, type RelayConfig } from '../config.ts';
import { CLIENT_MTU } from '../host.ts';
import { overlaySelectors, sameSelectors } from '../overlay-selectors.ts';

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
  /** By the families that the kernel has. */
  readonly own: readonly RelayAddresses[];
  /** The number of our routing table. */
  readonly table: number;
  /** Of another one, for what comes from elsewhere for clients, and its MTU. */
  readonly answers: { readonly table: number; readonly mtu: number };
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

/**
 * @param mtu - of the host's network of a family
 * @param kernel - the families that the kernel has
 */
export function layoutOf(
  config: RelayConfig,
  names: Names,
  mtu: (family: Family) => number,
  kernel: readonly Family[],
): Layout {
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
    own: kernel.map((family) => ({
      family,
      address: ofFamily(own.addresses, family),
      pool: ofFamily(own.pools, family),
    })),
    table: names.allocate(),
    answers: { table: names.allocate(), mtu: answersMtu(own, families[0]) },
  };
}

export function ofFamily<T>(
  { ip4, ip6 }: { readonly ip4?: T; readonly ip6?: T },
  family: Family,
): T | undefined {
  return family === 4 ? ip4 : ip6;
}

/**
 * The MTU of what comes from elsewhere for clients. A relay does not know how many relays are before it; one of those would lose what does
 * not fit, and could not say so without showing an address. So this is what three layers carry, though one or two carry more, and no less
 * than what every telescope does: senders of larger packets are told, and what may be cut is.
 */
function answersMtu({ overlayMtu }: RelayConfig['own'], family: Family): number {
  const throughThree = [1, 2].reduce((outer) => overlayMtuOf(outer, family, false), overlayMtu);
  return Math.max(throughThree, CLIENT_MTU);
}

/** Every device, those of clients first. */
export function devicesOf({ clients, overlays }: Layout): readonly VtiDevice[] {
  return [...clients, ...overlays];
}

/**
 * The device of a tunnel with a peer or a client.
 * @throws LinkError if it is of a client that has a peer's address, whose packets the overlay's device would take
 */
export function deviceOf(
  { own, peers }: RelayConfig,
  { clients, overlays }: Layout,
  { remote }: Pick<TunnelPolicy, 'remote'>,
  { address, overlayPeer }: Pick<Origin, 'address' | 'overlayPeer'>,
): VtiDevice {
  const overlay = overlayPeer === undefined ? overlays.find((each) => each.remote === address) : undefined;
  if (overlay === undefined) return clients.find(({ family }) => family === familyOf(address))!;
  const descriptor = peers.find(({ keyId }) => keyId === overlay.peer)!;
  if (sameSelectors(remote, overlaySelectors(own, descriptor).remote)) return overlay;
  throw new LinkError(
    `a client on the host of relay '${descriptor.name}' enters here, and its packets cannot be told from those of the overlay: ` +
      'it has to enter elsewhere, or one of the two relays to use backend: userspace',
  );
}

/** `ip` commands that add the devices, down. They never have an address, so nothing chooses one of theirs. */
export function deviceCommands(layout: Layout): readonly string[] {
  const noAddress = layout.own.some(({ family }) => family === 6) ? ' addrgenmode none' : '';
  return devicesOf(layout).flatMap(({ name, mark, family, local, remote, mtu }) => [
    `link add ${name} type ${family === 4 ? 'vti' : 'vti6'} local ${local} ${remote === undefined ? '' : `remote ${remote} `}key ${mark}`,
    `link set ${name} mtu ${mtu}${noAddress}`,
  ]);
}

/**
 * `ip` commands of a family that route between the devices. To a peer, packets of our clients go through its overlay, and ours do not: they are
 * the overlay's own IKE and ESP, unless the address is known inside only. Where the device is not there, or down, packets go nowhere rather
 * than out in clear.
 */
export function routeCommands(
  { clients, overlays, own, table, answers }: Layout,
  family: Family,
): readonly string[] {
  const route = (to: Prefix, device: string, number = table, mtu = '') => [
    `route add ${prefixText(to)} dev ${device} table ${number}${mtu}`,
    `route add blackhole ${prefixText(to)} table ${number} metric ${LAST_METRIC}`,
  ];
  const rule = (which: string, number = table) => `rule add pref ${PREFERENCE} ${which} lookup ${number}`;
  const isMeant = (addresses: RelayAddresses) => addresses.family === family;
  return [
    ...own
      .filter(isMeant)
      .flatMap(({ pool }) =>
        pool === undefined
          ? []
          : [
              ...route(pool, clients[0].name),
              ...route(pool, clients[0].name, answers.table, ` mtu lock ${answers.mtu}`),
              ...overlays.map(({ name }) => rule(`iif ${name}`)),
              rule(`from ${prefixText(pool)}`),
              rule(`to ${prefixText(pool)}`, answers.table),
            ],
      ),
    ...overlays.flatMap(({ name, inner, family: outer }) =>
      inner
        .filter(isMeant)
        .flatMap(({ address, pool }) => [
          ...route(hostPrefix(address), name),
          ...(outer === family || !isPrivate(address) ? [] : [rule(`to ${prefixText(hostPrefix(address))}`)]),
          ...(pool === undefined ? [] : [...route(pool, name), rule(`to ${prefixText(pool)}`)]),
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
  { clients: [first, second], table, answers }: Layout,
  action: 'add' | 'del',
  assigned: readonly Prefix[],
  from: Address,
): readonly string[] {
  if (familyOf(from) === first.family) return [];
  const limit = action === 'add' ? ` mtu lock ${answers.mtu}` : '';
  return assigned.flatMap((address) => {
    const route = `route ${action} ${prefixText(address)} dev ${second.name} table`;
    return [`${route} ${table}`, `${route} ${answers.table}${limit}`];
  });
}
