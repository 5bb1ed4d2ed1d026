/** Milliseconds of a monotonic clock; only differences mean anything. */
export type Millis = number;

/** Time as the asynchronous layers see it; tests use a virtual one. */
export interface Clock {
  /** The time now. */
  now(): Millis;
  /** Calls back once at `at` (at once, but not synchronously, if it has passed). The result cancels it. */
  at(at: Millis, callback: () => void): () => void;
}
