import type { Millis } from '../link/clock.ts';
import type { Origin } from '../link/link.ts';
import type { SaOperation, SaResult } from '../link/sa-store.ts';
import { hex } from '../wire/bytes.ts';
import { followPeer, removeSas } from './child-sa.ts';
import type { InitiatorConfig, ResponderConfig } from './config.ts';
import { ExchangeType, NotifyType, nameOf } from './constants.ts';
import { type IkeError, ikeErrorOf, NoAnswerError, ProtocolError, RefusedError } from './errors.ts';
import type { IkeHeader } from './header.ts';
import { decodePlain, peekHeader } from './message.ts';
import { Outbox } from './outbox.ts';
import type { Output } from './output.ts';
import { notify, type Payload } from './payload/index.ts';
import { type Effect, type Message, type Outcome, type Procedure, Run } from './procedure.ts';
import type { Answer } from './procedures/answer.ts';
import { answerCreateChild } from './procedures/create-child.ts';
import { deleteChild, deleteIkeSa } from './procedures/delete.ts';
import { answerIkeAuth, initiateIkeAuth } from './procedures/ike-auth.ts';
import { answerIkeSaInit, initiateIkeSaInit } from './procedures/ike-sa-init.ts';
import { answerInformational } from './procedures/informational.ts';
import { checkLiveness } from './procedures/liveness.ts';
import { headerFields, newContext, type Role, type SaContext } from './sa-context.ts';
import { refusalHint } from './spi-hint.ts';
import { Deadlines } from './timers.ts';
import { IncomingWindow, OutgoingWindow } from './window.ts';

/**
 * How long a request goes on being sent after an unauthenticated message said that it will not be answered: long enough
 * for the peer's own answer to overtake a forged one, short enough for people to wait for (RFC 7296 2.21.1).
 */
const HINT_GRACE: Millis = 2_000;
/**
 * How long we wait for the answer to our last request: it can only tell us that the peer has heard it (RFC 7296 1.4.1). Also
 * the longest that `close` of an established IKE SA takes.
 */
const FAREWELL_PATIENCE: Millis = 2_000;
/** The least time between two liveness checks that unauthenticated messages cause (RFC 7296 2.4, 2.21.4). */
const HINTED_LIVENESS_INTERVAL: Millis = 10_000;

/** One exchange, or several, that we initiate; one that returns 'deleted' ends the IKE SA in good order. */
type Job = () => Procedure<unknown>;

/** What performing an effect needs of the run that asked for it. */
type Waiting = Pick<Run<unknown>, 'ended' | 'resume' | 'fail'>;

