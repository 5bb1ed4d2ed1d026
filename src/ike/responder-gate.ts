import type { CryptoProvider } from '../crypto/provider.ts';
import type { Millis } from '../link/clock.ts';
import type { Origin } from '../link/link.ts';
import { ExchangeType, NotifyType } from './constants.ts';
import { CookieJar } from './cookie.ts';
import { ProtocolError } from './errors.ts';
import type { IkeHeader } from './header.ts';
import { decodePlain, encodePlain, peekHeader } from './message.ts';
import { type NotifyPayload, notify, type Payload } from './payload/index.ts';
import { findNotify, findPayload, payloadOf } from './payloads.ts';
import { encodePuzzle, MIN_DIFFICULTY, type Puzzle, puzzlePrf, solvedBits } from './puzzle.ts';
import { checkRules } from './rules.ts';

/** Octets of the longest IKE_SA_INIT request that is looked at: it is kept, unproved as it is, until IKE_AUTH. */
const MAX_REQUEST_LENGTH = 4096;

/** What is demanded of initiators, and when. */
export interface ResponderGateConfig {
  /** What cookies and puzzles are computed with. */
  readonly crypto: CryptoProvider;
  /** With this many half-open IKE SAs cookies are demanded (RFC 7296 2.6); 0: always. */
  readonly cookieThreshold: number;
  /** Absent: puzzles are never demanded. */
  readonly puzzles?: PuzzlePolicy;
}

/** When initiators have to solve puzzles (RFC 8019), and how hard ones. */
export interface PuzzlePolicy {
  /** With this many half-open IKE SAs puzzles are demanded besides cookies. */
  readonly threshold: number;
  /** With this many, or when a source has all of its part, they are hardest. */
  readonly maximum: number;
  /** Zero bits of the easiest, 8 to 250; the hardest have four more. 0 leaves them to the initiator. */
  readonly difficulty: number;
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
/** A source that has more of its part than this has to solve puzzles. */
const GREEDY_SHARE = 3 / 4;
/** How much harder puzzles get with load; each bit doubles the work. */
const STEPS = 4;
/**
 * Of the requests with a cookie whose sender does not solve puzzles, as most initiators there are, one in so many is accepted
 * as long as there is little load above the threshold; fewer and fewer with more (RFC 8019 7.1).
 */
const LOTTERY = 4;

/** What is to be done with a message of no known IKE SA. */
export type Admission =
  /** An IKE_SA_INIT request to make an IKE SA of; `solved` is the cookie of the puzzle that it has solved. */
  | { readonly kind: 'accept'; readonly solved?: Uint8Array }
  /** A request without the cookie, or the puzzle solution, that is demanded: to be sent back; nothing is remembered of it. */
  | { readonly kind: 'demand-cookie'; readonly message: Uint8Array }
  /** An error, to be sent back at a limited rate. */
  | { readonly kind: 'answer'; readonly message: Uint8Array }
  | { readonly kind: 'drop'; readonly reason: string };

/** The stateless front of a responder. Never throws for any message. */
export class ResponderGate {
  #config: ResponderGateConfig;
  readonly #cookies: CookieJar;

  /** Draws a first secret for cookies. */
  constructor(config: ResponderGateConfig) {
    this.#config = config;
    this.#cookies = new CookieJar(config.crypto);
  }

  /** Demands by other thresholds from now on; cookies that are out stay good. */
  configure(config: ResponderGateConfig): void {
    this.#config = config;
  }

  /** Judges a message of no known IKE SA. */
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
      return { kind: 'answer', message: reply(header, [notify(NotifyType.INVALID_IKE_SPI)]) };
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
    const { cookieThreshold } = this.#config;
    if (load.halfOpen < cookieThreshold && load.share <= SUSPICIOUS_SHARE) return { kind: 'accept' };
    return this.#demandProof(header, decoded.payloads, origin, load, now);
  }

