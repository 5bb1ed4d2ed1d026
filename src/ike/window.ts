import type { CryptoProvider } from '../crypto/provider.ts';
import type { Millis } from '../link/clock.ts';
import { equalBytes } from '../wire/bytes.ts';
import type { RetransmissionSchedule } from './config.ts';
import { LocalError } from './errors.ts';
import { RetransmissionTimer } from './timers.ts';

const MAX_MESSAGE_ID = 0xffff_ffff;
/** From this message ID on an IKE SA is to be rekeyed. */
const WORN_OUT = 2 ** 31;

/** A request of ours that has no response yet: its octets, in one datagram or in fragments, which are sent again unchanged (RFC 7296 2.1). */
interface OutstandingRequest {
  readonly exchangeType: number;
  readonly datagrams: readonly Uint8Array[];
  readonly timer: RetransmissionTimer;
}

/** Our requests: a window of one (RFC 7296 2.3), numbered from 0 up. */
export class OutgoingWindow {
  /** Of requests that are sent from now on. */
  schedule: RetransmissionSchedule;
  #messageId: number;
  #outstanding: OutstandingRequest | undefined;

  constructor(schedule: RetransmissionSchedule, firstMessageId = 0) {
    this.schedule = schedule;
    this.#messageId = firstMessageId;
  }

  /** The ID of the outstanding request, or else of the next one. @throws LocalError instead of wrapping (RFC 7296 2.2) */
  get messageId(): number {
    if (this.#messageId > MAX_MESSAGE_ID) throw new LocalError('the IKE SA has used up its message IDs');
    return this.#messageId;
  }

  get isWornOut(): boolean {
    return this.#messageId >= WORN_OUT;
  }

  get outstanding(): OutstandingRequest | undefined {
    return this.#outstanding;
  }

  /** Opens the window, or, with an IKE_SA_INIT request that is made anew, keeps it open (RFC 7296 2.6). */
  send(exchangeType: number, datagrams: readonly Uint8Array[], now: Millis): void {
    this.#outstanding = { exchangeType, datagrams, timer: new RetransmissionTimer(this.schedule, now) };
  }

  /** Closes it: the response has arrived. */
  complete(): void {
    this.#outstanding = undefined;
    this.#messageId++;
  }
}

/** What a request of the peer's is to its window. */
type Arrival =
  | { readonly kind: 'new' }
  /**
   * The last request again, octet for octet, or its first fragment (RFC 7383 2.6.1); `response` is undefined while it is
   * still being worked on.
   */
  | { readonly kind: 'repeated'; readonly response: readonly Uint8Array[] | undefined }
  | { readonly kind: 'outside' };

/**
 * The peer's requests: a window of one, and the last response, kept to be sent again (RFC 7296 2.1). Of the request only a
 * digest is kept, or of its first fragment: the peer decides how long it is.
 */
export class IncomingWindow {
  readonly #crypto: CryptoProvider;
  #expected = 0;
  #last: { readonly digest: Uint8Array; response: readonly Uint8Array[] | undefined } | undefined;

  constructor(crypto: CryptoProvider) {
    this.#crypto = crypto;
  }

  get isWornOut(): boolean {
    return this.#expected >= WORN_OUT;
  }

  /** Looks up a request that nothing has been verified of yet; changes nothing. */
  classify(messageId: number, message: Uint8Array): Arrival {
    const last = this.#last;
    if (messageId === this.#expected && (last === undefined || last.response !== undefined)) {
      return { kind: 'new' };
    }
    if (
      last !== undefined &&
      messageId === this.#expected - 1 &&
      equalBytes(last.digest, this.#digest(message))
    ) {
      return { kind: 'repeated', response: last.response };
    }
    return { kind: 'outside' };
  }

  /** Takes a new request, which is now known to be the peer's. @param request - its octets, or its first fragment */
  accept(request: Uint8Array): void {
    this.#expected++;
    this.#last = { digest: this.#digest(request), response: undefined };
  }

  /** Remembers the response to the accepted request. */
  answer(response: readonly Uint8Array[]): void {
    if (this.#last !== undefined) this.#last.response = response;
  }

  #digest(message: Uint8Array): Uint8Array {
    return this.#crypto.hash('sha256', message);
  }
}
