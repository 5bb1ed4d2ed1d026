import createDebug from 'debug';
import { userSpaceBackend } from '../backend/userspace/backend.ts';
import { defaultProvider } from '../crypto/default.ts';
import type { CryptoProvider } from '../crypto/provider.ts';
import type { InitiatorConfig, ResponderConfig } from '../ike/config.ts';
import { ExchangeType } from '../ike/constants.ts';
import { type IkeError, LocalError } from '../ike/errors.ts';
import { HEADER_LENGTH } from '../ike/header.ts';
import { IkeLineage } from '../ike/lineage.ts';
import type { IkeEvent } from '../ike/output.ts';
import { MIN_DIFFICULTY } from '../ike/puzzle.ts';
import { RateLimit } from '../ike/rate-limit.ts';
import { type Admission, type Load, type PuzzlePolicy, ResponderGate } from '../ike/responder-gate.ts';
import { spiHint, unprotectedSpiHint } from '../ike/spi-hint.ts';
import type { Clock, Millis } from '../link/clock.ts';
import type { Attachment, Link, Origin } from '../link/link.ts';
import type { Backend, BackendFactory } from '../link/sa-store.ts';
import { hex } from '../wire/bytes.ts';
import { CLOSE_PATIENCE, IkeConnection } from './connection.ts';
import { HalfOpen, type SourceLimits, sourceLimits } from './half-open.ts';
import { NatKeepalives } from './nat-keepalives.ts';
import { RecentShare } from './recent-share.ts';
import { type Ending, Session, type SessionHost } from './session.ts';
import { systemClock } from './system-clock.ts';

const log = createDebug('ike-telescope:endpoint');

/** What an answering endpoint tells its owner. Handlers are called synchronously and must not throw. */
export interface Listener {
  /** How IKE SAs are answered. */
  readonly config: ResponderConfig;
  /** From this many half-open IKE SAs on, initiators must return a cookie (RFC 7296 2.6); 0: always. */
  readonly cookieThreshold: number;
  /** Above this many half-open IKE SAs, new ones are dropped, but for those of known peers. */
  readonly maxHalfOpen: number;
  /** How many of them one source may have; default: a share of `maxHalfOpen`. */
  readonly maxHalfOpenPer?: Partial<SourceLimits>;
  /** From when on initiators must solve puzzles, and how hard ones (RFC 8019); absent: never. */
  readonly puzzles?: Omit<PuzzlePolicy, 'maximum'>;
  /** A Child SA is up; called before the peer is told, so that its first packet finds a handler. */
  onChild(connection: IkeConnection): void;
  /** The IKE SA of a connection is gone, with its Child SAs. */
  onClosed(connection: IkeConnection, ending: Ending): void;
  /** An authenticated peer started anew (INITIAL_CONTACT): `connection` is its new IKE SA. */
  onInitialContact?(connection: IkeConnection, contactKey: string): void;
}

/** What an endpoint is made of. */
export interface EndpointOptions {
  /** Where messages and ESP come and go; not attached yet. */
  readonly link: Link;
  /** Makes the data plane of its Child SAs. Default: user space. */
  readonly backend?: BackendFactory;
  /** What cookies and puzzles are computed with; IKE SAs use that of their configurations. Default: node:crypto. */
  readonly crypto?: CryptoProvider;
  /** The time of retransmissions and lifetimes. Default: the system's. */
  readonly clock?: Clock;
  /**
   * Peers that are told, rate limited, that an SPI of theirs is unknown (RFC 7296 1.5), and whose new IKE SAs find room
   * also when others have taken all. Default: nobody.
   */
  isKnownPeer?(origin: Origin): boolean;
}

/** How many IKE_SA_INIT requests of others have ended in each way. */
export interface Handshakes {
  /** Complete. */
  readonly established: number;
  /** Begun, and not finished: not proved, refused, or given up. */
  readonly failed: number;
  /** Asked for a cookie or a puzzle solution. */
  readonly challenged: number;
  /** Malformed, or not to be answered. */
  readonly refused: number;
  /** Dropped for want of room. */
  readonly crowded: number;
}

