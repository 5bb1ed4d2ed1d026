import type { CryptoProvider } from '../crypto/provider.ts';
import type { Millis } from '../link/clock.ts';
import type { Origin } from '../link/link.ts';
import { ExchangeType, NotifyType } from './constants.ts';
import { CookieJar } from './cookie.ts';
import { ProtocolError } from './errors.ts';
import type { IkeHeader } from './header.ts';
import { decodePlain, encodePlain, peekHeader } from './message.ts';
import { type NotifyPayload, notify, type Payload } from './payload/index.ts';
import { findNotify, payloadOf } from './payloads.ts';
import { checkRules } from './rules.ts';

/** Octets of the longest IKE_SA_INIT request that is looked at: it is kept, unproved as it is, until IKE_AUTH. */
const MAX_REQUEST_LENGTH = 4096;

export interface ResponderGateConfig {
  readonly crypto: CryptoProvider;
  /** With this many half-open IKE SAs cookies are demanded (RFC 7296 2.6); 0: always. */
  readonly cookieThreshold: number;
}

/** How busy a responder is when a message arrives. */
export interface Load {
  /** IKE SAs that are not yet established. */
  readonly halfOpen: number;
  /** How much of what it may have of them the message's source has: from 0 to 1. */
  readonly share: number;
}

/** A source that has more of its part than this has to prove, by cookies, that it is the one that sends. */
const SUSPICIOUS_SHARE = 1 / 2;

/** What is to be done with a message of no known IKE SA. */
export type Admission =
  /** An IKE_SA_INIT request to make an IKE SA of. */
  | { readonly kind: 'accept' }
  /** A request without a valid cookie where one is demanded: to be sent back; nothing is remembered of it. */
  | { readonly kind: 'demand-cookie'; readonly message: Uint8Array }
  /** An error, to be sent back at a limited rate. */
  | { readonly kind: 'answer'; readonly message: Uint8Array }
  | { readonly kind: 'drop'; readonly reason: string };

/** The stateless front of a responder. Never throws for any message. */
export class ResponderGate {
  readonly #cookieThreshold: number;
  readonly #cookies: CookieJar;

  constructor({ crypto, cookieThreshold }: ResponderGateConfig) {
    this.#cookieThreshold = cookieThreshold;
    this.#cookies = new CookieJar(crypto);
  }

  admit(message: Uint8Array, origin: Origin, load: Load, now: Millis): Admission {
    const header = peekHeader(message);
    if (header === undefined) return drop('not an IKE message');
    if (message.length > MAX_REQUEST_LENGTH) return drop('longer than any first request need be');
    const { flags, messageId, exchangeType } = header;
    // RFC 7296 2.21.4: responses are never answered, or two ends could go on for ever.
    if (flags.response) return drop('a response of no known IKE SA');
    const decoded = decodePlain(message);
    if (decoded.kind === 'unprotected-error') return answer(header, decoded.error);
    if (exchangeType !== ExchangeType.IKE_SA_INIT) {
      if (header.majorVersion !== 2 || header.spiR.every((octet) => octet === 0))
        return drop('of no known IKE SA');
      // RFC 7296 1.5
      return { kind: 'answer', message: reply(header, notify(NotifyType.INVALID_IKE_SPI)) };
    }
    if (decoded.kind === 'discard') return drop(decoded.reason);
    if (!flags.initiator || messageId !== 0 || header.spiR.some((octet) => octet !== 0)) {
      return drop('not a first IKE_SA_INIT request');
    }
    try {
      checkRules(exchangeType, false, decoded.payloads);
    } catch (error) {
      if (error instanceof ProtocolError) return drop(error.message);
      throw error;
    }
    if (load.halfOpen < this.#cookieThreshold && load.share <= SUSPICIOUS_SHARE) return { kind: 'accept' };
    return this.#demandCookie(header, decoded.payloads, origin, now);
  }

  /** RFC 7296 2.6: a wrong cookie is as good as none. */
  #demandCookie(header: IkeHeader, payloads: readonly Payload[], origin: Origin, now: Millis): Admission {
    const claim = { nonce: payloadOf(payloads, 'NONCE').data, spiI: header.spiI, origin };
    const cookie = findNotify(payloads, NotifyType.COOKIE);
    if (cookie !== undefined && this.#cookies.check(cookie.data, claim, now)) return { kind: 'accept' };
    const demand = notify(NotifyType.COOKIE, this.#cookies.make(claim, now));
    return { kind: 'demand-cookie', message: reply(header, demand) };
  }
}

function answer(header: IkeHeader, error: ProtocolError): Admission {
  return { kind: 'answer', message: reply(header, notify(error.notify, error.data)) };
}

/** An unprotected response: the SPIs, the exchange and the message ID are the request's (RFC 7296 1.5, 2.21.4). */
function reply(
  { spiI, spiR, exchangeType, messageId, flags }: IkeHeader,
  payload: NotifyPayload,
): Uint8Array {
  const fields = {
    spiI,
    spiR,
    exchangeType,
    messageId,
    flags: { initiator: !flags.initiator, response: true },
  };
  return encodePlain(fields, [payload]);
}

function drop(reason: string): Admission {
  return { kind: 'drop', reason };
}