/** What is the same in both roles. */
type SaConfig = Pick<InitiatorConfig, 'crypto' | 'retransmission' | 'establishedRetransmission'>;

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
  readonly #config: SaConfig;
  readonly #outgoing: OutgoingWindow;
  readonly #incoming: IncomingWindow;
  readonly #deadlines = new Deadlines<'half-open' | 'childless' | 'hint' | 'farewell'>();
  readonly #outbox = new Outbox();
  readonly #operations = new Map<number, { readonly run: Waiting; readonly operation: SaOperation }>();
  readonly #jobs: Job[] = [];
  readonly #answer: (message: Message) => Procedure<Answer>;
  #initiating: Run<unknown> | undefined;
  #answering: Run<Answer> | undefined;
  #exchanges = 0;
  #hint: IkeError | undefined;
  #hintedLivenessAt: Millis = Number.NEGATIVE_INFINITY;
  #closing = false;
  /** Why it is being closed, unless that was asked for. */
  #reason: IkeError | undefined;
  #closed = false;
  #now: Millis;

  /** Starts an IKE SA: its IKE_SA_INIT request is the first output. */
  static initiate(config: InitiatorConfig, to: Origin, now: Millis): IkeSa {
    const sa = new IkeSa('initiator', config, to, now, (message) => sa.#answerEstablished(message));
    sa.#jobs.push(
      () => initiateIkeSaInit(sa.#sa, config),
      () => initiateIkeAuth(sa.#sa, config),
    );
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
    sa.#deadlines.set('half-open', now + config.halfOpenTimeout);
    sa.#respondToInit(config, request, origin);
    return sa;
  }

  private constructor(
    role: Role,
    config: SaConfig,
    origin: Origin,
    now: Millis,
    answer: (message: Message) => Procedure<Answer>,
  ) {
    const { crypto } = config;
    const localSpi = crypto.random(8);
    this.role = role;
    this.localSpi = hex(localSpi);
    this.#config = config;
    this.#outgoing = new OutgoingWindow(config.retransmission);
    this.#incoming = new IncomingWindow(crypto);
    this.#answer = answer;
    this.#now = now;
    this.#sa = newContext(role, crypto, localSpi, origin, {
      emit: (event) => this.#outbox.emit(event),
      submit: (operation) => void this.#outbox.submit(operation),
    });
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
    return this.#exchanges;
  }

  /** When `handleTimeout` wants to be called. */
  get nextTimeout(): Millis | undefined {
    if (this.#closed) return undefined;
    const deadlines = [this.#deadlines.earliest, this.#outgoing.outstanding?.timer.deadline];
    const earliest = Math.min(...deadlines.map((at) => at ?? Number.POSITIVE_INFINITY));
    return Number.isFinite(earliest) ? earliest : undefined;
  }

  /** The next thing to be done; undefined when there is nothing left. */
  poll(): Output | undefined {
    return this.#outbox.take();
  }

  /** Takes any datagram; whatever is not the peer's, or not the one that is due, changes nothing. */
  handleDatagram(message: Uint8Array, origin: Origin, now: Millis): void {
    this.#now = now;
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
    if (flags.response) this.#receiveResponse(header, message, origin);
    else this.#receiveRequest(header, message, origin);
    this.#settleDown();
  }

  handleTimeout(now: Millis): void {
    this.#now = now;
    for (let due = this.#deadlines.takeDue(now); due !== undefined; due = this.#deadlines.takeDue(now)) {
      if (due === 'half-open') this.#terminate(new NoAnswerError('the initiator did not complete IKE_AUTH'));
      else if (due === 'childless') this.#startClosing();
      else if (due === 'hint') this.#initiating?.fail(this.#hint!);
      else this.#initiating?.fail(new NoAnswerError('the peer did not answer when it was told of the end'));
    }
    const { outstanding } = this.#outgoing;
    if (outstanding !== undefined && outstanding.timer.deadline <= now && !this.#closed) {
      if (outstanding.timer.expire(now) === 'resend')
        this.#outbox.transmit(outstanding.message, this.#sa.origin);
      else this.#initiating?.fail(this.#hint ?? noAnswer(outstanding.exchangeType, outstanding.timer.sends));
    }
    this.#settleDown();
  }

  /** The result of an `operation` output. */
  handleCompleted(id: number, result: SaResult, now: Millis): void {
    this.#now = now;
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
    this.#now = now;
    for (const child of this.#sa.children.values()) {
      if (child.tunnel.id === tunnelId && !this.#closing) this.#jobs.push(() => deleteChild(this.#sa, child));
    }
    this.#settleDown();
  }

  /**
   * Deletes the IKE SA, once IKE_AUTH is over: closed when the peer has answered or has had the time to, without an error in
   * either case.
   */
  close(now: Millis): void {
    this.#now = now;
    this.#startClosing();
    this.#settleDown();
  }

  /** Closes it at once and sends nothing. */
  abort(now: Millis): void {
    this.#now = now;
    this.#terminate();
  }

  /** An empty INFORMATIONAL exchange, unless something else is under way that serves as well (RFC 7296 2.4). */
  checkLiveness(now: Millis): void {
    this.#now = now;
    if (this.established && this.#initiating === undefined) this.#jobs.push(checkLiveness);
    this.#settleDown();
  }

  /** An unprotected message says that the peer does not know a Child SA: only a hint (RFC 7296 2.4). */
  hint(now: Millis): void {
    if (!this.established || now - this.#hintedLivenessAt < HINTED_LIVENESS_INTERVAL) return;
    this.#hintedLivenessAt = now;
    this.checkLiveness(now);
  }

  #respondToInit(config: ResponderConfig, request: Uint8Array, origin: Origin): void {
    const decoded = decodePlain(request);
    try {
      if (decoded.kind !== 'ok')
        throw new ProtocolError(NotifyType.INVALID_SYNTAX, 'not an IKE_SA_INIT request');
      const { header, payloads } = decoded;
      const { response, refused } = answerIkeSaInit(this.#sa, config, { header, payloads, bytes: request });
      this.#incoming.accept(request);
      this.#incoming.answer(response);
      this.#outbox.transmit(response, origin);
      if (refused !== undefined) this.#terminate(refused);
    } catch (error) {
      this.#terminate(ikeErrorOf(error));
    }
  }

  #receiveResponse(header: IkeHeader, bytes: Uint8Array, origin: Origin): void {
    const { outstanding } = this.#outgoing;
    const { negotiated, established } = this.#sa;
    if (
      outstanding === undefined ||
      header.messageId !== this.#outgoing.messageId ||
      header.exchangeType !== outstanding.exchangeType
    ) {
      return;
    }
    if (negotiated === undefined) {
      const decoded = decodePlain(bytes);
      if (decoded.kind !== 'ok') return;
      this.#initiating?.resume({ header, payloads: decoded.payloads, bytes });
      return;
    }
    const refusal = established ? undefined : refusalHint(bytes);
    if (refusal !== undefined) {
      this.#takeHint(new RefusedError(refusal, nameOf(ExchangeType, header.exchangeType)));
      return;
    }
    const decoded = negotiated.protection.decode(bytes);
    if (decoded.kind !== 'ok' && decoded.kind !== 'protected-error') return;
    this.#completeExchange();
    this.#follow(origin);
    if (decoded.kind === 'ok') this.#initiating?.resume({ header, payloads: decoded.payloads, bytes });
    else this.#initiating?.fail(decoded.error);
  }

  #receiveRequest(header: IkeHeader, bytes: Uint8Array, origin: Origin): void {
    const arrival = this.#incoming.classify(header.messageId, bytes);
    if (arrival.kind === 'repeated' && arrival.response !== undefined)
      this.#outbox.transmit(arrival.response, origin);
    const { negotiated } = this.#sa;
    if (arrival.kind !== 'new' || negotiated === undefined || !this.#isWelcome(header.exchangeType)) return;
    const decoded = negotiated.protection.decode(bytes);
    if (decoded.kind !== 'ok' && decoded.kind !== 'protected-error') return;
    this.#incoming.accept(bytes);
    this.#follow(origin);
    if (decoded.kind === 'protected-error') {
      this.#respondWithError(header, origin, decoded.error);
      return;
    }
    this.#answering = new Run<Answer>(
      this.#answer({ header, payloads: decoded.payloads, bytes }),
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

  /** Whether requests of this exchange are answered in the present state: before IKE_AUTH, only that. */
  #isWelcome(exchangeType: number): boolean {
    if (!this.#sa.established) return this.role === 'responder' && exchangeType === ExchangeType.IKE_AUTH;
    return exchangeType === ExchangeType.CREATE_CHILD_SA || exchangeType === ExchangeType.INFORMATIONAL;
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
    const response = this.#encode(header.exchangeType, header.messageId, true, payloads);
    this.#incoming.answer(response);
    this.#outbox.transmit(response, origin);
    if (end !== undefined) this.#terminate(end.error);
  }

  #startClosing(reason?: IkeError): void {
    if (this.#closed || this.#closing) return;
    // The initiator's IKE_AUTH request may already have made an IKE SA at the peer; anything earlier has not.
    if (!this.#sa.established && (this.role === 'responder' || this.#sa.negotiated === undefined)) {
      this.#terminate();
      return;
    }
    this.#closing = true;
    this.#reason = reason;
    if (this.#sa.established) {
      this.#jobs.length = 0;
      this.#deadlines.start('farewell', this.#now + FAREWELL_PATIENCE);
    }
    this.#jobs.push(deleteIkeSa);
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
    if (this.#sa.established) this.#deadlines.clear('half-open');
    const timeout = this.#sa.profile?.childlessTimeout;
    if (timeout !== undefined && this.#isChildless()) this.#deadlines.start('childless', this.#now + timeout);
    else this.#deadlines.clear('childless');
  }

  #isChildless(): boolean {
    return this.#sa.children.size === 0 && this.#answering === undefined && !this.#closing;
  }

  #nextJob(): Job | undefined {
    return this.#closed || this.#initiating !== undefined ? undefined : this.#jobs.shift();
  }

  #finishInitiating(outcome: Outcome<unknown>): void {
    this.#initiating = undefined;
    if (!outcome.ok) {
      const error = ikeErrorOf(outcome.error);
      this.#terminate(this.#closing && error instanceof NoAnswerError ? this.#reason : error);
      return;
    }
    if (outcome.value === 'deleted') this.#terminate(this.#reason);
    // An IKE_SA_INIT request stays outstanding until its procedure has accepted a response.
    else if (this.#outgoing.outstanding !== undefined) this.#completeExchange();
  }

  #perform(run: Waiting, effect: Effect): void {
    switch (effect.kind) {
      case 'initial-exchange':
        if (this.#outgoing.outstanding !== undefined) this.#exchanges++;
        this.#dropHint();
        this.#send(ExchangeType.IKE_SA_INIT, effect.request);
        break;
      case 'wait-again':
        if (effect.hint !== undefined) this.#takeHint(effect.hint);
        break;
      case 'exchange':
        try {
          const { exchangeType, payloads, isFarewell } = effect;
          if (isFarewell) this.#deadlines.start('farewell', this.#now + FAREWELL_PATIENCE);
          this.#send(exchangeType, this.#encode(exchangeType, this.#outgoing.messageId, false, payloads));
        } catch (error) {
          run.fail(ikeErrorOf(error));
        }
        break;
      case 'operation':
        this.#operations.set(this.#outbox.submit(effect.operation), { run, operation: effect.operation });
    }
  }

  #completeExchange(): void {
    this.#outgoing.complete();
    this.#exchanges++;
    this.#dropHint();
  }

  #takeHint(error: IkeError): void {
    this.#hint = error;
    this.#deadlines.start('hint', this.#now + HINT_GRACE);
  }

  #dropHint(): void {
    this.#hint = undefined;
    this.#deadlines.clear('hint');
  }

  /** Ends everything that is under way, removes what there is, and says so; the last event. */
  #terminate(error?: IkeError): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#initiating?.end();
    this.#answering?.end();
    for (const child of this.#sa.children.values()) removeSas(this.#sa, child);
    this.#sa.children.clear();
    this.#sa.profile?.assigner?.release(this.#sa.owner);
    this.#sa.negotiated?.keys.destroy();
    this.#outbox.emit({ type: 'closed', ...(error !== undefined && { error }) });
  }

  #send(exchangeType: number, message: Uint8Array): void {
    const { establishedRetransmission } = this.#config;
    if (this.#sa.established && establishedRetransmission)
      this.#outgoing.schedule = establishedRetransmission;
    this.#outgoing.send(exchangeType, message, this.#now);
    this.#outbox.transmit(message, this.#sa.origin);
  }

  #encode(
    exchangeType: number,
    messageId: number,
    response: boolean,
    payloads: readonly Payload[],
  ): Uint8Array {
    const negotiated = this.#sa.negotiated!;
    const fields = headerFields(this.#sa, negotiated, exchangeType, messageId, response);
    return negotiated.protection.encode(fields, payloads);
  }

  /** RFC 7296 2.23: the responder follows the initiator's address, which a NAT may change. */
  #follow(origin: Origin): void {
    if (this.role !== 'responder') return;
    this.#sa.origin = origin;
    followPeer(this.#sa);
  }
}

function noAnswer(exchangeType: number, sends: number): NoAnswerError {
  const exchange = nameOf(ExchangeType, exchangeType);
  return new NoAnswerError(`the peer did not answer ${exchange} (the request was sent ${sends} times)`);
}
