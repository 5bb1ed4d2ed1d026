import type { Clock, Millis } from '../link/clock.ts';
import { TelescopeError } from './errors.ts';
import type { Hop } from './telescope.ts';

/** Liveness checks of a hop are this far apart at random, each hop for itself, so that layers do not correlate (T9). */
const SHORTEST: Millis = 15_000;
const LONGEST: Millis = 30_000;

/**
 * Checks every hop from time to time and reports, once, the outermost hop that is gone. A hop that stays silent may only
 * be cut off by one before it, so the ones before it are asked first.
 * @returns a function that stops the checks
 */
export function watchLiveness(
  hops: readonly Hop[],
  clock: Clock,
  random: (length: number) => Uint8Array,
  onGone: (error: TelescopeError) => void,
): () => void {
  let stopped = false;
  const cancels: (() => void)[] = [];

  const schedule = (index: number) => {
    if (stopped) return;
    const interval = SHORTEST + (random(1)[0] / 255) * (LONGEST - SHORTEST);
    cancels[index] = clock.at(clock.now() + interval, async () => {
      if (await hops[index].connection.checkLiveness()) schedule(index);
    });
  };

  const report = async (index: number, cause: unknown) => {
    if (stopped) return;
    stopped = true;
    let gone = index;
    for (let outer = 0; outer < gone; outer++) {
      if (!(await hops[outer].connection.checkLiveness())) gone = outer;
    }
    const error = gone === index ? cause : await hops[gone].connection.closed;
    const why = error ?? new Error('the relay closed the tunnel');
    onGone(new TelescopeError(gone + 1, hops[gone].relay.name, 'keeping the tunnel', why));
  };

  for (const [index, { connection }] of hops.entries()) {
    schedule(index);
    void connection.closed.then((error) => report(index, error));
  }
  return () => {
    stopped = true;
    for (const cancel of cancels) cancel();
  };
}
