import type { Millis } from '../link/clock.ts';
import type { Origin } from '../link/link.ts';
import type { SaOperation, SaResult } from '../link/sa-store.ts';
import { hex } from '../wire/bytes.ts';
import { removeSas } from './child-sa.ts';
import type { CommonConfig, InitiatorConfig, ResponderConfig } from './config.ts';
import { ExchangeType, NotifyType } from './constants.ts';
import { type IkeError, ikeErrorOf, NoAnswerError, ProtocolError } from './errors.ts';
import type { IkeHeader } from './header.ts';
import { type Job, JobQueue } from './job-queue.ts';
import { decodePlain, peekHeader } from './message.ts';
import { MessageStream, type Received } from './message-stream.ts';
import { Outbox } from './outbox.ts';
import type { Output } from './output.ts';
import { notify } from './payload/index.ts';
import { type Effect, type Message, type Outcome, type Procedure, Run } from './procedure.ts';
import type { Answer } from './procedures/answer.ts';
import { answerCreateChild } from './procedures/create-child.ts';
import { deleteChild, deleteIkeSa } from './procedures/delete.ts';
import { answerIkeAuth, initiateIkeAuth } from './procedures/ike-auth.ts';
import { answerIkeSaInit, initiateIkeSaInit } from './procedures/ike-sa-init.ts';
import { answerInformational } from './procedures/informational.ts';
import { checkLiveness } from './procedures/liveness.ts';
import { newContext, type Role, type SaContext } from './sa-context.ts';
import { Agenda } from './timers.ts';

/**
 * How long we wait for the answer to our last request: it can only tell us that the peer has heard it (RFC 7296 1.4.1). Also
 * the longest that `close` of an established IKE SA takes.
 */
const FAREWELL_PATIENCE: Millis = 2_000;
/** The least time between two liveness checks that unauthenticated messages cause (RFC 7296 2.4, 2.21.4). */
const HINTED_LIVENESS_INTERVAL: Millis = 10_000;

/** What performing an effect needs of the run that asked for it. */
type Waiting = Pick<Run<unknown>, 'ended' | 'resume' | 'fail'>;

/**
 * One IKE SA (RFC 7296), without sockets, clock or promises. The law: call one method, drain `poll()`, then arm
 * `nextTimeout`. Results of operations are to be handed in, and `poll()` drained, even after it is closed: an SPI whose
 * reservation was under way is given back then.
 */
export class IkeSa {
  readonly role: Role;
  /** Hex of our own SPI: what the peer's messages are told apart by (RFC 7296 2.6). */
  readonly localSpi: string;
  readonly #sa: SaContext;
  readonly #stream: MessageStream;
  readonly #agenda = new Agenda();
  readonly #outbox = new Outbox();
  readonly #operations = new Map<number, { readonly run: Waiting; readonly operation: SaOperation }>();
  readonly #jobs = new JobQueue();
  readonly #answer: (message: Message) => Procedure<Answer>;
  #initiating: Run<unknown> | undefined;
  #answering: Run<Answer> | undefined;
  #hintedLivenessAt: Millis = Number.NEGATIVE_INFINITY;
  /** Why it is being closed, unless that was asked for. */
  #reason: IkeError | undefined;
  #closed = false;

