import { isDeepStrictEqual } from 'node:util';
import { AddressPool } from '../cp/address-pool.ts';
import { defaultProvider } from '../crypto/default.ts';
import type { CryptoProvider } from '../crypto/provider.ts';
import type { RelayDescriptor } from '../descriptor/descriptor.ts';
import { outerFamily } from '../descriptor/outer-family.ts';
import type { IkeConnection } from '../endpoint/connection.ts';
import { Endpoint, type Handshakes } from '../endpoint/endpoint.ts';
import { lifetimes } from '../endpoint/lifetimes.ts';
import { systemClock } from '../endpoint/system-clock.ts';
import type { ResponderConfig } from '../ike/config.ts';
import type { KeyLog } from '../ike/key-log.ts';
import { defaultChildProposals, relayIkeProposals } from '../ike/proposal.ts';
import type { Clock, Millis } from '../link/clock.ts';
import { type Link, LinkError, type Origin } from '../link/link.ts';
import type { AssignedAddresses } from '../link/sa-store.ts';
import { type Address, familyOf } from '../wire/address.ts';
import { equalBytes } from '../wire/bytes.ts';
import { overlayMtuOf, type RelayConfig } from './config.ts';
import type { DataPlane, Drops } from './data-plane.ts';
import { CLIENT_MTU } from './host.ts';
import { watchIdle } from './idle-watch.ts';
import { openKernelPlane } from './kernel/kernel-plane.ts';
import { LimitedAssigner } from './limited-assigner.ts';
import { Overlay } from './overlay.ts';
import { ProfileName, relayProfiles } from './profiles.ts';
import { changedKeys } from './reload.ts';
import { relaySchedule } from './schedule.ts';
import type { Traffic } from './tunnel-sums.ts';
import { openUserSpacePlane, type UserSpaceParts } from './user-space-plane.ts';

/**
 * How long an initiator may be silent before IKE_AUTH is over: 14 sends of the schedule with which telescopes are built, so that
 * at a loss of 30 % one in twenty million is forgotten that is still there.
 */
const HALF_OPEN_TIMEOUT: Millis = 45_000;
/** Clients check their hops more often than this; one that is silent for so long is asked whether it is there. */
const CLIENT_IDLE: Millis = 60_000;

/** What a relay is made of. */
export interface RelayOptions extends UserSpaceParts {
  /** As `loadRelayConfig` reads it. */
  readonly config: RelayConfig;
  /** Default: node:crypto. */
  readonly crypto?: CryptoProvider;
  /** Default: the system's. */
  readonly clock?: Clock;
  /** Is told all keys, of clients and of overlays. Default: nobody is. */
  readonly keyLog?: KeyLog;
}

/** With what was left out. */
type Parts = RelayOptions & Required<Pick<RelayOptions, 'crypto' | 'clock'>>;

/** What a relay is doing, for its operator. */
export interface RelayState {
  /** Those that have a tunnel. */
  readonly clients: readonly {
    /** Names it, as long as this relay runs. */
    readonly id: string;
    /** Where it comes from: its own address at an entry, else one that the relay before assigned. */
    readonly address: Address;
    /** Name of the relay through whose overlay it comes. */
    readonly overlayPeer?: string;
    readonly assigned: AssignedAddresses;
    readonly spiIn: number;
    readonly spiOut: number;
  }[];
  /** One for each peer. */
  readonly overlays: readonly {
    /** Names it, as long as this relay runs. */
    readonly id: string;
    /** Its name. */
    readonly peer: string;
    /** Why the last dial failed or the last overlay ended, while it is down; no address or key is in it. */
    readonly problem?: string;
    /** Absent while the overlay is down: our role in its IKE SA, and the SPIs of its Child SA. */
    readonly up?: {
      readonly role: 'initiator' | 'responder';
      readonly spiIn: number;
      readonly spiOut: number;
    };
  }[];
  /** Why nothing leaves any more, though this relay is an exit. */
  readonly exitProblem?: string;
  /** Of clients and overlays together, half-open ones included. */
  readonly ikeSas: number;
  /** IKE SAs that others are setting up. */
  readonly halfOpen: number;
  /** What has come of those that others began. */
  readonly handshakes: Handshakes;
  /** What has been carried. */
  readonly traffic: Traffic;
  /** Packets that were dropped. */
  readonly drops: Drops;
}

/** What a relay goes by now. */
interface Current {
  config: RelayConfig;
}

/** A relay: answers IKE of anonymous clients, keeps overlay tunnels with listed relays, forwards between them. */
export class Relay {
  /** Resolves when every overlay has been up. */
  readonly ready: Promise<void>;
  readonly #options: Parts;
  readonly #endpoint: Endpoint;
  readonly #plane: DataPlane;
  /** By key id. */
  readonly #overlays = new Map<string, Overlay>();
  readonly #clients = new Map<IkeConnection, { readonly id: string; readonly remove: () => void }>();
  readonly #pool: AddressPool;
  readonly #assigner: LimitedAssigner;
  readonly #current: Current;
  #profiles!: ReturnType<typeof relayProfiles>;
  /** Clients that there have been. */
  #clientCount = 0;
  /** Overlays that there have been. */
  #overlayCount = 0;
  #closing: Promise<void> | undefined;