/** With what was left out. */
type Parts = EndpointOptions & Required<Pick<EndpointOptions, 'crypto' | 'clock'>>;

interface Entry {
  readonly session: Session;
  readonly close: (ending: Ending) => void;
  connection?: IkeConnection;
  /** Of a half-open responder: the digest of its first request (retransmits find it by that, RFC 7296 2.1). */
  readonly firstRequest?: string;
  /** Our SPIs of all the IKE SAs that there are, while one replaces the other. */
  readonly spis: Set<string>;
}

/** With a greater part of forgeries, IKE_AUTH requests have to bring a puzzle solution before keys are computed for them. */
const FORGED_SHARE = 1 / 8;

/** The asynchronous part of IKE over one link: demultiplexes by SPI, drives sessions, opens and answers IKE SAs. */
export class Endpoint {
  readonly #options: Parts;
  readonly #entries = new Set<Entry>();
  /** By our SPI of any of the IKE SAs of an entry. */
  readonly #bySpi = new Map<string, Entry>();
  /** By the id of a tunnel of theirs. */
  readonly #tunnels = new Map<string, Entry>();
  readonly #errorAnswers = new RateLimit(10, 100);
  /** Of the IKE SAs that others have set up or tried to: those with IKE_AUTH requests that their keys did not open. */
  readonly #forgeries = new RecentShare();
  readonly #handshakes = { established: 0, failed: 0, challenged: 0, refused: 0, crowded: 0 };
  #listener: Listener | undefined;
  #gate: ResponderGate | undefined;
  #halfOpen: HalfOpen<Entry> | undefined;
  #host: SessionHost | undefined;
  #stopFollowing: (() => void) | undefined;

  private constructor(options: Parts) {
    this.#options = options;
  }

  /** Attaches to the link. @throws LinkError */
  static async open(options: EndpointOptions): Promise<Endpoint> {
    const { link, crypto = defaultProvider(), clock = systemClock } = options;
    const { backend: makeBackend = userSpaceBackend(crypto) } = options;
    const endpoint = new Endpoint({ ...options, crypto, clock });
    const attachment: Attachment = await link.attach({
      ike: (message, origin) => endpoint.#receive(message, origin),
      esp: (packets, origin) => endpoint.#host?.backend.receive(packets, origin),
    });
    try {
      const keepalives = new NatKeepalives(clock, attachment);
      const backend = makeBackend(
        (packets, to) => {
          attachment.sendEsp(packets, to);
          keepalives.sent(to);
        },
        (spi, origin) => endpoint.#unknownSpi(spi, origin),
        (event) => endpoint.#tunnels.get(event.tunnelId)?.session.handleSaEvent(event),
      );
      endpoint.#host = { clock, attachment, backend, keepalives };
      endpoint.#stopFollowing = link.onMoved?.(() => endpoint.#updateAddresses());
      return endpoint;
    } catch (error) {
      await attachment.close();
      throw error;
    }
  }

  /** The data plane of its Child SAs. */
  get backend(): Backend {
    return this.#opened().backend;
  }

  /** IKE SAs, half-open ones included; one and those that replace it are one. */
  get size(): number {
    return this.#entries.size;
  }

  /** Those that are being set up by others. */
  get halfOpen(): number {
    return this.#halfOpen?.size ?? 0;
  }

  /** What has come of the IKE_SA_INIT requests of others, and of the IKE SAs that they began. */
  get handshakes(): Handshakes {
    return this.#handshakes;
  }