  /** Starts an IKE SA: its IKE_SA_INIT request is the first output. */
  static initiate(config: InitiatorConfig, to: Origin, now: Millis): IkeSa {
    const sa = new IkeSa('initiator', config, to, now, (message) => sa.#answerEstablished(message));
    sa.#jobs.add('set-up', () => initiateIkeSaInit(sa.#sa, config));
    sa.#jobs.add('set-up', () => initiateIkeAuth(sa.#sa, config));
    sa.#settleDown();
    return sa;
  }

  /** Answers an IKE_SA_INIT request that passed a `ResponderGate`. If it is refused the IKE SA is closed at once. */
  static respond(config: ResponderConfig, request: Uint8Array, origin: Origin, now: Millis): IkeSa {
    const sa = new IkeSa('responder', config, origin, now, (message) =>
      message.header.exchangeType === ExchangeType.IKE_AUTH
        ? answerIkeAuth(sa.#sa, config, message)
        : sa.#answerEstablished(message),
    );
    sa.#agenda.set('half-open', now + config.halfOpenTimeout, () =>
      sa.#terminate(new NoAnswerError('the initiator did not complete IKE_AUTH')),
    );
    sa.#respondToInit(config, request);
    return sa;
  }

  private constructor(
    role: Role,
    config: CommonConfig,
    origin: Origin,
    now: Millis,
    answer: (message: Message) => Procedure<Answer>,
  ) {
    const localSpi = config.crypto.random(8);
    this.role = role;
    this.localSpi = hex(localSpi);
    this.#answer = answer;
    this.#sa = newContext(role, config, localSpi, origin, now, {
      agenda: this.#agenda,
      emit: (event) => this.#outbox.emit(event),
      submit: (operation) => void this.#outbox.submit(operation),
      enqueue: (urgency, job) => this.#jobs.add(urgency, job),
    });
    this.#stream = new MessageStream(this.#sa, config, this.#outbox);
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** The peer is authenticated and accepted. */
  get established(): boolean {
    return this.#sa.established && !this.#closed;
  }

  /** Where our messages and ESP go: the peer, and whether it is encapsulated in UDP. */
  get origin(): Origin {
    return this.#sa.origin;
  }

  /** Round trips: responses to requests of ours, including those that asked for another IKE_SA_INIT request. */
  get exchanges(): number {
    return this.#stream.exchanges;
  }

