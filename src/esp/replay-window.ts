/** Received sequence numbers that are told apart from replays: RFC 4303 3.4.3 asks for 64 or more. A multiple of 32. */
export const REPLAY_WINDOW = 1024;

const SUBSPACE = 2 ** 32;

/**
 * The anti-replay window of an inbound SA (RFC 4303 3.4.3; Appendix A2 for extended sequence numbers). Sequence numbers
 * are 1 to 2^53 - 1, which no SA exhausts.
 */
export class ReplayWindow {
  readonly #extended: boolean;
  readonly #seen = new Uint32Array(REPLAY_WINDOW / 32);
  #top: number;

  /** @param top - the highest number that counts as received, with all below it in the window still to come */
  constructor(extended: boolean, top = 0) {
    this.#extended = extended;
    this.#top = top;
    if (top > 0) this.#mark(top);
  }

  /**
   * The whole sequence number of a packet that carries `low`, if it is neither a replay nor left of the window. To be
   * called ahead of the ICV check; it changes nothing.
   */
  check(low: number): number | undefined {
    const sequence = this.#extended ? this.#infer(low) : low;
    if (sequence > this.#top) return sequence;
    if (sequence <= 0 || this.#top - sequence >= REPLAY_WINDOW) return undefined;
    const bit = sequence % REPLAY_WINDOW;
    return (this.#seen[bit >>> 5] & (1 << (bit & 31))) === 0 ? sequence : undefined;
  }

  /** Marks a number that `check` gave, after the ICV has been verified. True if none before it was higher. */
  advance(sequence: number): boolean {
    if (sequence - this.#top >= REPLAY_WINDOW) {
      this.#seen.fill(0);
    } else {
      for (let passed = this.#top + 1; passed < sequence; passed++) {
        const bit = passed % REPLAY_WINDOW;
        this.#seen[bit >>> 5] &= ~(1 << (bit & 31));
      }
    }
    const isNewest = sequence > this.#top;
    if (isNewest) this.#top = sequence;
    this.#mark(sequence);
    return isNewest;
  }

  #mark(sequence: number): void {
    const bit = sequence % REPLAY_WINDOW;
    this.#seen[bit >>> 5] |= 1 << (bit & 31);
  }

  /** Appendix A2.2; negative for what would lie before the first subspace. */
  #infer(low: number): number {
    const topLow = this.#top % SUBSPACE;
    const base = this.#top - topLow;
    if (topLow >= REPLAY_WINDOW - 1)
      return low >= topLow - REPLAY_WINDOW + 1 ? base + low : base + SUBSPACE + low;
    return low >= topLow - REPLAY_WINDOW + 1 + SUBSPACE ? base - SUBSPACE + low : base + low;
  }
}
