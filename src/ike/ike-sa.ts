import type { Millis } from '../link/clock.ts';
import type { Origin } from '../link/link.ts';
import type { SaOperation } from '../link/sa-store.ts';
import { equalBytes } from '../wire/bytes.ts';
import { liveChildren, removeSas } from './child-sa.ts';
import type { InitiatorConfig, ResponderConfig } from './config.ts';
import { ExchangeType, NotifyType } from './constants.ts';
import { type IkeError, ikeErrorOf, NoAnswerError, ProtocolError } from './errors.ts';
import type { IkeHeader } from './header.ts';
import type { Job, Urgency } from './job-queue.ts';
import { decodePlain } from './message.ts';
import { MessageStream, type Received } from './message-stream.ts';
import { notify, ProtocolId } from './payload/index.ts';
import { type Effect, type Message, type Outcome, type Procedure, Run } from './procedure.ts';
import type { Answer } from './procedures/answer.ts';
import { answerCreateChild } from './procedures/answer-create-child.ts';
import { deleteIkeSa, deleteReplaced } from './procedures/delete.ts';
import { answerIkeAuth, initiateIkeAuth } from './procedures/ike-auth.ts';
import { abandonFollowUp, answerFollowUp } from './procedures/ike-followup-ke.ts';
import { answerIkeIntermediate, initiateIkeIntermediate } from './procedures/ike-intermediate.ts';
import { answerIkeSaInit, initiateIkeSaInit } from './procedures/ike-sa-init.ts';
import { answerInformational } from './procedures/informational.ts';
import { checkLiveness } from './procedures/liveness.ts';
import { wakeChild } from './procedures/rekey-child.ts';
import { answerRekeyIke, isIkeRekey, rekeyIke } from './procedures/rekey-ike.ts';
import type { PuzzleSolver } from './puzzle.ts';
import { type Founding, type Lineage, newContext, type SaContext } from './sa-context.ts';
import { inherit } from './succession.ts';

/**
 * How long we wait for the answer to our last request: it can only tell us that the peer has heard it (RFC 7296 1.4.1). Also
 * the longest that `close` of an established IKE SA takes; if it was being rekeyed, what takes its place is closed in its turn,
 * which may take as long again.
 */
const FAREWELL_PATIENCE: Millis = 2_000;
/** The least time between two liveness checks that unauthenticated messages cause (RFC 7296 2.4, 2.21.4). */
const HINTED_LIVENESS_INTERVAL: Millis = 10_000;

/** Octets of an IKE SPI (RFC 7296 3.1). */
const SPI_LENGTH = 8;

/** Keys of a puzzle that are tried at a time: a millisecond of work, or a few. */
const PUZZLE_SLICE = 256;
const PUZZLE_PAUSE: Millis = 1;
/** The name of its entry in the agenda. */
const PUZZLE = 'puzzle';

/** What performing an effect needs of the run that asked for it. */
type Waiting = Pick<Run<unknown>, 'ended' | 'resume' | 'fail'>;

/** One IKE SA (RFC 7296): what it does with messages, what it does by itself, and how it ends. Its lineage drives it. */
export class IkeSa {
  readonly context: SaContext;
  readonly #stream: MessageStream;
  readonly #answer: (message: Message) => Procedure<Answer>;
  #initiating: Run<unknown> | undefined;
  #answering: Run<Answer> | undefined;
  /** At the responder of IKE_SA_INIT. */
  #halfOpenTimeout: Millis | undefined;
  #hintedLivenessAt: Millis = Number.NEGATIVE_INFINITY;
  #isWornOut = false;
  /** Why it is being closed, unless that was asked for. */
  #reason: IkeError | undefined;
  #closed = false;

  /** One that asks for IKE_SA_INIT as soon as it is settled. */
  static initiate(lineage: Lineage, config: InitiatorConfig, to: Origin): IkeSa {
    lineage.jobs.add('set-up', (sa) => initiateIkeSaInit(sa, config));
    lineage.jobs.add('set-up', initiateIkeIntermediate);
    lineage.jobs.add('set-up', (sa) => initiateIkeAuth(sa, config));
    const localSpi = config.crypto.random(SPI_LENGTH);
    const made = new IkeSa(lineage, { role: 'initiator', localSpi, origin: to }, (message) =>
      made.#answerEstablished(message),
    );
    return made;
  }

