import type { CryptoProvider } from '../crypto/provider.ts';
import { payloadAhead } from './encrypted.ts';
import { IkeError } from './errors.ts';
import { PayloadType } from './payload/index.ts';
import { type Puzzle, solvedBits } from './puzzle.ts';

/**
 * Keeps the keys of a half-open IKE SA from being computed before the initiator has solved the puzzle that it was given with
 * the response of IKE_SA_INIT (RFC 8019 7.2).
 */
export class PuzzleLock {
  readonly #crypto: CryptoProvider;
  readonly #puzzle: Puzzle;
  readonly #octets: Uint8Array;
  #keys: LockedKeys | undefined;

  /** @param octets - Nr | SPIr */
  constructor(crypto: CryptoProvider, puzzle: Puzzle, octets: Uint8Array, keys: LockedKeys) {
    this.#crypto = crypto;
    this.#puzzle = puzzle;
    this.#octets = octets;
    this.#keys = keys;
  }

  /** Computes the keys if the message has the solution ahead of its Encrypted payload. Otherwise false: it is to be dropped. */
  open(message: Uint8Array): boolean {
    const keys = this.#keys;
    const solution = payloadAhead(message, PayloadType.PS);
    if (keys === undefined || solution === undefined) return false;
    const { prf, difficulty } = this.#puzzle;
    if (solvedBits(this.#crypto, prf, this.#octets, solution) < difficulty) return false;
    this.#keys = undefined;
    try {
      keys.compute();
      return true;
    } catch (error) {
      if (error instanceof IkeError) return false;
      throw error;
    }
  }

  /** They will not be needed. */
  destroy(): void {
    this.#keys?.discard();
    this.#keys = undefined;
  }
}

/** What a lock keeps. */
interface LockedKeys {
  /** Computes the keys, once. @throws IkeError if the initiator's value is wrong */
  compute(): void;
  /** Overwrites what they would be computed of. */
  discard(): void;
}
