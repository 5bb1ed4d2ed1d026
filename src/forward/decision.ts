import { type Address, type Prefix, prefixContains } from '../wire/address.ts';
import { type IpHeader, IpProtocol, ipHeaderLength } from '../wire/ip.ts';
import { type AddressKey, addressKey, keyOfAddress } from './address-key.ts';
import { DropReason } from './drop-reason.ts';
import { type ExitPolicy, exitPolicyAccepts } from './exit-policy.ts';
import { ICMP } from './icmp.ts';
import { isSpecialAddress } from './special-ranges.ts';

/** Where a whole inner IP packet came from. */
export type PacketSource =
  /** Opened from the Child SA of a client that holds these addresses (one per family at most). */
  | { readonly kind: 'client'; readonly assigned: readonly AddressKey[] }
  /** Opened from the overlay tunnel of the relay with this key id. */
  | { readonly kind: 'overlay'; readonly peer: string }
  /** Came back from the exit, its destination already translated to the client's address. */
  | { readonly kind: 'exit' };

/** Where a packet goes. */
export type Decision =
  | { readonly kind: 'overlay'; readonly peer: string }
  | { readonly kind: 'client'; readonly address: AddressKey }
  /** UDP 500 or 4500 to us from a peer's client: IKE, and on 4500 also ESP in UDP (RFC 3948). */
  | { readonly kind: 'local-ike' }
  | { readonly kind: 'local-esp' }
  | { readonly kind: 'exit' }
  | { readonly kind: 'drop'; readonly reason: DropReason };

/** A relay that we have an overlay tunnel with, as its signed descriptor says. */
export interface ForwardingPeer {
  readonly keyId: string;
  readonly addresses: readonly Address[];
  readonly pools: readonly Prefix[];
}

export interface ForwardingConfig {
  /** Every address of this relay: the public ones, and any other that the host has. */
  readonly addresses: readonly Address[];
  readonly pools: readonly Prefix[];
  readonly peers: readonly ForwardingPeer[];
  /** Absent if the relay is not an exit. */
  readonly exitPolicy?: ExitPolicy;
  /** Whether a client holds this address of our pools now. */
  isClient(address: AddressKey): boolean;
}

/** A `ForwardingConfig` with its addresses indexed. Make one with `forwardingTable`, and a new one when it changes. */
export interface ForwardingTable {
  readonly own: ReadonlySet<AddressKey>;
  readonly pools: readonly Prefix[];
  readonly peerPools: readonly Prefix[];
  readonly peers: ReadonlyMap<string, IndexedPeer>;
  readonly towardsPeer: ReadonlyMap<AddressKey, Decision>;
  readonly exitPolicy: ExitPolicy | undefined;
  isClient(address: AddressKey): boolean;
}

interface IndexedPeer {
  readonly addresses: ReadonlySet<AddressKey>;
  readonly pools: readonly Prefix[];
}

export function forwardingTable(config: ForwardingConfig): ForwardingTable {
  const peers = new Map<string, IndexedPeer>();
  const towardsPeer = new Map<AddressKey, Decision>();
  for (const { keyId, addresses, pools } of config.peers) {
    const keys = addresses.map(keyOfAddress);
    peers.set(keyId, { addresses: new Set(keys), pools });
    for (const key of keys) towardsPeer.set(key, { kind: 'overlay', peer: keyId });
  }
  return {
    own: new Set(config.addresses.map(keyOfAddress)),
    pools: config.pools,
    peerPools: config.peers.flatMap((peer) => peer.pools),
    peers,
    towardsPeer,
    exitPolicy: config.exitPolicy,
    isClient: (address) => config.isClient(address),
  };
}

const LOCAL_IKE: Decision = { kind: 'local-ike' };
const LOCAL_ESP: Decision = { kind: 'local-esp' };
const EXIT: Decision = { kind: 'exit' };
const DROPS = new Map<DropReason, Decision>(
  Object.values(DropReason).map((reason) => [reason, { kind: 'drop', reason }]),
);

function drop(reason: DropReason): Decision {
  return DROPS.get(reason)!;
}

/**
 * What a relay does with an inner packet. It assumes nothing of the SA selectors, which have been enforced before.
 * @param header - `parseIpHeader`'s of `buffer`, undefined included
 */
export function decide(
  table: ForwardingTable,
  buffer: Uint8Array,
  header: IpHeader | undefined,
  from: PacketSource,
): Decision {
  if (header === undefined) return drop(DropReason.MALFORMED);
  if (header.payload - header.offset !== ipHeaderLength(header.family)) return drop(DropReason.IP_OPTIONS);
  switch (from.kind) {
    case 'client':
      return decideFromClient(table, buffer, header, from.assigned);
    case 'overlay':
      return decideFromOverlay(table, buffer, header, from.peer);
    case 'exit':
      return decideFromExit(table, buffer, header);
  }
}