  /** One that is to answer IKE_SA_INIT (`respondToInitial`) and IKE_AUTH. */
  static respond(lineage: Lineage, config: ResponderConfig, origin: Origin): IkeSa {
    const localSpi = config.crypto.random(SPI_LENGTH);
    const made = new IkeSa(lineage, { role: 'responder', localSpi, origin }, (message) =>
      made.#answerInitial(config, message),
    );
    made.#halfOpenTimeout = config.halfOpenTimeout;
    made.#awaitAuthentication();
    return made;
  }

  /** One that a rekey has made (RFC 7296 1.3.2): its message IDs start at 0. */
  static found(lineage: Lineage, founding: Founding): IkeSa {
    const made: IkeSa = new IkeSa(lineage, founding, (message) => made.#answerEstablished(message));
    return made;
  }

  private constructor(
    lineage: Lineage,
    founding: Parameters<typeof newContext>[1],
    answer: (message: Message) => Procedure<Answer>,
  ) {
    const { outbox, jobs, config } = lineage;
    this.#answer = answer;
    this.context = newContext(lineage, founding, {
      emit: (event) => outbox.emit(event),
      submit: (operation, onResult) => outbox.submit(operation, onResult),
      enqueue: (urgency, job) => jobs.add(urgency, job),
      rekey: () => jobs.add('rekey-ike', rekeyIke),
      close: (reason) => this.#startClosing(reason),
      end: () => this.#terminate(),
      wake: (child, alarm) => wakeChild(this.context, child, alarm),
    });
    this.#stream = new MessageStream(this.context, config, outbox);
  }

  /** Round trips: responses to requests of ours, including those that asked for another IKE_SA_INIT request. */
  get exchanges(): number {
    return this.#stream.exchanges;
  }

  /** A request that was due could not be opened: somebody else's, or damaged. */
  get sawForgery(): boolean {
    return this.#stream.sawForgery;
  }

  /** When `handleTimeout` wants to be called. */
  get nextTimeout(): Millis | undefined {
    const deadlines = [this.context.agenda.earliest, this.#stream.nextTimeout];
    const earliest = Math.min(...deadlines.map((at) => at ?? Number.POSITIVE_INFINITY));
    return Number.isFinite(earliest) ? earliest : undefined;
  }

  /** Whether a message has our SPI and comes from the other role; a repeated IKE_SA_INIT request has no SPI of ours yet. */
  isAddressed({ spiI, spiR, flags, exchangeType }: IkeHeader): boolean {
    const { role, localSpi } = this.context;
    const isInitiator = role === 'initiator';
    if (flags.initiator !== isInitiator && equalBytes(isInitiator ? spiI : spiR, localSpi)) return true;
    return !isInitiator && exchangeType === ExchangeType.IKE_SA_INIT;
  }

  /** Takes a message that is addressed to it; whatever is not the peer's, or not the one that is due, changes nothing. */
  receive(header: IkeHeader, message: Uint8Array, origin: Origin): void {
    const { linkId, overlayPeer } = this.context.origin;
    // At a relay an address alone does not identify a peer: another overlay peer is not this one.
    if (origin.linkId !== linkId || origin.overlayPeer !== overlayPeer) return;
    this.#take(this.#stream.receive(header, message, origin), origin);
  }

  handleTimeout(now: Millis): void {
    this.context.agenda.runDue(now, this.context);
    const failure = this.#closed ? undefined : this.#stream.handleTimeout(now);
    if (failure !== undefined) this.#initiating?.fail(failure);
  }

  /** An empty INFORMATIONAL exchange, unless a response is due that serves as well (RFC 7296 2.4). */
  checkLiveness(): void {
    if (this.context.established && !this.#stream.isWaiting) this.context.enqueue('liveness', checkLiveness);
  }

  /** An unprotected message says that the peer does not know a Child SA: only a hint (RFC 7296 2.4). */
  hint(): void {
    const { established, now } = this.context;
    if (!established || now - this.#hintedLivenessAt < HINTED_LIVENESS_INTERVAL) return;
    this.#hintedLivenessAt = now;
    this.checkLiveness();
  }

  /** Answers the IKE_SA_INIT request; if it is refused the IKE SA ends. */
  respondToInitial(config: ResponderConfig, request: Uint8Array): void {
    const decoded = decodePlain(request);
    try {
      if (decoded.kind !== 'ok')
        throw new ProtocolError(NotifyType.INVALID_SYNTAX, 'not an IKE_SA_INIT request');
      const { header, payloads } = decoded;
      const { response, refused } = answerIkeSaInit(this.context, config, {
        header,
        payloads,
        bytes: request,
        origin: this.context.origin,
      });
      this.#stream.respondToInitial(request, response);
      if (refused !== undefined) this.#terminate(refused);
    } catch (error) {
      this.#terminate(ikeErrorOf(error));
    }
  }

  /** An initiator that is silent before it has completed IKE_AUTH is forgotten; one that repeats a request is still there. */
  #awaitAuthentication(): void {
    const { agenda, established, lineage } = this.context;
    if (established || this.#halfOpenTimeout === undefined) return;
    agenda.set('half-open', lineage.now + this.#halfOpenTimeout, () =>
      this.#terminate(new NoAnswerError('the initiator did not complete IKE_AUTH')),
    );
  }

  #take(received: Received | undefined, origin: Origin): void {
    switch (received?.kind) {
      case 'request':
        this.#startAnswering(received.message, origin);
        return;
      case 'response':
        this.#initiating?.resume(received.message);
        return;
      case 'repeated-request':
        this.#awaitAuthentication();
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

  *#answerInitial(config: ResponderConfig, message: Message): Procedure<Answer> {
    switch (message.header.exchangeType) {
      case ExchangeType.IKE_INTERMEDIATE:
        return answerIkeIntermediate(this.context, message);
      case ExchangeType.IKE_AUTH:
        return yield* answerIkeAuth(this.context, config, message);
      default:
        return yield* this.#answerEstablished(message);
    }
  }

  *#answerEstablished(message: Message): Procedure<Answer> {
    const isCandidate = this.context.lineage.candidate === this.context;
    if (isCandidate && isAboutChildren(message)) inherit(this.context);
    switch (message.header.exchangeType) {
      case ExchangeType.INFORMATIONAL:
        return answerInformational(this.context, message);
      case ExchangeType.IKE_FOLLOWUP_KE:
        return { payloads: yield* answerFollowUp(this.context, message) };
      default:
        return yield* this.#answerCreateChild(message);
    }
  }

  *#answerCreateChild(message: Message): Procedure<Answer> {
    // With one request at a time, the peer has given up what it had begun before.
    abandonFollowUp(this.context);
    return isIkeRekey(message)
      ? answerRekeyIke(this.context, message)
      : yield* answerCreateChild(this.context, message);
  }

  #respondWithError(header: IkeHeader, origin: Origin, error: ProtocolError): void {
    // RFC 7296 2.5, 2.21.3: an unknown critical payload costs only the request, once the IKE SA is established.
    const isFatal = !this.context.established || error.notify !== NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD;
    const payloads = [notify(error.notify, error.data)];
    this.#respond(header, origin, isFatal ? { payloads, end: { error } } : { payloads });
  }

  #respond(header: IkeHeader, origin: Origin, { payloads, end, whenSent }: Answer): void {
    this.#stream.respond(header, payloads, origin);
    whenSent?.();
    if (end !== undefined) this.#terminate(end.error);
  }