  /** An IKE SA has been made of a request with a solved puzzle: what `solved` named is worth nothing any more. */
  reward(solved: Uint8Array, now: Millis): void {
    this.#cookies.spend(solved, now);
  }

  /** RFC 7296 2.6: a wrong cookie is as good as none. */
  #demandProof(
    header: IkeHeader,
    payloads: readonly Payload[],
    origin: Origin,
    load: Load,
    now: Millis,
  ): Admission {
    const claim = { nonce: payloadOf(payloads, 'NONCE').data, spiI: header.spiI, origin };
    const severity = this.#severity(load);
    const cookie = findNotify(payloads, NotifyType.COOKIE)?.data;
    const proof = cookie && this.#cookies.check(cookie, claim, now);
    if (proof !== undefined) {
      const isSolved =
        proof.puzzle !== undefined && this.#isSolved(proof.puzzle, cookie!, payloads, severity);
      if (isSolved) return { kind: 'accept', solved: cookie! };
      if (severity === undefined || this.#wins(severity)) return { kind: 'accept' };
    }
    const puzzle = severity === undefined ? undefined : this.#puzzle(payloads, severity);
    const demand = [notify(NotifyType.COOKIE, this.#cookies.make(claim, puzzle, now))];
    if (puzzle !== undefined) demand.push(notify(NotifyType.PUZZLE, encodePuzzle(puzzle)));
    return { kind: 'demand-cookie', message: reply(header, demand) };
  }

  /** From 0 where puzzles are first demanded to 1 where there is hardly room; undefined where they are not. */
  #severity({ halfOpen, share }: Load): number | undefined {
    const { puzzles } = this.#config;
    if (puzzles === undefined || (halfOpen < puzzles.threshold && share <= GREEDY_SHARE)) return undefined;
    const room = puzzles.maximum - puzzles.threshold;
    const ofAll = room > 0 ? (halfOpen - puzzles.threshold) / room : 1;
    const ofSource = (share - GREEDY_SHARE) / (1 - GREEDY_SHARE);
    return Math.min(1, Math.max(0, ofAll, ofSource));
  }

  /** Undefined if the initiator offers no PRF of ours: it will be refused for that. */
  #puzzle(payloads: readonly Payload[], severity: number): Puzzle | undefined {
    const prf = puzzlePrf(payloads);
    const { difficulty } = this.#config.puzzles!;
    if (prf === undefined) return undefined;
    return { prf, difficulty: difficulty === 0 ? 0 : difficulty + Math.floor(STEPS * severity) };
  }

  /** RFC 8019 7.1.4. What the initiator may choose is enough if it is what would be demanded now. */
  #isSolved(
    { prf, difficulty }: Puzzle,
    cookie: Uint8Array,
    payloads: readonly Payload[],
    severity = 0,
  ): boolean {
    const solution = findPayload(payloads, 'PS');
    if (solution === undefined) return false;
    const enough = difficulty === 0 ? MIN_DIFFICULTY + Math.floor(STEPS * severity) : difficulty;
    return solvedBits(this.#config.crypto, prf, cookie, solution.data) >= enough;
  }

  #wins(severity: number): boolean {
    return this.#config.crypto.random(1)[0] < (256 / LOTTERY) * (1 - severity);
  }
}

function answer(header: IkeHeader, error: ProtocolError): Admission {
  return { kind: 'answer', message: reply(header, [notify(error.notify, error.data)]) };
}

/** An unprotected response: the SPIs, the exchange and the message ID are the request's (RFC 7296 1.5, 2.21.4). */
function reply(
  { spiI, spiR, exchangeType, messageId, flags }: IkeHeader,
  payloads: readonly NotifyPayload[],
): Uint8Array {
  const fields = {
    spiI,
    spiR,
    exchangeType,
    messageId,
    flags: { initiator: !flags.initiator, response: true },
  };
  return encodePlain(fields, payloads);
}

function drop(reason: string): Admission {
  return { kind: 'drop', reason };
}
