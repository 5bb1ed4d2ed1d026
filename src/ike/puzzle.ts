import type { CryptoProvider } from '../crypto/provider.ts';
import { PrfTransform, prfOf, TransformType } from '../crypto/transforms.ts';
import { concat, equalBytes } from '../wire/bytes.ts';
import type { Payload } from './payload/index.ts';

// RFC 8019 8.1: PUZZLE = PRF (2 octets), Difficulty (1 octet).
// RFC 8019 8.2: Puzzle Solution Data = four keys of one size.

/** What is asked of an initiator: four keys whose prf of a string ends with so many zero bits (RFC 8019 7.1.3). */
export interface Puzzle {
  readonly prf: number;
  /** Zero bits, 8 to 255; 0: as many as the initiator is willing to find. */
  readonly difficulty: number;
}

/** Zero bits of the hardest puzzle that is solved here unless something else is configured: a few seconds of work. */
export const DEFAULT_MAX_DIFFICULTY = 18;
/**
 * The zero bits that everybody finds who may choose. Who tried for a time instead would tell how fast its processor is.
 */
export const OWN_DIFFICULTY = 14;
/** RFC 8019 4.4: what is easier is no work. */
export const MIN_DIFFICULTY = 8;

const KEYS = 4;
/** Octets of the keys that we try: enough for any puzzle that we take on. */
const KEY_LENGTH = 4;

/** The PRFs of puzzles that we present, in order of preference. */
const PUZZLE_PRFS: readonly number[] = [
  PrfTransform.HMAC_SHA2_256,
  PrfTransform.HMAC_SHA2_384,
  PrfTransform.HMAC_SHA2_512,
];

/** The data of N(PUZZLE). */
export function encodePuzzle({ prf, difficulty }: Puzzle): Uint8Array {
  return Uint8Array.of(prf >> 8, prf & 255, difficulty);
}

/** What an N(PUZZLE) asks for; undefined if it is none, or asks for what RFC 8019 4.4 excludes. */
export function decodePuzzle(data: Uint8Array): Puzzle | undefined {
  const [high, low, difficulty] = data;
  if (data.length !== 3 || (difficulty !== 0 && difficulty < MIN_DIFFICULTY)) return undefined;
  return { prf: (high << 8) | low, difficulty };
}

/** The PRF for a puzzle: the one we prefer of those that an SA payload offers (RFC 8019 7.1.1.2). */
export function puzzlePrf(payloads: readonly Payload[]): number | undefined {
  const offered = payloads.flatMap((payload) => (payload.kind === 'SA' ? payload.proposals : []));
  const has = (prf: number) =>
    offered.some(({ transforms }) =>
      transforms.some(({ type, id }) => type === TransformType.PRF && id === prf),
    );
  return PUZZLE_PRFS.find(has);
}

/**
 * The zero bits that a solution has, at least, with each of its keys (RFC 8019 7.1.4); 0 if it is no solution.
 * @param octets - the cookie, or Nr | SPIr
 */
export function solvedBits(
  crypto: CryptoProvider,
  prf: number,
  octets: Uint8Array,
  solution: Uint8Array,
): number {
  const size = solution.length / KEYS;
  if (!Number.isInteger(size) || size < 1 || size > prfOf(prf).outputLength) return 0;
  const keys = Array.from({ length: KEYS }, (_, i) => solution.subarray(i * size, (i + 1) * size));
  if (keys.some((key, i) => keys.slice(0, i).some((other) => equalBytes(key, other)))) return 0;
  return Math.min(...keys.map((key) => trailingZeros(crypto.prf(prf, key, octets))));
}

function trailingZeros(bytes: Uint8Array): number {
  let at = bytes.length - 1;
  while (at >= 0 && bytes[at] === 0) at--;
  const whole = 8 * (bytes.length - 1 - at);
  return at < 0 ? whole : whole + (31 - Math.clz32(bytes[at] & -bytes[at]));
}

/** Searches for a solution, as far as it is told to. The same puzzle has the same solution for everybody. */
export class PuzzleSolver {
  readonly #crypto: CryptoProvider;
  readonly #prf: number;
  readonly #bits: number;
  readonly #octets: Uint8Array;
  readonly #found: Uint8Array[] = [];
  #next = 0;

  /** @param octets - the cookie, or Nr | SPIr */
  constructor(crypto: CryptoProvider, { prf, difficulty }: Puzzle, octets: Uint8Array) {
    this.#crypto = crypto;
    this.#prf = prf;
    this.#bits = difficulty === 0 ? OWN_DIFFICULTY : difficulty;
    this.#octets = octets;
  }

  /** Tries so many keys more. The Puzzle Solution Data, once there are four. */
  work(attempts: number): Uint8Array | undefined {
    for (const end = this.#next + attempts; this.#next < end && this.#found.length < KEYS; this.#next++) {
      const key = new Uint8Array(KEY_LENGTH);
      new DataView(key.buffer).setUint32(0, this.#next);
      if (trailingZeros(this.#crypto.prf(this.#prf, key, this.#octets)) >= this.#bits) this.#found.push(key);
    }
    return this.#found.length < KEYS ? undefined : concat(...this.#found);
  }
}
