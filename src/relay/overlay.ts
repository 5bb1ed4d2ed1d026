import type { CryptoProvider } from '../crypto/provider.ts';
import type { RelayDescriptor } from '../descriptor/descriptor.ts';
import { outerFamily } from '../descriptor/outer-family.ts';
import type { IkeConnection } from '../endpoint/connection.ts';
import type { Endpoint } from '../endpoint/endpoint.ts';
import { lifetimes } from '../endpoint/lifetimes.ts';
import type { InitiatorConfig } from '../ike/config.ts';
import { NotifyType } from '../ike/constants.ts';
import { IkeError, LocalError, RefusedError } from '../ike/errors.ts';
import type { KeyLog } from '../ike/key-log.ts';
import { defaultChildProposals, defaultIkeProposals } from '../ike/proposal.ts';
import type { Clock, Millis } from '../link/clock.ts';
import { compareBytes } from '../wire/bytes.ts';
import type { RelayConfig } from './config.ts';
import type { DataPlane } from './data-plane.ts';
import { watchIdle } from './idle-watch.ts';
import { overlayMismatch, overlaySelectors } from './overlay-selectors.ts';
import { relayAuthentication } from './profiles.ts';
import { relaySchedule } from './schedule.ts';

/** The first dial after a start is up to so late, so that relays that start together do not all dial at once. */
const START_SPREAD: Millis = 200;
/** Waits between dials double from the first to the last. */
const FIRST_WAIT: Millis = 1_000;
const LONGEST_WAIT: Millis = 30_000;
/** Silence after which a peer is asked whether it is alive. */
const IDLE: Millis = 5_000;

export interface OverlayOptions {
  readonly config: RelayConfig;
  /** Names it, as long as the relay runs. */
  readonly id: string;
  readonly peer: RelayDescriptor;
  readonly endpoint: Endpoint;
  readonly crypto: CryptoProvider;
  readonly clock: Clock;
  readonly plane: DataPlane;
  readonly keyLog?: KeyLog;
}

/**
 * Keeps one overlay IKE SA with a listed relay. Both ends dial; when that leaves two, the one that the relay with the
 * smaller public key initiated stays, and the other is deleted by its own initiator. Meanwhile both carry traffic.
 */
export class Overlay {
  readonly id: string;
  readonly peer: RelayDescriptor;
  /** Resolves when it is up for the first time. */
  readonly ready: Promise<void>;
  readonly #options: OverlayOptions;
  /** The newest first; packets leave through that one. */
  #connections: readonly IkeConnection[] = [];
  #dialling: AbortController | undefined;
  #cancelDial: () => void = () => {};
  #failures = 0;
  #problem: string | undefined;
  /** There has been an IKE SA with the peer since we started: INITIAL_CONTACT would be untrue (RFC 7296 2.4). */
  #contacted = false;
  #stopped = false;
  #resolveReady!: () => void;

  constructor(options: OverlayOptions) {
    this.id = options.id;
    this.peer = options.peer;
    this.#options = options;
    this.ready = new Promise((resolve) => {
      this.#resolveReady = resolve;
    });
  }

  /** The IKE SA that packets leave through. */
  get connection(): IkeConnection | undefined {
    return this.#connections[0];
  }

  /** Why there is none: how the last dial or the last IKE SA ended, without addresses and keys. */
  get problem(): string | undefined {
    return this.#problem;
  }

  start(): void {
    this.#dialAfter(START_SPREAD * this.#uniform());
  }

  /** Dials no more. The IKE SAs are the endpoint's to close. */
  stop(): void {
    this.#stopped = true;
    this.#cancelDial();
    this.#dialling?.abort();
  }

  /** Ends its IKE SAs; unless it is stopped, it dials again. */
  disconnect(): void {
    this.#dialling?.abort();
    this.#close(this.#connections);
  }

  /** Takes over an IKE SA that the peer initiated. Its Child SA has been installed. */
  accept(connection: IkeConnection): void {
    const { config, endpoint } = this.#options;
    const mismatch = this.#connections.includes(connection)
      ? 'it made its Child SA anew'
      : overlayMismatch(config.own, this.peer, connection.child!.info.tunnel);
    // Not from within: the peer is still to be told of the Child SA.
    if (mismatch === undefined) {
      this.#add(connection);
      return;
    }
    this.#problem = mismatch;
    queueMicrotask(() => void endpoint.closeConnection(connection));
  }

  /** The peer has started anew: what it no longer knows of is closed (RFC 7296 2.4). */
  contact(fresh: IkeConnection): void {
    this.#close(this.#connections.filter((connection) => connection !== fresh));
  }

