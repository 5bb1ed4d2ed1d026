import type { Clock, Millis } from '../link/clock.ts';

/** The machine's monotonic clock and Node's timers. */
export const systemClock: Clock = {
  now: () => performance.now(),
  at(at: Millis, callback: () => void): () => void {
    const timer = setTimeout(callback, Math.max(0, at - performance.now()));
    return () => clearTimeout(timer);
  },
};
