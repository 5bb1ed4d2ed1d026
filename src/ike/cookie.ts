import type { CryptoProvider } from '../crypto/provider.ts';
import { equalConstantTime, PrfTransform } from '../crypto/transforms.ts';
import type { Millis } from '../link/clock.ts';
import type { Origin } from '../link/link.ts';
import { concat, hex, utf8 } from '../wire/bytes.ts';

/** How long cookies are made with one secret; they are accepted for as long again. */
const SECRET_LIFETIME: Millis = 60_000;
const SECRET_LENGTH = 32;

/** What a cookie is bound to: whoever sends it back can receive at `origin`. */
export interface CookieClaim {
  readonly nonce: Uint8Array;
  readonly spiI: Uint8Array;
  readonly origin: Origin;
}

/**
 * Stateless cookies (RFC 7296 2.6): version of the secret | HMAC(secret, SPIi | origin | Ni). The origin includes the link
 * and the overlay peer, since at a relay an address alone does not identify a peer.
 */
export class CookieJar {
  readonly #crypto: CryptoProvider;
  #version = 0;
  #current: Uint8Array;
  #previous: Uint8Array | undefined;
  #rotateAt: Millis | undefined;

  constructor(crypto: CryptoProvider) {
    this.#crypto = crypto;
    this.#current = crypto.random(SECRET_LENGTH);
  }

  make(claim: CookieClaim, now: Millis): Uint8Array {
    this.#rotate(now);
    return this.#seal(this.#version, this.#current, claim);
  }

  check(cookie: Uint8Array, claim: CookieClaim, now: Millis): boolean {
    this.#rotate(now);
    const version = cookie[0];
    if (version === this.#version)
      return equalConstantTime(cookie, this.#seal(version, this.#current, claim));
    if (version !== ((this.#version - 1) & 255) || this.#previous === undefined) return false;
    return equalConstantTime(cookie, this.#seal(version, this.#previous, claim));
  }

  #seal(version: number, secret: Uint8Array, { nonce, spiI, origin }: CookieClaim): Uint8Array {
    const { linkId, overlayPeer = null, address, port } = origin;
    const sender = utf8(JSON.stringify([hex(spiI), linkId, overlayPeer, address, port]));
    return concat(
      Uint8Array.of(version),
      this.#crypto.prf(PrfTransform.HMAC_SHA2_256, secret, sender, nonce),
    );
  }

  #rotate(now: Millis): void {
    this.#rotateAt ??= now + SECRET_LIFETIME;
    if (now < this.#rotateAt) return;
    // Nothing was asked of it for two lifetimes: the current secret is too old even to be the previous one.
    this.#previous = now < this.#rotateAt + SECRET_LIFETIME ? this.#current : undefined;
    this.#current = this.#crypto.random(SECRET_LENGTH);
    this.#version = (this.#version + 1) & 255;
    this.#rotateAt = now + SECRET_LIFETIME;
  }
}
