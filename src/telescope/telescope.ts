import { userSpaceBackend } from '../backend/userspace/backend.ts';
import { defaultProvider } from '../crypto/default.ts';
import type { CryptoProvider } from '../crypto/provider.ts';
import type { IkeConnection } from '../endpoint/connection.ts';
import { Endpoint } from '../endpoint/endpoint.ts';
import { systemClock } from '../endpoint/system-clock.ts';
import { maxInnerPacket } from '../esp/overhead.ts';
import type { RetransmissionSchedule } from '../ike/config.ts';
import type { KeyLog } from '../ike/key-log.ts';
import type { Clock } from '../link/clock.ts';
import type { Link } from '../link/link.ts';
import type { AssignedAddresses, Tunnel } from '../link/sa-store.ts';
import { type Address, type Family, familyOf } from '../wire/address.ts';
import { type TelescopeBackend, userSpaceHops } from './backend.ts';
import { TelescopeError } from './errors.ts';
import { watchLiveness } from './liveness.ts';
import { type HopAddresses, pathAddresses } from './path-addresses.ts';
import { assignedAddress, buildSchedule, hopConfig } from './profile.ts';
import type { RelayTarget } from './relay-target.ts';

/** The inner MTU of every telescope: one figure for the whole network, because a personal one is a fingerprint. */
export const INNER_MTU = 1280;

/** The longest path: so many layers find room in a packet's slot (`HEADROOM`). */
export const MAX_HOPS = 8;

/** How a telescope is built; what is absent is what everybody does, and anything else sets its user apart. */
export interface TelescopeOptions {
  /** Default: node:crypto. */
  readonly crypto?: CryptoProvider;
  /** What carries the hops. Default: user space. */
  readonly backend?: TelescopeBackend;
  /** Default: the system's. */
  readonly clock?: Clock;
  /** Of the address that the relay assigns; of a telescope, its exit. Default: 4, of an exit that does not assign such, 6. */
  readonly family?: Family;
  /** RFC 3948 at the first hop; deeper hops never encapsulate in UDP (K28). Default false. */
  readonly encapsulated?: boolean;
  /** The largest packet that is to go through it, in octets; the path has to carry it. Default `INNER_MTU`. */
  readonly innerMtu?: number;
  /** When requests are sent again while it is built. Default: 0, 0.5, 1.5, 3.5 s, then every 4 s, 30 sends. */
  readonly retransmission?: RetransmissionSchedule;
  /** Gives the building up: `openTelescope` rejects with a TelescopeError then. An open telescope is not concerned. */
  readonly signal?: AbortSignal;
  /** Is told the keys of every hop: they undo all that a telescope is for. Default: nobody is. */
  readonly keyLog?: KeyLog;
  /** Called before and after each hop is built. */
  onExtending?(hop: number, relay: RelayTarget): void;
  /** Called when a hop is built. */
  onHop?(hop: Hop): void;
}

/** One hop that has been built. */
export interface Hop {
  /** Whom it leads to. */
  readonly relay: RelayTarget;
  /** The address that its IKE and ESP were sent from: the client's own at the first hop, then the one assigned before. */
  readonly source: Address;
  /** What the relay assigned. */
  readonly assigned: AssignedAddresses;
  /** The largest packet that the tunnel carries, in octets: its ceiling. */
  readonly mtu: number;
  /** Request/response pairs that the set-up took. */
  readonly roundTrips: number;
  /** How long it took. */
  readonly milliseconds: number;
  /** Its data path: inner packets, between `assigned` and whatever the relay reaches. */
  readonly tunnel: Tunnel;
  /** Its IKE SA. */
  readonly connection: IkeConnection;
  /** The tunnel as the link of the next hop. */
  readonly link: Link;
  /** Deletes the hop's IKE SA and detaches from the link below. */
  close(): Promise<void>;
}

/**
 * Extends over `link`: IKE_SA_INIT and IKE_AUTH with `relay` from the link's address, then the tunnel from the address
 * that the relay assigned. The same code for the first hop and the seventh (K12).
 * @throws IkeError, LinkError; nothing is left installed then
 */
