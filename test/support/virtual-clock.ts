import type { Clock, Millis } from '../../src/link/clock.ts';

interface Timer {
  readonly at: Millis;
  readonly order: number;
  callback: (() => void) | undefined;
}

/** A clock that moves only when a test moves it. Promises settle between timers. */
export class VirtualClock implements Clock {
  #now: Millis = 0;
  #order = 0;
  /** A binary heap: the next timer first. Those without a callback are cancelled. */
  readonly #timers: Timer[] = [];
  #pending = 0;

  now(): Millis {
    return this.#now;
  }

  at(at: Millis, callback: () => void): () => void {
    const timer: Timer = { at: Math.max(at, this.#now), order: this.#order++, callback };
    this.#pending++;
    this.#push(timer);
    return () => {
      if (timer.callback !== undefined) this.#pending--;
      timer.callback = undefined;
    };
  }

  /** Timers that have not fired. */
  get pending(): number {
    return this.#pending;
  }

  /** Runs everything due within the next `duration`, in order. */
  async advance(duration: Millis): Promise<void> {
    const until = this.#now + duration;
    for (;;) {
      await settle();
      const next = this.#next();
      if (next === undefined || next.at > until) break;
      this.#fire();
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
      this.#fire();
    }
  }

  #fire(): void {
    const timer = this.#pop();
    const { at, callback } = timer;
    timer.callback = undefined;
    this.#pending--;
    this.#now = at;
    callback!();
  }

  #next(): Timer | undefined {
    while (this.#timers.length > 0 && this.#timers[0].callback === undefined) this.#pop();
    return this.#timers[0];
  }

  #push(timer: Timer): void {
    const heap = this.#timers;
    let index = heap.length;
    for (
      let parent = (index - 1) >> 1;
      index > 0 && isBefore(timer, heap[parent]);
      parent = (index - 1) >> 1
    ) {
      heap[index] = heap[parent];
      index = parent;
    }
    heap[index] = timer;
  }

  #pop(): Timer {
    const heap = this.#timers;
    const [first] = heap;
    const last = heap.pop()!;
    if (heap.length === 0) return first;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1], heap[child])) child++;
      if (isBefore(last, heap[child])) break;
      heap[index] = heap[child];
      index = child;
    }
    heap[index] = last;
    return first;
  }
}

function isBefore(a: Timer, b: Timer): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

/** Lets every promise that can settle do so. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