  #startClosing(reason?: IkeError): void {
    if (this.#closed || this.#isClosing) return;
    const { role, established, negotiated, lineage } = this.context;
    // The initiator's IKE_AUTH request may already have made an IKE SA at the peer; anything earlier has not.
    if (!established && (role === 'responder' || negotiated === undefined)) {
      this.#terminate();
      return;
    }
    this.context.activity = 'closing';
    this.#reason = reason;
    if (!established) return;
    if (this.#isCurrent) lineage.jobs.clear();
    if (this.#isCurrent || lineage.candidate === this.context) this.#limitFarewell();
  }

  /** Starts the next exchange of ours, and keeps the deadlines up to date. */
  settle(): void {
    const { lineage, agenda, established } = this.context;
    // Its one Child SA is all that we make an IKE SA for.
    const isIdle = lineage.role === 'initiator' && this.#initiating === undefined;
    if (isIdle && lineage.childCount > 0 && this.#isChildless) this.#startClosing(lineage.childLoss);
    if (this.#stream.isWornOut && !this.#isWornOut && this.#isCurrent) {
      this.#isWornOut = true;
      this.context.rekey();
    }
    for (let next = this.#nextJob(); next !== undefined; next = this.#nextJob()) this.#startInitiating(next);
    if (established) agenda.delete('half-open');
    const timeout = lineage.profile?.childlessTimeout;
    if (timeout !== undefined && this.#isChildless)
      agenda.start('childless', lineage.now + timeout, () => this.#startClosing());
    else agenda.delete('childless');
  }

  get #isCurrent(): boolean {
    return this.context.lineage.current === this.context;
  }

  get #isChildless(): boolean {
    const isIdle = this.#answering === undefined && !this.#isClosing;
    return this.#isCurrent && isIdle && liveChildren(this.context).length === 0;
  }

  get #isClosing(): boolean {
    return this.context.activity === 'closing';
  }

  #nextJob(): { readonly urgency: Urgency; readonly job: Job } | undefined {
    if (this.#closed || this.#initiating !== undefined || this.#answering !== undefined) return undefined;
    const { established, lineage } = this.context;
    if (this.#isClosing && established)
      return { urgency: 'delete', job: this.#isCurrent ? deleteIkeSa : deleteReplaced };
    return this.#isCurrent ? lineage.jobs.take() : undefined;
  }

  #startInitiating({ urgency, job }: { readonly urgency: Urgency; readonly job: Job }): void {
    this.context.underWay = urgency;
    this.#initiating = new Run<unknown>(
      job(this.context),
      (effect) => this.#perform(this.#initiating!, effect),
      (outcome) => this.#finishInitiating(outcome),
    );
    this.#initiating.start();
  }

  #finishInitiating(outcome: Outcome<unknown>): void {
    this.#initiating = undefined;
    this.context.underWay = undefined;
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
    if (effect.kind !== 'puzzle') this.context.agenda.delete(PUZZLE);
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
          this.#stream.send(effect.exchangeType, effect.payloads, effect.puzzleSolution);
        } catch (error) {
          run.fail(ikeErrorOf(error));
        }
        break;
      case 'operation':
        this.#operate(run, effect.operation);
        break;
      case 'puzzle':
        this.#workAt(effect.solver, run);
    }
  }