  #add(connection: IkeConnection): void {
    this.#contacted = true;
    this.#failures = 0;
    this.#problem = undefined;
    this.#cancelDial();
    const removeTunnel = this.#options.plane.addOverlay(this.peer.keyId, connection.child!.tunnel);
    // A relay dials only when it has none: an older IKE SA of the same initiator is dead.
    const superseded = this.#connections.filter(({ role }) => role === connection.role);
    this.#connections = [connection, ...this.#connections];
    this.#close(superseded);
    this.#settle();
    this.#route();
    this.#resolveReady();
    watchIdle(connection, this.#options.clock, () => IDLE * (0.8 + 0.4 * this.#uniform()));
    void connection.closed.then((ending) => {
      removeTunnel();
      this.#problem = ending === undefined ? 'its IKE SA was deleted' : problemOf(ending);
      this.#remove(connection);
    });
  }

  /** Of two IKE SAs the one that the smaller key initiated survives; each relay deletes only what it initiated. */
  #settle(): void {
    const byPeer = this.#connections.some(({ role }) => role === 'responder');
    if (byPeer && compareBytes(this.#options.config.own.publicKey, this.peer.publicKey) > 0) {
      this.#close(this.#connections.filter(({ role }) => role === 'initiator'));
    }
  }

  #close(connections: readonly IkeConnection[]): void {
    this.#connections = this.#connections.filter((connection) => !connections.includes(connection));
    this.#route();
    queueMicrotask(() => {
      for (const connection of connections) void this.#options.endpoint.closeConnection(connection);
    });
  }

  #remove(connection: IkeConnection): void {
    this.#connections = this.#connections.filter((other) => other !== connection);
    this.#route();
    if (this.#connections.length === 0 && this.#dialling === undefined) this.#dialAfter(this.#wait());
  }

  #route(): void {
    this.#options.plane.setOverlay(this.peer.keyId, this.connection?.child?.tunnel);
  }

  #wait(): Millis {
    return Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** this.#failures) * (0.5 + 0.5 * this.#uniform());
  }

  #dialAfter(wait: Millis): void {
    if (this.#stopped) return;
    const { clock } = this.#options;
    this.#cancelDial();
    this.#cancelDial = clock.at(clock.now() + wait, () => void this.#dial());
  }

  async #dial(): Promise<void> {
    if (this.#stopped || this.#connections.length > 0) return;
    const { config, endpoint, plane } = this.#options;
    const family = outerFamily(config.own.addresses, this.peer.addresses);
    const address = family === 4 ? this.peer.addresses.ip4 : this.peer.addresses.ip6;
    const dialling = new AbortController();
    this.#dialling = dialling;
    let mismatch: string | undefined;
    const initiator = this.#initiatorConfig(({ tsI, tsR }) => {
      mismatch = overlayMismatch(config.own, this.peer, { local: tsI, remote: tsR });
      return mismatch;
    });
    try {
      const to = plane.link.origin(address!, config.encapsulatedOnly);
      const connection = await endpoint.connect(initiator, to, dialling.signal);
      this.#dialling = undefined;
      this.#add(connection);
    } catch (error) {
      this.#dialling = undefined;
      this.#failures++;
      this.#problem = mismatch ?? problemOf(error as Error);
      if (this.#connections.length === 0) this.#dialAfter(this.#wait());
    }
  }

  #initiatorConfig(acceptChild: InitiatorConfig['acceptChild']): InitiatorConfig {
    const { config, crypto, keyLog } = this.#options;
    const { local, remote } = overlaySelectors(config.own, this.peer);
    const contacted = () => this.#contacted;
    return {
      crypto,
      ikeProposals: defaultIkeProposals,
      childProposals: defaultChildProposals,
      retransmission: relaySchedule,
      ...lifetimes,
      ...(keyLog !== undefined && { keyLog }),
      local: relayAuthentication(config, true),
      remote: { kind: 'signature', publicKey: this.peer.publicKey },
      child: { tsI: local, tsR: remote },
      acceptChild,
      // As true when the message is made as when it is sent: the peer's dial may have come first.
      get initialContact() {
        return !contacted();
      },
      natDetection: true,
    };
  }

  /** A number in [0, 1). */
  #uniform(): number {
    return this.#options.crypto.random(1)[0] / 256;
  }
}

/** What IKE has to say of the peer names no address; what our sockets and backend say may, so only its kind is told. */
function problemOf(error: Error): string {
  if (error instanceof RefusedError && error.notify === NotifyType.AUTHENTICATION_FAILED) {
    return `${error.message}; does it list this relay among its peers, with the present descriptor?`;
  }
  return error instanceof IkeError && !(error instanceof LocalError) ? error.message : error.name;
}