  private constructor(options: Parts, current: Current, endpoint: Endpoint, plane: DataPlane) {
    const { config, crypto } = options;
    this.#options = options;
    this.#current = current;
    this.#endpoint = endpoint;
    this.#plane = plane;
    const { ip4, ip6 } = config.own.pools;
    this.#pool = new AddressPool({ ip4, ip6, random: crypto.random });
    this.#assigner = new LimitedAssigner(this.#pool, config.maxClients);
    this.#adopt(config);
    for (const peer of config.peers) this.#addOverlay(peer);
    this.ready = Promise.all([...this.#overlays.values()].map((overlay) => overlay.ready)).then(() => {});
  }

  /**
   * Opens the host's sockets and the exit, answers clients and dials the listed relays.
   * @throws LinkError, ExitError, NativeError, CommandError saying what to do; nothing is left open then
   */
  static async open(options: RelayOptions): Promise<Relay> {
    const { config, crypto = defaultProvider(), clock = systemClock } = options;
    const parts = { ...options, crypto, clock };
    const plane =
      config.backend === 'xfrm'
        ? await openKernelPlane(config, clock, options.native)
        : await openUserSpacePlane(config, parts, options);
    try {
      requireOverlayMtu(config, plane.link);
      const current: Current = { config };
      const endpoint = await Endpoint.open({
        link: plane.link,
        backend: plane.backend,
        crypto,
        clock,
        isKnownPeer: (origin) => isPeerHost(current.config, origin),
      });
      return new Relay(parts, current, endpoint, plane);
    } catch (error) {
      await plane.close();
      throw error;
    }
  }

  /** What it goes by now. */
  get config(): RelayConfig {
    return this.#current.config;
  }

  /** What it is doing now. */
  state(): RelayState {
    const { peers } = this.config;
    const { exitProblem, drops, traffic } = this.#plane;
    return {
      clients: [...this.#clients].flatMap(([{ origin, child }, { id }]) => {
        if (child === undefined) return [];
        const { spiIn, spiOut, assigned } = child.info;
        const overlayPeer = peers.find(({ keyId }) => keyId === origin.overlayPeer)?.name;
        return [
          {
            id,
            address: origin.address,
            ...(overlayPeer !== undefined && { overlayPeer }),
            assigned: assigned!,
            spiIn,
            spiOut,
          },
        ];
      }),
      overlays: [...this.#overlays.values()].map(({ id, peer, connection, problem }) => {
        if (connection?.child === undefined) {
          return { id, peer: peer.name, ...(problem !== undefined && { problem }) };
        }
        const { spiIn, spiOut } = connection.child.info;
        return { id, peer: peer.name, up: { role: connection.role, spiIn, spiOut } };
      }),
      ...(exitProblem !== undefined && { exitProblem }),
      ikeSas: this.#endpoint.size,
      halfOpen: this.#endpoint.halfOpen,
      handshakes: this.#endpoint.handshakes,
      traffic,
      drops,
    };
  }