  /** A slice at a time, so that everything else goes on. */
  #workAt(solver: PuzzleSolver, run: Waiting): void {
    this.context.agenda.set(PUZZLE, this.context.now + PUZZLE_PAUSE, () => {
      const solution = solver.work(PUZZLE_SLICE);
      if (solution === undefined) this.#workAt(solver, run);
      else run.resume(solution);
    });
  }

  #operate(run: Waiting, operation: SaOperation): void {
    const { outbox } = this.context.lineage;
    outbox.submit(operation, (result) => {
      if (!run.ended) run.resume(result);
      else if (operation.kind === 'reserve' && result.ok)
        outbox.submit({ kind: 'remove', direction: 'inbound', spi: result.spi, path: operation.path });
    });
  }

  #limitFarewell(): void {
    this.context.agenda.start('farewell', this.context.now + FAREWELL_PATIENCE, () =>
      this.#initiating?.fail(new NoAnswerError('the peer did not answer when it was told of the end')),
    );
  }

  /** Ends everything that is under way, and removes what there is. */
  #terminate(error?: IkeError): void {
    if (this.#closed) return;
    const { agenda, children, negotiated, lock, lineage } = this.context;
    this.#closed = true;
    agenda.clear();
    this.#initiating?.end();
    this.#answering?.end();
    abandonFollowUp(this.context);
    for (const child of children.values()) removeSas(this.context, child);
    negotiated?.keys.destroy();
    lock?.destroy();
    lineage.ended(this.context, error);
  }
}

/** Who sends this takes it that the Child SAs belong to the IKE SA that it is sent on. */
function isAboutChildren({ header, payloads }: Message): boolean {
  if (header.exchangeType === ExchangeType.CREATE_CHILD_SA) return true;
  return payloads.some((payload) => payload.kind === 'DELETE' && payload.protocol === ProtocolId.ESP);
}
