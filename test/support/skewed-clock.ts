import type { Clock, Millis } from '../../src/link/clock.ts';

const NANOSECOND: Millis = 1e-6;

/** A node's own clock: it has another zero than the true one, and goes faster or slower. */
export class SkewedClock implements Clock {
  readonly #clock: Clock;
  readonly #offset: Millis;
  readonly #rate: number;

  /** @param rate - milliseconds of this clock in one true millisecond */
  constructor(clock: Clock, offset: Millis, rate: number) {
    this.#clock = clock;
    this.#offset = offset;
    this.#rate = rate;
  }

  now(): Millis {
    return this.#offset + this.#clock.now() * this.#rate;
  }

  at(at: Millis, callback: () => void): () => void {
    const time = (at - this.#offset) / this.#rate;
    // Rounded, it may be a trifle before its time: then it would be set again for the same time, for ever.
    const isEarly = this.#offset + time * this.#rate < at;
    return this.#clock.at(isEarly ? time + NANOSECOND : time, callback);
  }
}
