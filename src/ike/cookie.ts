import type { CryptoProvider } from '../crypto/provider.ts';
import { equalConstantTime, PrfTransform } from '../crypto/transforms.ts';
import type { Millis } from '../link/clock.ts';
import type { Origin } from '../link/link.ts';
import { concat, equalBytes, hex, utf8 } from '../wire/bytes.ts';
import { decodePuzzle, encodePuzzle, type Puzzle } from './puzzle.ts';

/** How long cookies are made with one secret; they are accepted for as long again. */
const SECRET_LIFETIME: Millis = 60_000;
const SECRET_LENGTH = 32;
const NO_PUZZLE = new Uint8Array(3);
const COOKIE_LENGTH = 1 + NO_PUZZLE.length + 32;
/** More cookies than this are not remembered as spent: the secret is changed instead, which spends all that there are. */
const MAX_SPENT = 10_000;

/** What a cookie is bound to: whoever sends it back can receive at `origin`. */
export interface CookieClaim {
  readonly nonce: Uint8Array;
  readonly spiI: Uint8Array;
  readonly origin: Origin;
}

/**
 * Stateless cookies (RFC 7296 2.6, RFC 8019 7.1.1.3): version of the secret | puzzle | HMAC(secret, puzzle | SPIi | origin | Ni).
 * The origin includes the link and the overlay peer, since at a relay an address alone does not identify a peer. The puzzle is
 * the one that went with the cookie: its PRF and difficulty, or zeros.
 *
 * The same claim gets the same cookie for as long as the secret lasts, so that a repeated request is no new demand.
 */
export class CookieJar {
  readonly #crypto: CryptoProvider;
  #version = 0;
  #current: Uint8Array;
  #previous: Uint8Array | undefined;
  /** Cookies whose puzzle has been rewarded, of the current secret and of the previous one. */
  #spent = new Set<string>();
  #spentBefore = new Set<string>();
  #rotateAt: Millis | undefined;

  constructor(crypto: CryptoProvider) {
    this.#crypto = crypto;
    this.#current = crypto.random(SECRET_LENGTH);
  }

  make(claim: CookieClaim, puzzle: Puzzle | undefined, now: Millis): Uint8Array {
    this.#rotate(now);
    return this.#seal(
      this.#version,
      this.#current,
      puzzle === undefined ? NO_PUZZLE : encodePuzzle(puzzle),
      claim,
    );
  }

  /** What a cookie of ours says; undefined if it is none, or not of this claim, or spent. */
  check(
    cookie: Uint8Array,
    claim: CookieClaim,
    now: Millis,
  ): { readonly puzzle: Puzzle | undefined } | undefined {
    this.#rotate(now);
    const version = cookie[0];
    const age = (this.#version - version) & 255;
    const secret = age === 0 ? this.#current : age === 1 ? this.#previous : undefined;
    if (secret === undefined || cookie.length !== COOKIE_LENGTH) return undefined;
    const puzzle = cookie.subarray(1, 1 + NO_PUZZLE.length);
    if (!equalConstantTime(cookie, this.#seal(version, secret, puzzle, claim))) return undefined;
    const name = hex(cookie);
    return this.#spent.has(name) || this.#spentBefore.has(name)
      ? undefined
      : { puzzle: equalBytes(puzzle, NO_PUZZLE) ? undefined : decodePuzzle(puzzle) };
  }

  /** A cookie with a solved puzzle has been rewarded: it is worth nothing any more (RFC 8019 10). */
  spend(cookie: Uint8Array, now: Millis): void {
    this.#rotate(now);
    if (this.#spent.size >= MAX_SPENT) this.#renew(now, undefined);
    this.#spent.add(hex(cookie));
  }

  #seal(
    version: number,
    secret: Uint8Array,
    puzzle: Uint8Array,
    { nonce, spiI, origin }: CookieClaim,
  ): Uint8Array {
    const { linkId, overlayPeer = null, address, port } = origin;
    const sender = utf8(JSON.stringify([hex(spiI), linkId, overlayPeer, address, port]));
    const mac = this.#crypto.prf(PrfTransform.HMAC_SHA2_256, secret, puzzle, sender, nonce);
    return concat(Uint8Array.of(version), puzzle, mac);
  }

  #rotate(now: Millis): void {
    this.#rotateAt ??= now + SECRET_LIFETIME;
    if (now < this.#rotateAt) return;
    // Nothing was asked of it for two lifetimes: the current secret is too old even to be the previous one.
    this.#renew(now, now < this.#rotateAt + SECRET_LIFETIME ? this.#current : undefined);
  }

  #renew(now: Millis, previous: Uint8Array | undefined): void {
    this.#previous = previous;
    this.#current = this.#crypto.random(SECRET_LENGTH);
    this.#spentBefore = this.#spent;
    this.#spent = new Set();
    this.#version = (this.#version + 1) & 255;
    this.#rotateAt = now + SECRET_LIFETIME;
  }
}
