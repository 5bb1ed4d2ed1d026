import { describe, expect, it } from 'vitest';
import { buildSchedule } from '../../src/telescope/profile.ts';
import { sendingTimes } from './bound.ts';
import { buildUnderLoss, lossBound } from './lossy-telescopes.ts';

const TELESCOPES = 50;

describe('a network that loses 30 % end to end in each direction', () => {
  it('is what the schedule and the bound are made for, as CONTRIBUTING.md says', () => {
    const times = sendingTimes(buildSchedule);
    expect(times.slice(0, 6)).toEqual([0, 500, 1_500, 3_500, 7_500, 11_500]);
    expect(times).toHaveLength(30);
    expect(Math.ceil(lossBound() / 1_000)).toBe(105);
  });

  it(`lets ${TELESCOPES} of ${TELESCOPES} telescopes of three hops be built, and leaves equal SAs at both ends`, {
    timeout: 120_000,
  }, async () => {
    const { built, milliseconds, lost, failures } = await buildUnderLoss(TELESCOPES, 1);
    expect(failures).toEqual([]);
    expect(built).toBe(TELESCOPES);
    expect(milliseconds.max).toBeLessThan(milliseconds.bound);
    for (const share of Object.values(lost)) expect(Math.abs(share - 0.3)).toBeLessThan(0.05);
  });
});
