import type { Millis } from '../link/clock.ts';
import type { Origin } from '../link/link.ts';
import type { SaEvent, SaResult } from '../link/sa-store.ts';
import { hex } from '../wire/bytes.ts';
import { liveChildren, type SelectorPair } from './child-sa.ts';
import type { InitiatorConfig, ResponderConfig } from './config.ts';
import type { IkeError } from './errors.ts';
import { IkeSa } from './ike-sa.ts';
import { type Job, JobQueue, type Urgency } from './job-queue.ts';
import { peekHeader } from './message.ts';
import { Outbox } from './outbox.ts';
import type { Output } from './output.ts';
import { espPath, followEsp } from './peer-address.ts';
import { createChild } from './procedures/create-child.ts';
import { deleteTunnel } from './procedures/delete.ts';
import { changeAddress } from './procedures/mobike.ts';
import { followSaEvent, rekeyChild } from './procedures/rekey-child.ts';
import { RateLimit } from './rate-limit.ts';
import type { Founding, Lineage, Role, SaContext } from './sa-context.ts';
import { Agenda } from './timers.ts';

/** IKE SAs at a time: the current one, two that a collision makes, and some that were replaced and are not deleted yet. */
const MAX_MEMBERS = 8;
/**
 * CREATE_CHILD_SA requests of the peer that are gone into, for all IKE SAs of a lineage: rekeys are minutes apart, but each
 * costs us as much as a new peer does, which cookies and puzzles defend us from. One buys the key exchange of the request and
 * the additional ones that follow it, at most 1 + 7 (RFC 9370 2.2.1); what is refused before that is free. A burst is some
 * Child SAs and the IKE SA, with retries.
 */
const REQUEST_BURST = 16;
const REQUESTS_PER_SECOND = 0.2;

/**
 * An IKE SA and those that replace it (RFC 7296 2.8), without sockets, clock or promises: for its user they are one. The law:
 * call one method, drain `poll()`, then arm `nextTimeout`. Results of operations are to be handed in, and `poll()` drained,
 * even after it is closed: an SPI whose reservation was under way is given back then.
 */
export class IkeLineage {
  /** Our role in IKE_SA_INIT. */
  readonly role: Role;
  readonly #shared: Lineage;
  readonly #members = new Map<SaContext, IkeSa>();
  /** Of the IKE SAs that are gone. */
  #pastExchanges = 0;
  #sawForgery = false;

  /** Starts an IKE SA: its IKE_SA_INIT request is the first output. */
  static initiate(config: InitiatorConfig, to: Origin, now: Millis): IkeLineage {
    const lineage = new IkeLineage('initiator', config, to, now);
    lineage.#begin(IkeSa.initiate(lineage.#shared, config, to));
    lineage.#settle();
    return lineage;
  }

  /** Answers an IKE_SA_INIT request that passed a `ResponderGate`. If it is refused the lineage is closed at once. */
  static respond(config: ResponderConfig, request: Uint8Array, origin: Origin, now: Millis): IkeLineage {
    const lineage = new IkeLineage('responder', config, origin, now);
    const first = IkeSa.respond(lineage.#shared, config, origin);
    lineage.#begin(first);
    first.respondToInitial(config, request);
    return lineage;
  }

  private constructor(role: Role, config: InitiatorConfig | ResponderConfig, origin: Origin, now: Millis) {
    this.role = role;
    this.#shared = {
      role,
      config,
      outbox: new Outbox(),
      jobs: new JobQueue(),
      agenda: new Agenda(),
      now,
      current: undefined as never,
      candidate: undefined,
      profile: undefined,
      childCount: 0,
      childLoss: undefined,
      assigned: undefined,
      strayDeletes: undefined,
      exchangeBudget: new RateLimit(REQUESTS_PER_SECOND, REQUEST_BURST),
      nat: undefined,
      startedInUdp: origin.encapsulated,
      mobility: undefined,
      found: (founding, by) => this.#found(founding, by),
      ended: (sa, error) => this.#ended(sa, error),
    };
  }

