import type { Millis } from '../link/clock.ts';
import type { Origin } from '../link/link.ts';
import type { CommonConfig } from './config.ts';
import { ExchangeType, nameOf } from './constants.ts';
import { type IkeError, NoAnswerError, type ProtocolError, RefusedError } from './errors.ts';
import { longestMessage } from './fragmentation.ts';
import type { IkeHeader } from './header.ts';
import { type DecodedProtected, decodePlain } from './message.ts';
import type { Outbox } from './outbox.ts';
import type { Payload } from './payload/index.ts';
import { followMessage } from './peer-address.ts';
import type { Message } from './procedure.ts';
import { headerFields, type SaContext } from './sa-context.ts';
import { refusalHint } from './spi-hint.ts';
import { IncomingWindow, OutgoingWindow } from './window.ts';

/**
 * How long a request goes on being sent after an unauthenticated message said that it will not be answered: long enough
 * for the peer's own answer to overtake a forged one, short enough for people to wait for (RFC 7296 2.21.1).
 */
const HINT_GRACE: Millis = 2_000;
/** How long fragments wait for the others of their message (RFC 7383 2.6); each retransmission brings them all again. */
const REASSEMBLY_PATIENCE: Millis = 30_000;
/** The name of its entry in the agenda. */
const REASSEMBLY = 'reassembly';

/** What requests there can be once the IKE SA is established. */
const ESTABLISHED_EXCHANGES: readonly number[] = [
  ExchangeType.CREATE_CHILD_SA,
  ExchangeType.INFORMATIONAL,
  ExchangeType.IKE_FOLLOWUP_KE,
];

/** A message that is the peer's and that is due: what it says, or what is wrong with it. */
export type Received =
  | { readonly kind: 'request'; readonly message: Message }
  | { readonly kind: 'response'; readonly message: Message }
  /** The last request again, octet for octet; its response has been sent again. */
  | { readonly kind: 'repeated-request' }
  | { readonly kind: 'malformed-request'; readonly header: IkeHeader; readonly error: ProtocolError }
  | { readonly kind: 'malformed-response'; readonly error: ProtocolError };

/**
 * The messages of one IKE SA: both windows, protection, and what is sent again (RFC 7296 2.1 to 2.4). It knows which message
 * is the peer's and is due, and nothing of what the messages say.
 */
export class MessageStream {
  readonly #sa: SaContext;
  readonly #config: CommonConfig;
  readonly #outbox: Outbox;
  readonly #outgoing: OutgoingWindow;
  readonly #incoming: IncomingWindow;
  /** Says, unauthenticated, why the outstanding request will not be answered. */
  #hint: { readonly error: IkeError; readonly until: Millis } | undefined;
  #exchanges = 0;
  #sawForgery = false;
  /** The request that is to be answered came in fragments. */
  #isFragmented = false;

  constructor(sa: SaContext, config: CommonConfig, outbox: Outbox) {
    this.#sa = sa;
    this.#config = config;
    this.#outbox = outbox;
    this.#outgoing = new OutgoingWindow(config.retransmission);
    this.#incoming = new IncomingWindow(config.crypto);
  }

  /** Responses to requests of ours, including those that asked for another IKE_SA_INIT request. */
  get exchanges(): number {
    return this.#exchanges;
  }

  /** A request that was due could not be opened: somebody else's, or damaged. */
  get sawForgery(): boolean {
    return this.#sawForgery;
  }

  /** A request of ours has no response yet. */
  get isWaiting(): boolean {
    return this.#outgoing.outstanding !== undefined;
  }

  /** Message IDs are running out, long before they do: the IKE SA is to be rekeyed (RFC 7296 2.2). */
  get isWornOut(): boolean {
    return this.#outgoing.isWornOut || this.#incoming.isWornOut;
  }

