import type { Clock, Millis } from '../../src/link/clock.ts';

interface Timer {
  readonly at: Millis;
  readonly order: number;
  readonly callback: () => void;
}

/** A clock that moves only when a test moves it. Promises settle between timers. */
export class VirtualClock implements Clock {
  #now: Millis = 0;
  #order = 0;
  readonly #timers = new Set<Timer>();

  now(): Millis {
    return this.#now;
  }

  at(at: Millis, callback: () => void): () => void {
    const timer = { at: Math.max(at, this.#now), order: this.#order++, callback };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** Timers that have not fired. */
  get pending(): number {
    return this.#timers.size;
  }

  /** Runs everything due within the next `duration`, in order. */
  async advance(duration: Millis): Promise<void> {
    const until = this.#now + duration;
    for (;;) {
      await settle();
      const next = this.#next();
      if (next === undefined || next.at > until) break;
      this.#timers.delete(next);
      this.#now = next.at;
      next.callback();
    }
    this.#now = until;
    await settle();
  }

  /** Advances until `promise` settles. @throws Error after `limit` of virtual time */
  async until<T>(promise: Promise<T>, limit: Millis = 600_000): Promise<T> {
    let done = false;
    const finish = () => {
      done = true;
    };
    promise.then(finish, finish);
    const end = this.#now + limit;
    for (;;) {
      await settle();
      if (done) return promise;
      const next = this.#next();
      if (next === undefined) throw new Error('nothing is scheduled and the promise has not settled');
      if (next.at > end) throw new Error(`the promise has not settled within ${limit} ms of virtual time`);
      this.#timers.delete(next);
      this.#now = next.at;
      next.callback();
    }
  }

  #next(): Timer | undefined {
    let first: Timer | undefined;
    for (const timer of this.#timers) {
      if (
        first === undefined ||
        timer.at < first.at ||
        (timer.at === first.at && timer.order < first.order)
      ) {
        first = timer;
      }
    }
    return first;
  }
}

/** Lets every promise that can settle do so. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
