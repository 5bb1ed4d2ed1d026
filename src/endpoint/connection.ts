import type { ChildSaInfo, Peer } from '../ike/output.ts';
import type { Millis } from '../link/clock.ts';
import type { Origin } from '../link/link.ts';
import type { Tunnel } from '../link/sa-store.ts';
import type { Ending, Session } from './session.ts';

/** An established IKE SA with its Child SA, as the user of an endpoint holds it. */
export class IkeConnection {
  readonly role: 'initiator' | 'responder';
  /** The peer when the IKE SA was set up. */
  readonly origin: Origin;
  readonly peer: Peer;
  /** Resolves when the IKE SA is gone, with why. */
  readonly closed: Promise<Ending>;
  readonly #session: Session;
  #child: { readonly info: ChildSaInfo; readonly tunnel: Tunnel } | undefined;

  constructor(session: Session, peer: Peer, origin: Origin, closed: Promise<Ending>) {
    this.#session = session;
    this.role = session.ike.role;
    this.peer = peer;
    this.origin = origin;
    this.closed = closed;
  }

  /** The Child SA and its data path; undefined if there is none (any more). */
  get child(): { readonly info: ChildSaInfo; readonly tunnel: Tunnel } | undefined {
    return this.#child;
  }

  /** Whether ESP is encapsulated in UDP (RFC 3948). */
  get encapsulated(): boolean {
    return this.#session.ike.origin.encapsulated;
  }

  /** Exchanges that we started and the peer answered: round trips. */
  get roundTrips(): number {
    return this.#session.ike.exchanges;
  }

  /** Asks whether the peer is alive (RFC 7296 2.4). False: it did not answer, and the IKE SA is closed. */
  checkLiveness(): Promise<boolean> {
    return this.#session.checkLiveness();
  }

  /** A hint, from outside any SA, that the peer has lost its state: answered with a liveness check, rate limited. */
  hint(): void {
    this.#session.perform((ike, now) => ike.hint(now));
  }

  /**
   * Deletes the IKE SA and waits for the peer's answer, at most `patience`; then it is gone in any case.
   * @param delay - resolves after the patience (a clock's timer)
   */
  async close(delay: Promise<void>): Promise<void> {
    this.#session.perform((ike, now) => ike.close(now));
    await Promise.race([this.closed, delay]);
    this.abort();
    await this.#session.settled();
  }

  /** Forgets the IKE SA at once, without a message. */
  abort(): void {
    if (!this.#session.ike.closed) this.#session.perform((ike, now) => ike.abort(now));
  }

  /** For the endpoint: follows the core's events. */
  setChild(child: { readonly info: ChildSaInfo; readonly tunnel: Tunnel } | undefined): void {
    this.#child = child;
  }
}

/** How long an orderly close waits for the peer's answer. */
export const CLOSE_PATIENCE: Millis = 2_000;