  /** When `handleTimeout` wants to be called. */
  get nextTimeout(): Millis | undefined {
    if (this.#closed) return undefined;
    const deadlines = [this.#agenda.earliest, this.#stream.nextTimeout];
    const earliest = Math.min(...deadlines.map((at) => at ?? Number.POSITIVE_INFINITY));
    return Number.isFinite(earliest) ? earliest : undefined;
  }

  /** The next thing to be done; undefined when there is nothing left. */
  poll(): Output | undefined {
    return this.#outbox.take();
  }

  /** Takes any datagram; whatever is not the peer's, or not the one that is due, changes nothing. */
  handleDatagram(message: Uint8Array, origin: Origin, now: Millis): void {
    this.#sa.now = now;
    const header = peekHeader(message);
    const { linkId, overlayPeer } = this.#sa.origin;
    // At a relay an address alone does not identify a peer: another overlay peer is not this one.
    if (
      this.#closed ||
      header === undefined ||
      origin.linkId !== linkId ||
      origin.overlayPeer !== overlayPeer
    ) {
      return;
    }
    const { spiI, spiR, flags } = header;
    const isInitiator = this.role === 'initiator';
    if (flags.initiator === isInitiator || hex(isInitiator ? spiI : spiR) !== this.localSpi) {
      // A repeated IKE_SA_INIT request does not have our SPI yet.
      if (isInitiator || header.exchangeType !== ExchangeType.IKE_SA_INIT) return;
    }
    this.#receive(this.#stream.receive(header, message, origin), origin);
    this.#settleDown();
  }

  handleTimeout(now: Millis): void {
    this.#sa.now = now;
    this.#agenda.runDue(now);
    const failure = this.#closed ? undefined : this.#stream.handleTimeout(now);
    if (failure !== undefined) this.#initiating?.fail(failure);
    this.#settleDown();
  }

  /** The result of an `operation` output. */
  handleCompleted(id: number, result: SaResult, now: Millis): void {
    this.#sa.now = now;
    const entry = this.#operations.get(id);
    if (entry === undefined) return;
    this.#operations.delete(id);
    const { run, operation } = entry;
    if (!run.ended) run.resume(result);
    else if (operation.kind === 'reserve' && result.ok) {
      this.#outbox.submit({ kind: 'remove', direction: 'inbound', spi: result.spi, path: operation.path });
    }
    this.#settleDown();
  }

  /** Deletes one Child SA; without effect if there is none of that id. */
  closeChild(tunnelId: string, now: Millis): void {
    this.#sa.now = now;
    for (const child of this.#sa.children.values()) {
      if (child.tunnel.id !== tunnelId || this.#isClosing) continue;
      this.#jobs.add('delete', () => deleteChild(this.#sa, child));
    }
    this.#settleDown();
  }

  /**
   * Deletes the IKE SA, once IKE_AUTH is over: closed when the peer has answered or has had the time to, without an error in
   * either case.
   */
  close(now: Millis): void {
    this.#sa.now = now;
    this.#startClosing();
    this.#settleDown();
  }

  /** Closes it at once and sends nothing. */
  abort(now: Millis): void {
    this.#sa.now = now;
    this.#terminate();
  }

  /** An empty INFORMATIONAL exchange, unless something else is under way that serves as well (RFC 7296 2.4). */
  checkLiveness(now: Millis): void {
    this.#sa.now = now;
    if (this.established && this.#initiating === undefined) this.#jobs.add('liveness', checkLiveness);
    this.#settleDown();
  }

  /** An unprotected message says that the peer does not know a Child SA: only a hint (RFC 7296 2.4). */
  hint(now: Millis): void {
    if (!this.established || now - this.#hintedLivenessAt < HINTED_LIVENESS_INTERVAL) return;
    this.#hintedLivenessAt = now;
    this.checkLiveness(now);
  }

  #respondToInit(config: ResponderConfig, request: Uint8Array): void {
    const decoded = decodePlain(request);
    try {
      if (decoded.kind !== 'ok')
        throw new ProtocolError(NotifyType.INVALID_SYNTAX, 'not an IKE_SA_INIT request');
      const { header, payloads } = decoded;
      const { response, refused } = answerIkeSaInit(this.#sa, config, { header, payloads, bytes: request });
      this.#stream.respondToInitial(request, response);
      if (refused !== undefined) this.#terminate(refused);
    } catch (error) {
      this.#terminate(ikeErrorOf(error));
    }
  }

  #receive(received: Received | undefined, origin: Origin): void {
    switch (received?.kind) {
      case 'request':
        this.#startAnswering(received.message, origin);
        return;
      case 'response':
        this.#initiating?.resume(received.message);
        return;
      case 'malformed-request':
        this.#respondWithError(received.header, origin, received.error);
        return;
      case 'malformed-response':
        this.#initiating?.fail(received.error);
    }
  }

  #startAnswering(message: Message, origin: Origin): void {
    const { header } = message;
    this.#answering = new Run<Answer>(
      this.#answer(message),
      (effect) => this.#perform(this.#answering!, effect),
      (outcome) => {
        this.#answering = undefined;
        if (outcome.ok) this.#respond(header, origin, outcome.value);
        else if (outcome.error instanceof ProtocolError)
          this.#respondWithError(header, origin, outcome.error);
        else this.#terminate(ikeErrorOf(outcome.error));
      },
    );
    this.#answering.start();
  }

  // biome-ignore lint/correctness/useYield: it never waits
  *#answerEstablished(message: Message): Procedure<Answer> {
    return message.header.exchangeType === ExchangeType.INFORMATIONAL
      ? answerInformational(this.#sa, message)
      : answerCreateChild();
  }

  #respondWithError(header: IkeHeader, origin: Origin, error: ProtocolError): void {
    // RFC 7296 2.5, 2.21.3: an unknown critical payload costs only the request, once the IKE SA is established.
    const isFatal = !this.#sa.established || error.notify !== NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD;
    const payloads = [notify(error.notify, error.data)];
    this.#respond(header, origin, isFatal ? { payloads, end: { error } } : { payloads });
  }

  #respond(header: IkeHeader, origin: Origin, { payloads, end }: Answer): void {
    this.#stream.respond(header, payloads, origin);
    if (end !== undefined) this.#terminate(end.error);
  }