  /** When `handleTimeout` wants to be called. */
  get nextTimeout(): Millis | undefined {
    const resend = this.#outgoing.outstanding?.timer.deadline;
    return this.#hint === undefined ? resend : Math.min(this.#hint.until, resend ?? this.#hint.until);
  }

  /** Sends what is due again. Returns why the outstanding request is to be given up. */
  handleTimeout(now: Millis): IkeError | undefined {
    const { outstanding } = this.#outgoing;
    if (outstanding === undefined) return undefined;
    if (this.#hint !== undefined && this.#hint.until <= now) return this.#hint.error;
    const { timer, datagrams, exchangeType } = outstanding;
    if (timer.deadline > now) return undefined;
    if (timer.expire(now) === 'give-up') return this.#hint?.error ?? noAnswer(exchangeType, timer.sends);
    this.#transmit(datagrams, this.#sa.origin);
    return undefined;
  }

  /** Takes a datagram with our SPI; whatever is not the peer's, or not the one that is due, changes nothing. */
  receive(header: IkeHeader, bytes: Uint8Array, origin: Origin): Received | undefined {
    return header.flags.response
      ? this.#receiveResponse(header, bytes, origin)
      : this.#receiveRequest(header, bytes, origin);
  }

  /** Sends an IKE_SA_INIT request, which nothing protects: the first, or one that is made anew. */
  sendInitial(request: Uint8Array): void {
    if (this.#outgoing.outstanding !== undefined) this.#exchanges++;
    this.#hint = undefined;
    this.#send(ExchangeType.IKE_SA_INIT, [request]);
  }

  /**
   * Sends a protected request.
   * @param puzzleSolution - goes ahead of what is encrypted (RFC 8019 7.2.2)
   * @throws LocalError when the message IDs are used up
   */
  send(exchangeType: number, payloads: readonly Payload[], puzzleSolution?: Uint8Array): void {
    const { origin } = this.#sa;
    const { messageId } = this.#outgoing;
    const longest = longestMessage(origin, this.#config.pathMtu, false);
    this.#send(exchangeType, this.#encode(exchangeType, messageId, false, payloads, longest, puzzleSolution));
  }

  /** A procedure has accepted the response to an IKE_SA_INIT request; without effect if there is none outstanding. */
  complete(): void {
    if (this.#outgoing.outstanding === undefined) return;
    this.#outgoing.complete();
    this.#exchanges++;
    this.#hint = undefined;
  }

  /** The outstanding request may go unanswered: it is given up soon, unless the peer's own answer comes. */
  takeHint(error: IkeError): void {
    this.#hint = { error, until: this.#hint?.until ?? this.#sa.now + HINT_GRACE };
  }

  /** Answers the IKE_SA_INIT request that made the IKE SA. */
  respondToInitial(request: Uint8Array, response: Uint8Array): void {
    this.#incoming.accept(request);
    this.#transmitResponse([response], this.#sa.origin);
  }

  /** Answers the request that was received last, which came from `origin`. */
  respond({ exchangeType, messageId }: IkeHeader, payloads: readonly Payload[], origin: Origin): void {
    const longest = longestMessage(origin, this.#config.pathMtu, !this.#isFragmented);
    this.#transmitResponse(this.#encode(exchangeType, messageId, true, payloads, longest), origin);
  }

  #receiveResponse(header: IkeHeader, bytes: Uint8Array, origin: Origin): Received | undefined {
    const { outstanding } = this.#outgoing;
    const { negotiated, established } = this.#sa;
    if (
      outstanding === undefined ||
      header.messageId !== this.#outgoing.messageId ||
      header.exchangeType !== outstanding.exchangeType
    ) {
      return undefined;
    }
    if (negotiated === undefined) {
      const decoded = decodePlain(bytes);
      if (decoded.kind !== 'ok') return undefined;
      return { kind: 'response', message: { ...decoded, origin } };
    }
    const refusal = established ? undefined : refusalHint(bytes);
    if (refusal !== undefined) {
      this.takeHint(new RefusedError(refusal, nameOf(ExchangeType, header.exchangeType)));
      return undefined;
    }
    const decoded = this.#decode(bytes);
    if (decoded.kind !== 'ok' && decoded.kind !== 'protected-error') return undefined;
    this.complete();
    followMessage(this.#sa, origin);
    return decoded.kind === 'ok'
      ? { kind: 'response', message: { ...decoded, origin } }
      : { kind: 'malformed-response', error: decoded.error };
  }

  #receiveRequest(header: IkeHeader, bytes: Uint8Array, origin: Origin): Received | undefined {
    const arrival = this.#incoming.classify(header.messageId, bytes);
    if (arrival.kind === 'repeated') {
      if (arrival.response !== undefined) this.#transmit(arrival.response, origin);
      return { kind: 'repeated-request' };
    }
    if (arrival.kind !== 'new' || !this.#isWelcome(header)) return undefined;
    if (this.#sa.negotiated === undefined && this.#sa.lock?.open(bytes) !== true) return undefined;
    const decoded = this.#decode(bytes);
    if (decoded.kind === 'discard') this.#sawForgery = true;
    if (decoded.kind !== 'ok' && decoded.kind !== 'protected-error') return undefined;
    this.#incoming.accept(decoded.datagram);
    this.#isFragmented = decoded.fragmented;
    followMessage(this.#sa, origin);
    return decoded.kind === 'ok'
      ? { kind: 'request', message: { ...decoded, origin } }
      : { kind: 'malformed-request', header: decoded.header, error: decoded.error };
  }

  #decode(bytes: Uint8Array): DecodedProtected {
    const { agenda, negotiated, now } = this.#sa;
    const { protection } = negotiated!;
    const decoded = protection.decode(bytes);
    if (protection.isReassembling)
      agenda.start(REASSEMBLY, now + REASSEMBLY_PATIENCE, () => protection.forgetFragments());
    else agenda.delete(REASSEMBLY);
    return decoded;
  }

  /** Whether requests of this exchange are answered in the present state: before IKE_AUTH, only what leads to it. */
  #isWelcome({ exchangeType }: IkeHeader): boolean {
    const { established, role, negotiated } = this.#sa;
    if (!established) {
      const isComplete = negotiated === undefined || negotiated.pendingMethods.length === 0;
      const due = isComplete ? ExchangeType.IKE_AUTH : ExchangeType.IKE_INTERMEDIATE;
      return role === 'responder' && exchangeType === due;
    }
    return ESTABLISHED_EXCHANGES.includes(exchangeType);
  }

  #send(exchangeType: number, datagrams: readonly Uint8Array[]): void {
    const { establishedRetransmission } = this.#config;
    if (this.#sa.established && establishedRetransmission)
      this.#outgoing.schedule = establishedRetransmission;
    this.#outgoing.send(exchangeType, datagrams, this.#sa.now);
    this.#transmit(datagrams, this.#sa.origin);
  }

  #transmitResponse(response: readonly Uint8Array[], origin: Origin): void {
    this.#incoming.answer(response);
    this.#transmit(response, origin);
  }

  #transmit(datagrams: readonly Uint8Array[], to: Origin): void {
    for (const datagram of datagrams) this.#outbox.transmit(datagram, to);
  }

  #encode(
    exchangeType: number,
    messageId: number,
    response: boolean,
    payloads: readonly Payload[],
    longest: number,
    puzzleSolution?: Uint8Array,
  ): readonly Uint8Array[] {
    const negotiated = this.#sa.negotiated!;
    const fields = headerFields(this.#sa, negotiated, exchangeType, messageId, response);
    return negotiated.protection.encode(fields, payloads, longest, puzzleSolution);
  }
}

function noAnswer(exchangeType: number, sends: number): NoAnswerError {
  const exchange = nameOf(ExchangeType, exchangeType);
  return new NoAnswerError(`the peer did not answer ${exchange} (the request was sent ${sends} times)`);
}