  /** The last IKE SA is gone. */
  get closed(): boolean {
    return this.#members.size === 0;
  }

  /** The peer is authenticated and accepted. */
  get established(): boolean {
    return this.#shared.current.established && !this.closed;
  }

  /** Hex of our own SPI of the IKE SA that has the Child SAs: what the peer's messages are told apart by (RFC 7296 2.6). */
  get localSpi(): string {
    return hex(this.#shared.current.localSpi);
  }

  /** Hex of our own SPIs of all the IKE SAs that there are, oldest first. */
  get localSpis(): string[] {
    return Array.from(this.#members.keys(), ({ localSpi }) => hex(localSpi));
  }

  /** Where ESP goes, and whether it is encapsulated in UDP. */
  get espPath(): Origin {
    return espPath(this.#shared.current);
  }

  /** Where our messages go: the peer, and whether that is on port 4500. */
  get origin(): Origin {
    return this.#shared.current.origin;
  }

  /** Both do MOBIKE (RFC 4555). */
  get isMobile(): boolean {
    return this.#shared.mobility !== undefined;
  }

  /** We are behind a NAT, whose mapping has to be kept (RFC 7296 2.23). */
  get behindNat(): boolean {
    return this.#shared.nat?.local === true;
  }

  /** Round trips: responses to requests of ours, including those that asked for another IKE_SA_INIT request. */
  get exchanges(): number {
    let sum = this.#pastExchanges;
    for (const ike of this.#members.values()) sum += ike.exchanges;
    return sum;
  }

  /** A request that was due could not be opened, in any IKE SA: somebody else's, or damaged. */
  get sawForgery(): boolean {
    return this.#sawForgery || this.#current?.sawForgery === true;
  }

  /** When `handleTimeout` wants to be called. */
  get nextTimeout(): Millis | undefined {
    let earliest = this.#shared.agenda.earliest ?? Number.POSITIVE_INFINITY;
    for (const { nextTimeout } of this.#members.values())
      earliest = Math.min(earliest, nextTimeout ?? Number.POSITIVE_INFINITY);
    return this.closed || earliest === Number.POSITIVE_INFINITY ? undefined : earliest;
  }

  /** The next thing to be done; undefined when there is nothing left. */
  poll(): Output | undefined {
    return this.#shared.outbox.take();
  }

  /** Takes any datagram; whatever is not the peer's, or not the one that is due, changes nothing. */
  handleDatagram(message: Uint8Array, origin: Origin, now: Millis): void {
    this.#shared.now = now;
    const header = peekHeader(message);
    if (header === undefined) return;
    for (const ike of this.#members.values()) {
      if (!ike.isAddressed(header)) continue;
      ike.receive(header, message, origin);
      break;
    }
    this.#settle();
  }

  /** To be called at `nextTimeout`, or later. */
  handleTimeout(now: Millis): void {
    this.#shared.now = now;
    this.#shared.agenda.runDue(now, this.#shared.current);
    for (const ike of this.#members.values()) ike.handleTimeout(now);
    this.#settle();
  }

  /** The result of an `operation` output. */
  handleCompleted(id: number, result: SaResult, now: Millis): void {
    this.#shared.now = now;
    this.#shared.outbox.complete(id, result);
    this.#settle();
  }

  /** Asks for a Child SA besides the first; `child-established` or `child-failed` tells what came of it. */
  createChild(selectors: SelectorPair, now: Millis): void {
    this.#enqueue('create', (sa) => createChild(sa, selectors), now);
  }

  /** Replaces the SAs of a tunnel (RFC 7296 1.3.3); without effect if there are none, or they are being replaced. */
  rekeyChild(tunnelId: string, now: Millis): void {
    for (const child of liveChildren(this.#shared.current, tunnelId))
      this.#enqueue('rekey', (sa) => rekeyChild(sa, child), now);
  }

  /** Deletes the SAs of a tunnel; without effect if there are none. */
  closeChild(tunnelId: string, now: Millis): void {
    this.#enqueue('delete', (sa) => deleteTunnel(sa, tunnelId), now);
  }

  /** Takes what the backend says of an SA: it is rekeyed, deleted, or used. */
  handleSaEvent(event: SaEvent, now: Millis): void {
    this.#shared.now = now;
    if (event.kind === 'moved') followEsp(this.#shared.current, event.path);
    else followSaEvent(this.#shared.current, event);
    this.#settle();
  }

  /** Replaces the IKE SA by a new one; without effect before it is established (RFC 7296 1.3.2). */
  rekey(now: Millis): void {
    this.#shared.now = now;
    if (this.established) this.#shared.current.rekey();
    this.#settle();
  }

  /**
   * Deletes the IKE SA, once IKE_AUTH is over: closed when the peer has answered or has had the time to, without an error in
   * either case.
   */
  close(now: Millis): void {
    this.#shared.now = now;
    this.#shared.candidate?.close();
    this.#shared.current.close();
    this.#settle();
  }

  /** Closes it at once and sends nothing. */
  abort(now: Millis): void {
    this.#shared.now = now;
    this.#shared.current.end();
  }

  /**
   * Our own address has changed: everything goes to `to` from now on, which is the same peer. Without effect if the peer does
   * no MOBIKE (RFC 4555), or it is the one who may move.
   */
  updateAddresses(to: Origin, now: Millis): void {
    this.#shared.now = now;
    if (this.established) changeAddress([...this.#members.keys()], to);
    this.#settle();
  }

  /** An empty INFORMATIONAL exchange, unless a response is due that serves as well (RFC 7296 2.4). */
  checkLiveness(now: Millis): void {
    this.#shared.now = now;
    this.#current?.checkLiveness();
    this.#settle();
  }

  /** An unprotected message says that the peer does not know a Child SA: only a hint (RFC 7296 2.4). */
  hint(now: Millis): void {
    this.#shared.now = now;
    this.#current?.hint();
    this.#settle();
  }

  #enqueue(urgency: Urgency, job: Job, now: Millis): void {
    this.#shared.now = now;
    if (this.established) this.#shared.current.enqueue(urgency, job);
    this.#settle();
  }

  /** The IKE SA that has the Child SAs; undefined when it is gone. */
  get #current(): IkeSa | undefined {
    return this.#members.get(this.#shared.current);
  }

  #begin(first: IkeSa): void {
    this.#members.set(first.context, first);
    this.#shared.current = first.context;
  }

  #found(founding: Founding, by: SaContext): SaContext {
    this.#makeRoom(by);
    const made = IkeSa.found(this.#shared, founding);
    this.#members.set(made.context, made);
    this.#shared.outbox.emit({ type: 'successor', spi: hex(founding.localSpi) });
    return made.context;
  }

  /**
   * A peer that rekeys again and again, and never deletes what it has replaced, gets no more than others.
   * @param by - stays: its rekey is what room is made for, even if it was replaced meanwhile
   */
  #makeRoom(by: SaContext): void {
    const { current, candidate } = this.#shared;
    for (const sa of this.#members.keys()) {
      if (this.#members.size < MAX_MEMBERS) return;
      if (sa !== current && sa !== candidate && sa !== by) sa.end();
    }
  }

  #ended(sa: SaContext, error: IkeError | undefined): void {
    const member = this.#members.get(sa);
    this.#pastExchanges += member?.exchanges ?? 0;
    this.#sawForgery ||= member?.sawForgery === true;
    this.#members.delete(sa);
    const shared = this.#shared;
    if (shared.candidate === sa) shared.candidate = undefined;
    if (shared.current !== sa) {
      shared.outbox.emit({ type: 'retired', spi: hex(sa.localSpi) });
      return;
    }
    for (const other of this.#members.keys()) other.end();
    shared.jobs.clear();
    shared.agenda.clear();
    shared.profile?.assigner?.release(shared);
    shared.outbox.emit({ type: 'closed', ...(error !== undefined && { error }) });
  }

  /** What every method ends with; one that this makes is settled as well. */
  #settle(): void {
    for (const ike of this.#members.values()) ike.settle();
  }
}
