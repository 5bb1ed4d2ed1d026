import type { ChildLifetime, Lifetime } from '../ike/config.ts';
import type { Millis } from '../link/clock.ts';

const HOUR: Millis = 3_600_000;

/**
 * How long the SAs of telescopes and of overlays are used: the same for everybody, clients and relays (T9). Each SA draws its time
 * from the last half before `soft` by itself, so that neither ends nor layers fall into step.
 */
export const lifetimes: { readonly ikeLifetime: Lifetime; readonly childLifetime: ChildLifetime } = {
  ikeLifetime: { soft: 2 * HOUR, hard: 3 * HOUR, jitter: HOUR },
  childLifetime: { soft: HOUR, hard: 1.5 * HOUR, jitter: HOUR / 2 },
};