  #startClosing(reason?: IkeError): void {
    if (this.#closed || this.#isClosing) return;
    // The initiator's IKE_AUTH request may already have made an IKE SA at the peer; anything earlier has not.
    if (!this.#sa.established && (this.role === 'responder' || this.#sa.negotiated === undefined)) {
      this.#terminate();
      return;
    }
    this.#sa.activity = 'closing';
    this.#reason = reason;
    if (this.#sa.established) {
      this.#jobs.clear();
      this.#limitFarewell();
    }
    this.#jobs.add('delete', deleteIkeSa);
  }

  /** What every method ends with: starts the next exchange of ours, and keeps the deadlines up to date. */
  #settleDown(): void {
    // Its one Child SA is all that we make an IKE SA for.
    const isIdle = this.role === 'initiator' && this.#initiating === undefined;
    if (isIdle && this.#sa.childCount > 0 && this.#isChildless()) this.#startClosing(this.#sa.childLoss);
    for (let job = this.#nextJob(); job !== undefined; job = this.#nextJob()) {
      this.#initiating = new Run<unknown>(
        job(),
        (effect) => this.#perform(this.#initiating!, effect),
        (outcome) => this.#finishInitiating(outcome),
      );
      this.#initiating.start();
    }
    if (this.#sa.established) this.#agenda.delete('half-open');
    const timeout = this.#sa.profile?.childlessTimeout;
    if (timeout !== undefined && this.#isChildless())
      this.#agenda.start('childless', this.#sa.now + timeout, () => this.#startClosing());
    else this.#agenda.delete('childless');
  }

  #isChildless(): boolean {
    return this.#sa.children.size === 0 && this.#answering === undefined && !this.#isClosing;
  }

  get #isClosing(): boolean {
    return this.#sa.activity === 'closing';
  }

  #nextJob(): Job | undefined {
    return this.#closed || this.#initiating !== undefined ? undefined : this.#jobs.take();
  }

  #finishInitiating(outcome: Outcome<unknown>): void {
    this.#initiating = undefined;
    if (!outcome.ok) {
      const error = ikeErrorOf(outcome.error);
      this.#terminate(this.#isClosing && error instanceof NoAnswerError ? this.#reason : error);
      return;
    }
    if (outcome.value === 'deleted') this.#terminate(this.#reason);
    // An IKE_SA_INIT request stays outstanding until its procedure has accepted a response.
    else this.#stream.complete();
  }

  #perform(run: Waiting, effect: Effect): void {
    switch (effect.kind) {
      case 'initial-exchange':
        this.#stream.sendInitial(effect.request);
        break;
      case 'wait-again':
        if (effect.hint !== undefined) this.#stream.takeHint(effect.hint);
        break;
      case 'exchange':
        try {
          if (effect.isFarewell) this.#limitFarewell();
          this.#stream.send(effect.exchangeType, effect.payloads);
        } catch (error) {
          run.fail(ikeErrorOf(error));
        }
        break;
      case 'operation':
        this.#operations.set(this.#outbox.submit(effect.operation), { run, operation: effect.operation });
    }
  }

  #limitFarewell(): void {
    this.#agenda.start('farewell', this.#sa.now + FAREWELL_PATIENCE, () =>
      this.#initiating?.fail(new NoAnswerError('the peer did not answer when it was told of the end')),
    );
  }

  /** Ends everything that is under way, removes what there is, and says so; the last event. */
  #terminate(error?: IkeError): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#agenda.clear();
    this.#initiating?.end();
    this.#answering?.end();
    for (const child of this.#sa.children.values()) removeSas(this.#sa, child);
    this.#sa.children.clear();
    this.#sa.profile?.assigner?.release(this.#sa.owner);
    this.#sa.negotiated?.keys.destroy();
    this.#outbox.emit({ type: 'closed', ...(error !== undefined && { error }) });
  }
}
