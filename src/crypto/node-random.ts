import { randomFillSync } from 'node:crypto';
import type { RandomSource } from '../wire/bytes.ts';

/** What is drawn at a time: a call costs the same for a few octets and for a few thousand. */
const POOL_LENGTH = 4096;

const pool = new Uint8Array(POOL_LENGTH);
let used = POOL_LENGTH;

/** Octets of the system's cryptographically secure source; no copy of them stays behind. */
export const systemRandom: RandomSource = (length) => {
  if (length > POOL_LENGTH) return randomFillSync(new Uint8Array(length));
  if (length > POOL_LENGTH - used) {
    randomFillSync(pool);
    used = 0;
  }
  const drawn = pool.slice(used, used + length);
  pool.fill(0, used, used + length);
  used += length;
  return drawn;
};