  /** Answers IKE_SA_INIT requests from now on; called again, by another configuration. Those being set up stay. */
  listen(listener: Listener): void {
    this.#listener = listener;
    const gate = {
      crypto: this.#options.crypto,
      cookieThreshold: listener.cookieThreshold,
      ...(listener.puzzles && { puzzles: { ...listener.puzzles, maximum: listener.maxHalfOpen } }),
    };
    const limits = sourceLimits(listener.maxHalfOpen, listener.maxHalfOpenPer);
    if (this.#gate === undefined || this.#halfOpen === undefined) {
      this.#gate = new ResponderGate(gate);
      this.#halfOpen = new HalfOpen(limits);
    } else {
      this.#gate.configure(gate);
      this.#halfOpen.limits = limits;
    }
  }

  /**
   * Sets up an IKE SA, with its first Child SA unless the configuration has none.
   * @throws IkeError - refused, not authenticated, no answer, or our own policy; nothing is left installed then
   */
  async connect(config: InitiatorConfig, to: Origin, signal?: AbortSignal): Promise<IkeConnection> {
    signal?.throwIfAborted();
    const { clock } = this.#opened();
    let failure: IkeError | undefined;
    const result = deferred<IkeConnection>();
    const entry = this.#add(IkeLineage.initiate(config, to, clock.now()), (event) => {
      const last = config.child === undefined ? 'established' : 'child-established';
      if (event.type === last) result.resolve(entry.connection!);
      if (
        event.type === 'child-failed' &&
        config.child !== undefined &&
        entry.connection?.child === undefined
      ) {
        failure = event.error;
        entry.session.perform((ike, now) => ike.close(now));
      }
      if (event.type === 'closed') {
        result.reject(
          failure ?? event.error ?? new LocalError('the IKE SA was closed while it was being set up'),
        );
      }
    });
    const abort = () => entry.session.perform((ike, now) => ike.abort(now));
    signal?.addEventListener('abort', abort, { once: true });
    entry.session.start();
    try {
      return await result.promise;
    } catch (error) {
      await entry.session.settled();
      signal?.throwIfAborted();
      throw error;
    } finally {
      signal?.removeEventListener('abort', abort);
    }
  }

  /** Deletes a connection in order: waits for the peer's answer, but not for long. */
  closeConnection(connection: IkeConnection, patience: Millis = CLOSE_PATIENCE): Promise<void> {
    let cancel: (() => void) | undefined;
    const delay = new Promise<void>((resolve) => {
      cancel = this.#options.clock.at(this.#options.clock.now() + patience, resolve);
    });
    return connection.close(delay).finally(() => cancel?.());
  }

  /** Answers no further IKE SAs; those that there are go on. */
  stopListening(): void {
    this.#listener = undefined;
  }

  /** Deletes every IKE SA in order, then detaches from the link. */
  async close(): Promise<void> {
    this.stopListening();
    this.#stopFollowing?.();
    await Promise.all(
      Array.from(this.#entries, async ({ connection, session }) => {
        if (connection !== undefined) await this.closeConnection(connection);
        else session.perform((ike, now) => ike.abort(now));
        await session.settled();
      }),
    );
    await this.backend.close();
    await this.#opened().attachment.close();
  }

  #opened(): SessionHost {
    if (this.#host === undefined) throw new Error('the endpoint is not open');
    return this.#host;
  }

  #add(ike: IkeLineage, onEvent: (event: IkeEvent) => void, firstRequest?: string): Entry {
    const ended = deferred<Ending>();
    const session = new Session(ike, this.#opened(), (event) => {
      this.#follow(entry, event, ended.promise);
      onEvent(event);
    });
    const entry: Entry = { session, close: ended.resolve, firstRequest, spis: new Set() };
    this.#entries.add(entry);
    this.#register(entry, ike.localSpi);
    return entry;
  }

  /** What every session's events mean to the endpoint itself. */
  #follow(entry: Entry, event: IkeEvent, closed: Promise<Ending>): void {
    switch (event.type) {
      case 'established':
        this.#forgetHalfOpen(entry, 'established');
        entry.connection = new IkeConnection(entry.session, event.peer, closed);
        return;
      case 'child-established':
      case 'child-rekeyed': {
        const { id } = event.child.tunnel;
        const isAskedFor = event.type === 'child-established' && event.role === 'initiator';
        entry.connection?.setChild({ info: event.child, tunnel: this.backend.tunnel(id) }, isAskedFor);
        this.#tunnels.set(id, entry);
        return;
      }
      case 'child-closed':
        this.#closeTunnels(entry, event.tunnelId);
        return;
      case 'closed':
        this.#forgetHalfOpen(entry, 'failed');
        this.#entries.delete(entry);
        for (const spi of entry.spis) this.#bySpi.delete(spi);
        this.#closeTunnels(entry);
        entry.close(event.error);
        return;
      case 'successor':
        this.#register(entry, event.spi);
        return;
      case 'retired':
        entry.spis.delete(event.spi);
        this.#bySpi.delete(event.spi);
        return;
      case 'child-failed':
        entry.connection?.failChild(event.error);
        return;
      case 'initial-contact':
      case 'rekeyed':
        return;
    }
  }

  #register(entry: Entry, spi: string): void {
    entry.spis.add(spi);
    this.#bySpi.set(spi, entry);
  }

  /** One tunnel, or all. */
  #closeTunnels({ connection }: Entry, tunnelId?: string): void {
    for (const { tunnel } of connection?.takeChildren(tunnelId) ?? []) {
      this.#tunnels.delete(tunnel.policy.id);
      tunnel.close().catch((error) => log('a tunnel did not close: %o', error));
    }
  }

  #forgetHalfOpen(entry: Entry, result: 'established' | 'failed'): void {
    if (entry.firstRequest === undefined || this.#halfOpen?.get(entry.firstRequest) === undefined) return;
    this.#halfOpen.delete(entry.firstRequest);
    this.#handshakes[result]++;
    this.#forgeries.add(entry.session.ike.sawForgery);
  }

  /** RFC 7296 2.6: an IKE SA is found by our own SPI and the I flag, never by the sender's address. */
  #receive(message: Uint8Array, origin: Origin): void {
    if (message.length < HEADER_LENGTH || this.#host === undefined) return;
    const fromInitiator = (message[19] & 0x08) !== 0;
    const ours = hex(fromInitiator ? message.subarray(8, 16) : message.subarray(0, 8));
    const entry = this.#bySpi.get(ours);
    if (entry !== undefined) entry.session.receive(message, origin);
    else if (message[18] === ExchangeType.IKE_SA_INIT && fromInitiator) this.#receiveInit(message, origin);
    else this.#receiveUnknown(message, origin);
  }

  #receiveInit(message: Uint8Array, origin: Origin): void {
    const listener = this.#listener;
    if (listener === undefined) return;
    const digest = hex(this.#options.crypto.hash('sha256', message));
    const retransmitted = this.#halfOpen!.get(digest);
    if (retransmitted !== undefined) {
      retransmitted.session.receive(message, origin);
      return;
    }
    const { clock } = this.#opened();
    const verdict = this.#gate!.admit(message, origin, this.#load(origin), clock.now());
    if (verdict.kind !== 'accept') {
      this.#handshakes[verdict.kind === 'demand-cookie' ? 'challenged' : 'refused']++;
      this.#answerRefusal(verdict, origin);
    } else if (this.#hasRoom(listener, origin))
      this.#respond(listener, message, origin, digest, verdict.solved);
    else this.#handshakes.crowded++;
  }

  /** @param solved - the cookie of the puzzle that the initiator has solved */
  #respond(
    listener: Listener,
    message: Uint8Array,
    origin: Origin,
    digest: string,
    solved: Uint8Array | undefined,
  ): void {
    const now = this.#opened().clock.now();
    const isForged = solved !== undefined && this.#forgeries.share > FORGED_SHARE;
    const config = isForged
      ? { ...listener.config, authPuzzleDifficulty: Math.max(MIN_DIFFICULTY, listener.puzzles!.difficulty) }
      : listener.config;
    const ike = IkeLineage.respond(config, message, origin, now);
    if (solved !== undefined && !ike.closed) this.#gate!.reward(solved, now);
    const entry = this.#add(ike, (event) => this.#answered(listener, entry, event), digest);
    this.#halfOpen!.add(digest, entry, origin);
    entry.session.start();
  }

  #load(origin: Origin): Load {
    return { halfOpen: this.#halfOpen!.size, share: this.#halfOpen!.share(origin) };
  }

  #hasRoom({ maxHalfOpen }: Listener, origin: Origin): boolean {
    const { halfOpen, share } = this.#load(origin);
    return share < 1 && (halfOpen < maxHalfOpen || this.#options.isKnownPeer?.(origin) === true);
  }

  /** Cookies are always asked for: an attacker must not keep others from getting theirs. Errors are rate limited. */
  #answerRefusal(verdict: Exclude<Admission, { kind: 'accept' }>, origin: Origin): void {
    const { clock, attachment } = this.#opened();
    const isSent =
      verdict.kind === 'demand-cookie' ||
      (verdict.kind === 'answer' && this.#errorAnswers.allow(clock.now()));
    if (isSent) attachment.sendIke(verdict.message, origin);
  }

  #answered(listener: Listener, { connection }: Entry, event: IkeEvent): void {
    if (connection === undefined) return;
    if (event.type === 'child-established') listener.onChild(connection);
    if (event.type === 'closed') listener.onClosed(connection, event.error);
    if (event.type === 'initial-contact') listener.onInitialContact?.(connection, event.contactKey);
  }

  /** A message of no IKE SA of ours: perhaps answered, or a hint about one of our Child SAs; both rate limited. */
  #receiveUnknown(message: Uint8Array, origin: Origin): void {
    if (message[18] === ExchangeType.INFORMATIONAL) {
      const spi = spiHint(message);
      if (spi !== undefined) {
        this.#hinted(spi, origin);
        return;
      }
    }
    if (this.#listener === undefined) return;
    const verdict = this.#gate!.admit(message, origin, this.#load(origin), this.#opened().clock.now());
    if (verdict.kind !== 'accept') this.#answerRefusal(verdict, origin);
  }

  #hinted(spi: number, origin: Origin): void {
    for (const { connection, session } of this.#entries) {
      const { address, overlayPeer } = session.ike.origin;
      const isFromPeer = address === origin.address && overlayPeer === origin.overlayPeer;
      if (isFromPeer && connection?.child?.info.spiOut === spi) connection.hint();
    }
  }

  /** Our own address has changed: whoever does MOBIKE is told (RFC 4555). */
  #updateAddresses(): void {
    const { link } = this.#options;
    for (const { session } of this.#entries) {
      session.perform((ike, now) => {
        const { address, encapsulated } = ike.origin;
        try {
          ike.updateAddresses(link.origin(address, encapsulated), now);
        } catch (error) {
          log('the peer cannot be reached from our new address: %o', error);
        }
      });
    }
  }

  #unknownSpi(spi: number, origin: Origin): void {
    if (this.#options.isKnownPeer?.(origin) !== true) return;
    const { clock, attachment } = this.#opened();
    if (!this.#errorAnswers.allow(clock.now())) return;
    const to = origin.port === 0 ? this.#options.link.origin(origin.address, origin.encapsulated) : origin;
    attachment.sendIke(unprotectedSpiHint(spi), to);
  }
}

function deferred<T>(): {
  promise: Promise<T>;
  resolve: (value: T) => void;
  reject: (error: unknown) => void;
} {
  let resolve!: (value: T) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<T>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  return { promise, resolve, reject };
}