  /** Deletes every client's IKE SA and the overlays, in order, and gives back all that it opened. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#endpoint.stopListening();
    for (const overlay of this.#overlays.values()) overlay.stop();
    await this.#plane.closeExit();
    // Clients first: the Deletes of those behind other relays travel through the overlays.
    await Promise.all(
      [...this.#clients.keys()].map((connection) => this.#endpoint.closeConnection(connection)),
    );
    await this.#endpoint.close();
    await this.#plane.close();
  }

  /**
   * Goes by another configuration from now on: new peers are dialled, the overlays of those that are gone or have another descriptor
   * are closed, with the clients that came through them. All others stay as they are, and keep the name servers that they were told of.
   * @returns the keys that have changed
   * @throws ReloadError naming the keys that need a restart; nothing has changed then
   */
  reload(config: RelayConfig): readonly string[] {
    const changed = changedKeys(this.config, config, this.#plane.fixedKeys);
    if (changed.length === 0 || this.#closing !== undefined) return [];
    const isKept = ({ peer }: Overlay) => config.peers.some((other) => isDeepStrictEqual(other, peer));
    for (const overlay of [...this.#overlays.values()].filter((overlay) => !isKept(overlay))) {
      this.#removeOverlay(overlay);
    }
    this.#current.config = config;
    this.#plane.adopt(config);
    this.#adopt(config);
    for (const peer of config.peers) if (!this.#overlays.has(peer.keyId)) this.#addOverlay(peer);
    return changed;
  }

  /** Closes a client, or an overlay, which is then dialled anew. @returns whether there is one of that id */
  disconnect(id: string): boolean {
    for (const [connection, client] of this.#clients) {
      if (client.id !== id) continue;
      void this.#endpoint.closeConnection(connection);
      return true;
    }
    const overlay = [...this.#overlays.values()].find((other) => other.id === id);
    overlay?.disconnect();
    return overlay !== undefined;
  }

  #addOverlay(peer: RelayDescriptor): void {
    const { crypto, clock, keyLog } = this.#options;
    const [endpoint, plane] = [this.#endpoint, this.#plane];
    const overlay = new Overlay({
      id: `o${++this.#overlayCount}`,
      config: this.config,
      peer,
      endpoint,
      plane,
      crypto,
      clock,
      keyLog,
    });
    this.#overlays.set(peer.keyId, overlay);
    overlay.start();
  }

  /** Clients first: their Deletes travel through it. */
  #removeOverlay(overlay: Overlay): void {
    const { keyId } = overlay.peer;
    for (const connection of this.#clients.keys()) {
      if (connection.origin.overlayPeer === keyId) void this.#endpoint.closeConnection(connection);
    }
    overlay.stop();
    overlay.disconnect();
    this.#overlays.delete(keyId);
  }

  /** Answers as the configuration says. */
  #adopt(config: RelayConfig): void {
    this.#assigner.limit = config.maxClients;
    this.#pool.dns = {
      ip4Dns: config.dns.filter((address) => familyOf(address) === 4),
      ip6Dns: config.dns.filter((address) => familyOf(address) === 6),
    };
    this.#profiles = relayProfiles(config, this.#assigner);
    this.#endpoint.listen({
      config: this.#responderConfig(),
      cookieThreshold: config.cookieThreshold,
      maxHalfOpen: config.maxHalfOpen,
      maxHalfOpenPer: config.maxHalfOpenPer,
      puzzles: config.puzzles,
      onChild: (connection) => this.#accept(connection),
      onClosed: (connection) => {
        this.#clients.get(connection)?.remove();
        this.#clients.delete(connection);
      },
      onInitialContact: (connection, contactKey) => this.#overlays.get(contactKey)?.contact(connection),
    });
  }

  #accept(connection: IkeConnection): void {
    const { peer, child, origin } = connection;
    if (peer.profile === ProfileName.OVERLAY) {
      const overlays = [...this.#overlays.values()];
      const overlay = overlays.find((other) => equalBytes(other.peer.publicKey, peer.publicKey!));
      if (overlay !== undefined) overlay.accept(connection);
      // It was taken off the list meanwhile. Not from within: it is still to be told of the Child SA.
      else queueMicrotask(() => void this.#endpoint.closeConnection(connection));
      return;
    }
    const { clock, crypto } = this.#options;
    const former = this.#clients.get(connection);
    former?.remove();
    const { assigned } = child!.info;
    this.#clients.set(connection, {
      id: former?.id ?? String(++this.#clientCount),
      remove: this.#plane.addClient(assigned!, child!.tunnel, origin),
    });
    if (former !== undefined) return;
    watchIdle(connection, clock, () => CLIENT_IDLE * (0.8 + (0.4 * crypto.random(1)[0]) / 256));
  }

  #responderConfig(): ResponderConfig {
    const { crypto, keyLog } = this.#options;
    const most = () => {
      const { maxClients, maxHalfOpen, peers } = this.config;
      // Each client has an address; this also bounds those that got none and have not left yet.
      return maxClients + maxHalfOpen + 2 * peers.length;
    };
    return {
      crypto,
      ikeProposals: relayIkeProposals,
      childProposals: defaultChildProposals,
      retransmission: relaySchedule,
      ...lifetimes,
      profile: (claim) => {
        const profile = this.#profiles(claim);
        return profile?.assigner !== undefined && this.#endpoint.size > most() ? undefined : profile;
      },
      halfOpenTimeout: HALF_OPEN_TIMEOUT,
      pathMtu: CLIENT_MTU,
      ...(keyLog !== undefined && { keyLog }),
    };
  }
}

/** Unprotected hints go to listed relays only: a client is never told anything outside its IKE SA. */
function isPeerHost({ peers }: RelayConfig, { overlayPeer, address }: Origin): boolean {
  return (
    overlayPeer === undefined &&
    peers.some(({ addresses: { ip4, ip6 } }) => address === ip4 || address === ip6)
  );
}

/** The descriptor promises clients an overlay MTU. @throws LinkError if the host's network cannot carry it */
function requireOverlayMtu({ own, encapsulatedOnly }: RelayConfig, link: Link): void {
  const possible = overlayMtuOf(link.mtu, outerFamily(own.addresses)!, encapsulatedOnly);
  if (own.overlayMtu <= possible) return;
  throw new LinkError(
    `the descriptor promises an overlay MTU of ${own.overlayMtu} octets, but a network of MTU ${link.mtu} carries ` +
      `${possible}: set overlayMtu: ${possible} (or mtu: ${link.mtu}) and hand out the new descriptor`,
  );
}
