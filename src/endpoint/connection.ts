import type { SelectorPair } from '../ike/child-sa.ts';
import { type IkeError, LocalError } from '../ike/errors.ts';
import type { ChildSaInfo, Peer } from '../ike/output.ts';
import type { Millis } from '../link/clock.ts';
import type { Origin } from '../link/link.ts';
import type { Tunnel } from '../link/sa-store.ts';
import type { Ending, Session } from './session.ts';

/** A tunnel of a connection. */
export interface ChildTunnel {
  /** The SAs that it has now. */
  readonly info: ChildSaInfo;
  /** The data path, which stays when they are rekeyed. */
  readonly tunnel: Tunnel;
}

/** An established IKE SA with its Child SA, as the user of an endpoint holds it. */
export class IkeConnection {
  /** Ours in IKE_SA_INIT. */
  readonly role: 'initiator' | 'responder';
  /** Whom the peer has proved to be. */
  readonly peer: Peer;
  /** Resolves when the IKE SA is gone, with why. */
  readonly closed: Promise<Ending>;
  readonly #session: Session;
  readonly #children = new Map<string, ChildTunnel>();
  #awaited: { resolve(child: ChildTunnel): void; reject(error: IkeError): void } | undefined;

  /** @internal */
  constructor(session: Session, peer: Peer, closed: Promise<Ending>) {
    this.#session = session;
    this.role = session.ike.role;
    this.peer = peer;
    this.closed = closed;
  }

  /** The Child SA and its data path, if there are several that of the oldest tunnel; undefined if there is none (any more). */
  get child(): ChildTunnel | undefined {
    for (const child of this.#children.values()) return child;
    return undefined;
  }

  /** Where the peer is now. */
  get origin(): Origin {
    return this.#session.ike.origin;
  }

  /** Whether ESP is encapsulated in UDP (RFC 3948). */
  get encapsulated(): boolean {
    return this.#session.ike.espPath.encapsulated;
  }

  /** Whether it goes on when the initiator's address changes (MOBIKE, RFC 4555). */
  get isMobile(): boolean {
    return this.#session.ike.isMobile;
  }

  /** Exchanges that we started and the peer answered: round trips. */
  get roundTrips(): number {
    return this.#session.ike.exchanges;
  }

  /** Asks whether the peer is alive (RFC 7296 2.4). False: it did not answer, and the IKE SA is closed. */
  checkLiveness(): Promise<boolean> {
    return this.#session.checkLiveness();
  }

  /** Replaces the IKE SA by a new one now, whatever its lifetime (RFC 7296 1.3.2). */
  rekey(): void {
    this.#session.perform((ike, now) => ike.rekey(now));
  }

  /** Replaces the Child SAs of every tunnel by new ones now (RFC 7296 1.3.3). */
  rekeyChildren(): void {
    for (const id of this.#children.keys()) this.#session.perform((ike, now) => ike.rekeyChild(id, now));
  }

  /**
   * Makes another Child SA with a tunnel of its own (RFC 7296 1.3.1), or the first of a childless IKE SA (RFC 6023).
   * @throws IkeError if the peer refuses it, it cannot be made, or the IKE SA ends
   */
  async createChild(selectors: SelectorPair): Promise<ChildTunnel> {
    if (this.#awaited !== undefined) throw new LocalError('another Child SA is being made');
    const made = new Promise<ChildTunnel>((resolve, reject) => {
      this.#awaited = { resolve, reject };
    });
    const ended = this.closed.then((error): never => {
      throw error ?? new LocalError('the IKE SA was closed meanwhile');
    });
    try {
      this.#session.perform((ike, now) => ike.createChild(selectors, now));
      return await Promise.race([made, ended]);
    } finally {
      this.#awaited = undefined;
    }
  }

  /** Deletes a Child SA; with its last one an initiator closes the IKE SA. @param tunnelId - of the tunnel's policy */
  closeChild(tunnelId: string): void {
    this.#session.perform((ike, now) => ike.closeChild(tunnelId, now));
  }

  /**
   * A hint, from outside any SA, that the peer has lost its state: answered with a liveness check, rate limited.
   * @internal
   */
  hint(): void {
    this.#session.perform((ike, now) => ike.hint(now));
  }

  /**
   * Deletes the IKE SA and waits for the peer's answer, at most `patience`; then it is gone in any case.
   * @param delay - resolves after the patience (a clock's timer)
   * @internal Others close it by `Endpoint.closeConnection`.
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

  /**
   * For the endpoint, which follows the core's events: a tunnel is there, or has other SAs.
   * @param isAskedFor - it is new, and it was not the peer who asked for it
   * @internal
   */
  setChild(child: ChildTunnel, isAskedFor: boolean): void {
    this.#children.set(child.tunnel.policy.id, child);
    if (isAskedFor) this.#awaited?.resolve(child);
  }

  /**
   * For the endpoint: a Child SA that was asked for has not come about.
   * @internal
   */
  failChild(error: IkeError): void {
    this.#awaited?.reject(error);
  }

  /**
   * For the endpoint: forgets a tunnel, or all; returns what there was.
   * @internal
   */
  takeChildren(tunnelId?: string): ChildTunnel[] {
    const taken = [...this.#children.values()].filter(
      ({ tunnel }) => tunnelId === undefined || tunnel.policy.id === tunnelId,
    );
    for (const { tunnel } of taken) this.#children.delete(tunnel.policy.id);
    return taken;
  }
}

/** How long an orderly close waits for the peer's answer. */
export const CLOSE_PATIENCE: Millis = 2_000;
