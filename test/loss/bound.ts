import type { RetransmissionSchedule } from '../../src/ike/config.ts';
import type { Millis } from '../../src/link/clock.ts';

/** IKE_SA_INIT and IKE_AUTH. */
const EXCHANGES_OF_HOP = 2;

export interface BuildConditions {
  readonly schedule: RetransmissionSchedule;
  readonly hops: number;
  /** Of messages, end to end, in each direction. */
  readonly loss: number;
  /** The longest. */
  readonly roundTrip: Millis;
}

/** When a request is sent, the first time included, from the first time on. */
export function sendingTimes({ first, factor, cap, tries }: RetransmissionSchedule): Millis[] {
  const times = [0];
  while (times.length < tries) {
    const interval = Math.min(cap, first * factor ** (times.length - 1));
    times.push(times[times.length - 1] + interval);
  }
  return times;
}

/**
 * How long building a telescope takes at most, but for one in `1 / risk`. A try succeeds if request and response get through,
 * with probability s = (1 - loss)^2, so that an exchange takes until its nth sending with probability (1 - s)^(n - 1) s; the
 * exchanges follow each other, and their times add up.
 */
export function buildTimeBound(conditions: BuildConditions, risk: number): Millis {
  const { schedule, hops, loss, roundTrip } = conditions;
  const success = (1 - loss) ** 2;
  const exchange = sendingTimes(schedule).map((at, n) => [at, (1 - success) ** n * success] as const);
  let sums = new Map<Millis, number>([[0, 1]]);
  for (let i = 0; i < hops * EXCHANGES_OF_HOP; i++) {
    const next = new Map<Millis, number>();
    for (const [sum, p] of sums) {
      for (const [at, q] of exchange) next.set(sum + at, (next.get(sum + at) ?? 0) + p * q);
    }
    sums = next;
  }
  let beyond = 1;
  for (const [sum, p] of [...sums].sort(([a], [b]) => a - b)) {
    beyond -= p;
    if (beyond <= risk) return sum + hops * EXCHANGES_OF_HOP * roundTrip;
  }
  throw new RangeError('the schedule is too short for that');
}
