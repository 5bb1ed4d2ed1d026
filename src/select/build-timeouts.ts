import { z } from 'zod';

/*
 * How long to wait for a telescope: long enough for four of five, learnt from those that were built, as Tor's path-spec has it
 * for its circuits.
 */

const BIN = 10;
const MOST = 1_000;
/** So many have to be built before they count. */
const ENOUGH = 100;
const RECENT = 20;
/** If so many of the recent ones took too long, the network is another one. */
const TOO_MANY = 18;
/** The bins that most are in: their mean is the shortest time of the distribution. */
const MODES = 10;
const QUANTILE = { wait: 0.8, keep: 0.99 } as const;
const INITIAL = 60_000;
const LEAST = 1_500;
/** What was learnt of three hops. */
const LENGTH = 3;

/** What is kept between runs: milliseconds, rounded to 10, and how many telescopes took so long. */
export const buildTimesSchema = z.object({
  version: z.literal(1),
  initial: z.number(),
  times: z.array(z.number()).max(MOST),
});
export type BuildTimes = z.infer<typeof buildTimesSchema>;

/** In milliseconds. */
export interface BuildPatience {
  /** After which another telescope is begun instead. */
  readonly wait: number;
  /** After which it is given up: until then it may still be of use, and its time is learnt. */
  readonly keep: number;
}

/** Learns how long telescopes take to be built. */
export class BuildTimeouts {
  /** Of three hops, in the order in which they were built. */
  #times: number[];
  #initial: number;
  #recent: boolean[] = [];

  constructor(state?: BuildTimes) {
    this.#times = state?.times.slice() ?? [];
    this.#initial = state?.initial ?? INITIAL;
  }

  /** What is to be kept. */
  get state(): BuildTimes {
    return { version: 1, initial: this.#initial, times: this.#times.slice() };
  }

  /** @param length - hops: N of them take N(N+1)/2 times as long as one, for each goes through those before it */
  patience(length: number): BuildPatience {
    const scale = work(length) / work(LENGTH);
    if (this.#times.length < ENOUGH) return { wait: this.#initial * scale, keep: this.#initial * scale };
    const wait = Math.max(LEAST, quantile(this.#times, QUANTILE.wait));
    const keep = Math.max(INITIAL, quantile(this.#times, QUANTILE.keep));
    return { wait: wait * scale, keep: Math.max(wait, keep) * scale };
  }

  /** One was built. @param milliseconds - that it took */
  built(length: number, milliseconds: number): void {
    const time = Math.round((milliseconds * work(LENGTH)) / work(length) / BIN) * BIN;
    this.#times = [...this.#times, time].slice(-MOST);
    this.#note(milliseconds > this.patience(length).wait);
  }

  /** One was given up. */
  gaveUp(): void {
    this.#note(true);
  }

  #note(late: boolean): void {
    this.#recent = [...this.#recent, late].slice(-RECENT);
    if (this.#recent.filter((each) => each).length < TOO_MANY) return;
    this.#initial = Math.max(this.#initial, this.patience(LENGTH).wait) * 2;
    this.#times = [];
    this.#recent = [];
  }
}

function work(length: number): number {
  return (length * (length + 1)) / 2;
}

/** Of a Pareto distribution that fits the times: its least is the mean of the fullest bins, its shape the maximum likelihood. */
function quantile(times: readonly number[], probability: number): number {
  const bins = new Map<number, number>();
  for (const time of times) bins.set(time, (bins.get(time) ?? 0) + 1);
  const fullest = [...bins].sort(([, a], [, b]) => b - a).slice(0, MODES);
  const total = fullest.reduce((sum, [, count]) => sum + count, 0);
  const least = fullest.reduce((sum, [time, count]) => sum + time * count, 0) / total;
  const logarithms = times.reduce((sum, time) => sum + Math.log(Math.max(time, least) / least), 0);
  const shape = times.length / Math.max(logarithms, Number.EPSILON);
  return least / (1 - probability) ** (1 / shape);
}