export async function extend(
  link: Link,
  relay: RelayTarget,
  at: { readonly address: Address; readonly first: boolean },
  options: TelescopeOptions = {},
): Promise<Hop> {
  const { crypto = defaultProvider(), clock = systemClock, family = 4, encapsulated = false } = options;
  const { keyLog } = options;
  const backend = options.backend ?? userSpaceHops(userSpaceBackend(crypto));
  const retransmission = options.retransmission ?? buildSchedule;
  const started = clock.now();
  const endpoint = await Endpoint.open({ link, backend: backend.over(link), crypto, clock });
  try {
    const to = link.origin(at.address, at.first && encapsulated);
    const traversal = at.first ? link.origin(at.address, true) : undefined;
    const config = hopConfig(relay, { crypto, family, first: at.first, traversal, retransmission, keyLog });
    const connection = await endpoint.connect(config, to, options.signal);
    const { info, tunnel } = connection.child!;
    const assigned = info.assigned!;
    const mtu = maxInnerPacket(link.mtu, info.suite, {
      family: familyOf(at.address),
      encapsulated: connection.encapsulated,
    });
    const next = assignedAddress({ tsI: [], tsR: [], assigned }, family)!;
    return {
      relay,
      source: to.localAddress,
      assigned,
      mtu,
      roundTrips: connection.roundTrips,
      milliseconds: clock.now() - started,
      tunnel,
      connection,
      link: backend.linkOf(tunnel, next, Math.min(mtu, relay.overlayMtu)),
      close: () => endpoint.close(),
    };
  } catch (error) {
    await endpoint.close();
    throw error;
  }
}

/** A chain of tunnels to an exit. */
export class Telescope {
  /** Outermost first. */
  readonly hops: readonly Hop[];
  /** The largest packet that is to go through it, in octets; the path may carry more, but larger ones set it apart. */
  readonly innerMtu: number;
  /** Resolves when it has ended: undefined after `close()`, else why. */
  readonly closed: Promise<TelescopeError | undefined>;
  #finish!: (error: TelescopeError | undefined) => void;
  #closing: Promise<void> | undefined;

  constructor(hops: readonly Hop[], innerMtu: number, clock: Clock, random: (length: number) => Uint8Array) {
    this.hops = hops;
    this.innerMtu = innerMtu;
    this.closed = new Promise((resolve) => {
      this.#finish = resolve;
    });
    const stop = watchLiveness(hops, clock, random, (error) => {
      this.#finish(error);
      void this.close();
    });
    void this.closed.then(stop);
  }

  /** The innermost tunnel: its packets enter and leave at the exit. */
  get tunnel(): Tunnel {
    return this.hops[this.hops.length - 1].tunnel;
  }

  /** What the exit assigned: the source address of packets for `tunnel`. */
  get assigned(): AssignedAddresses {
    return this.hops[this.hops.length - 1].assigned;
  }

  /** Closes hop by hop, innermost first, each Delete still travelling through the outer tunnels. */
  close(): Promise<void> {
    this.#finish(undefined);
    this.#closing ??= closeInnermostFirst(this.hops);
    return this.#closing;
  }
}

/**
 * Builds a telescope over `link` through `path`, the entry first.
 * @throws TelescopeError naming the hop; every hop built before it has been closed, innermost first. RangeError for a path
 * that is empty or over `MAX_HOPS`
 */
export async function openTelescope(
  link: Link,
  path: readonly RelayTarget[],
  options: TelescopeOptions = {},
): Promise<Telescope> {
  if (path.length === 0 || path.length > MAX_HOPS) {
    throw new RangeError(`a path has 1 to ${MAX_HOPS} relays, not ${path.length}`);
  }
  const hops: Hop[] = [];
  try {
    let under = link;
    const addresses = pathAddresses(path, options.family);
    for (const [index, relay] of path.entries()) {
      options.onExtending?.(index + 1, relay);
      const hop = await extendNamed(under, relay, index, addresses[index], options);
      hops.push(hop);
      options.onHop?.(hop);
      under = hop.link;
    }
    const { innerMtu = INNER_MTU, clock = systemClock, crypto = defaultProvider() } = options;
    requireMtu(hops, innerMtu);
    return new Telescope(hops, innerMtu, clock, crypto.random);
  } catch (error) {
    await closeInnermostFirst(hops);
    throw error;
  }
}

async function extendNamed(
  link: Link,
  relay: RelayTarget,
  index: number,
  { address, family }: HopAddresses,
  options: TelescopeOptions,
): Promise<Hop> {
  try {
    return await extend(link, relay, { address, first: index === 0 }, { ...options, family });
  } catch (error) {
    options.signal?.throwIfAborted();
    throw new TelescopeError(index + 1, relay.name, 'extending to the relay', error);
  }
}

function requireMtu(hops: readonly Hop[], innerMtu: number): void {
  const last = hops[hops.length - 1];
  if (last.mtu >= innerMtu) return;
  throw new TelescopeError(
    hops.length,
    last.relay.name,
    'checking the MTU',
    `the path carries packets of at most ${last.mtu} octets, the telescope needs ${innerMtu}; use fewer hops or a link with a larger MTU`,
  );
}

async function closeInnermostFirst(hops: readonly Hop[]): Promise<void> {
  for (const hop of [...hops].reverse()) await hop.close();
}
