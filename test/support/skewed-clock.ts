import type { Clock, Millis } from '../../src/link/clock.ts';

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
    return this.#clock.at((at - this.#offset) / this.#rate, callback);
  }
}