function decideFromClient(
  table: ForwardingTable,
  buffer: Uint8Array,
  header: IpHeader,
  assigned: readonly AddressKey[],
): Decision {
  const { family, source, destination } = header;
  if (!assigned.includes(addressKey(buffer, source, family))) return drop(DropReason.SPOOFED_SOURCE);
  if (header.fragment) return drop(DropReason.FRAGMENT);
  if (!hasPorts(header)) return drop(DropReason.MALFORMED);
  const key = addressKey(buffer, destination, family);
  const towardsPeer = table.towardsPeer.get(key);
  if (towardsPeer !== undefined) {
    return serviceOf(buffer, header, 2) === undefined ? drop(DropReason.RELAY_SERVICES) : towardsPeer;
  }
  if (table.own.has(key)) return drop(DropReason.OWN_SERVICES);
  if (inPools(table.pools, buffer, header, destination)) return drop(DropReason.OTHER_CLIENT);
  if (inPools(table.peerPools, buffer, header, destination)) return drop(DropReason.PEER_POOL);
  if (isSpecialAddress(buffer, destination, family)) return drop(DropReason.PRIVATE_RANGE);
  if (table.exitPolicy === undefined) return drop(DropReason.NOT_AN_EXIT);
  if (!leavesExits(header)) return drop(DropReason.UNSUPPORTED_PROTOCOL);
  return exitPolicyAccepts(table.exitPolicy, buffer, header) ? EXIT : drop(DropReason.EXIT_POLICY);
}

function decideFromOverlay(
  table: ForwardingTable,
  buffer: Uint8Array,
  header: IpHeader,
  peerId: string,
): Decision {
  const peer = table.peers.get(peerId);
  if (peer === undefined) return drop(DropReason.UNKNOWN_PEER);
  const { family, source, destination } = header;
  const fromRelay = peer.addresses.has(addressKey(buffer, source, family));
  if (!fromRelay && !inPools(peer.pools, buffer, header, source)) return drop(DropReason.OUTSIDE_PEER_POOL);
  if (header.fragment) return drop(DropReason.FRAGMENT);
  if (!hasPorts(header)) return drop(DropReason.MALFORMED);
  const key = addressKey(buffer, destination, family);
  if (table.own.has(key)) {
    if (fromRelay) return drop(DropReason.RELAY_IN_OVERLAY);
    return serviceOf(buffer, header, 2) ?? drop(DropReason.OWN_SERVICES);
  }
  if (inPools(table.pools, buffer, header, destination)) {
    if (!fromRelay) return drop(DropReason.OTHER_CLIENT);
    if (serviceOf(buffer, header, 0) === undefined) return drop(DropReason.RELAY_SERVICES);
    return table.isClient(key) ? { kind: 'client', address: key } : drop(DropReason.NO_SUCH_CLIENT);
  }
  return drop(DropReason.NOT_FOR_US);
}

function decideFromExit(table: ForwardingTable, buffer: Uint8Array, header: IpHeader): Decision {
  if (!inPools(table.pools, buffer, header, header.destination)) return drop(DropReason.NOT_FOR_US);
  const key = addressKey(buffer, header.destination, header.family);
  return table.isClient(key) ? { kind: 'client', address: key } : drop(DropReason.NO_SUCH_CLIENT);
}

/**
 * IKE or ESP, or undefined for everything else: a relay's only services inside a telescope.
 * @param portOffset - 2 to look at the UDP destination port (towards a relay), 0 at the source port (from one)
 */
function serviceOf(buffer: Uint8Array, header: IpHeader, portOffset: 0 | 2): Decision | undefined {
  if (header.protocol === IpProtocol.ESP) return LOCAL_ESP;
  if (header.protocol !== IpProtocol.UDP) return undefined;
  const port = (buffer[header.payload + portOffset] << 8) | buffer[header.payload + portOffset + 1];
  return port === 500 || port === 4500 ? LOCAL_IKE : undefined;
}

/** Exits carry UDP, TCP and the family's ICMP. An IPv6 extension header is none of them: it would hide the ports. */
function leavesExits({ family, protocol }: IpHeader): boolean {
  return protocol === IpProtocol.UDP || protocol === IpProtocol.TCP || protocol === ICMP[family].protocol;
}

function hasPorts(header: IpHeader): boolean {
  if (header.protocol === IpProtocol.UDP) return header.end - header.payload >= 8;
  if (header.protocol === IpProtocol.TCP) return header.end - header.payload >= 20;
  return true;
}

function inPools(pools: readonly Prefix[], buffer: Uint8Array, header: IpHeader, offset: number): boolean {
  for (const pool of pools) {
    if (pool.family === header.family && prefixContains(pool, buffer, offset)) return true;
  }
  return false;
}
