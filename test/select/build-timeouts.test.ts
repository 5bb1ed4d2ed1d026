import { describe, expect, it } from 'vitest';
import { BuildTimeouts, buildTimesSchema } from '../../src/select/build-timeouts.ts';
import { fraction } from '../../src/select/draw.ts';
import { chance } from './relays.ts';

/** Build times of a Pareto distribution, in milliseconds. */
function pareto(count: number, least: number, shape: number): number[] {
  const random = chance(`${least} ${shape}`);
  return Array.from({ length: count }, () => least / (1 - fraction(random)) ** (1 / shape));
}

function learnt(times: readonly number[], length = 3): BuildTimeouts {
  const timeouts = new BuildTimeouts();
  for (const time of times) timeouts.built(length, time);
  return timeouts;
}

describe('BuildTimeouts', () => {
  it('waits for 60 s until it has seen 100', () => {
    expect(new BuildTimeouts().patience(3)).toEqual({ wait: 60_000, keep: 60_000 });
    expect(learnt(pareto(99, 2_000, 3)).patience(3).wait).toBe(60_000);
    expect(learnt(pareto(100, 2_000, 3)).patience(3).wait).toBeLessThan(10_000);
  });

  it('waits for as long as four of five take, and keeps the others for a minute', () => {
    const times = pareto(1_000, 2_000, 3);
    const { wait, keep } = learnt(times).patience(3);
    const sooner = times.filter((time) => time <= wait).length;
    expect(sooner).toBeGreaterThan(740);
    expect(sooner).toBeLessThan(860);
    expect(keep).toBe(60_000);
  });

  it('scales by N(N+1)/2: what it has learnt of two hops it knows of three', () => {
    const times = pareto(200, 3_000, 2);
    const three = learnt(times).patience(3).wait;
    expect(learnt(times).patience(2).wait).toBeCloseTo(three / 2);
    expect(
      learnt(
        times.map((time) => time / 2),
        2,
      ).patience(3).wait / three,
    ).toBeCloseTo(1, 1);
  });

  it('never waits for less than 1.5 s', () => {
    expect(learnt(pareto(200, 40, 3)).patience(3).wait).toBe(1_500);
  });

  it('begins again, with twice the patience, when 18 of the last 20 took too long', () => {
    const timeouts = learnt([...pareto(200, 2_000, 3), ...Array.from({ length: 20 }, () => 2_000)]);
    const { wait } = timeouts.patience(3);
    for (let count = 0; count < 17; count++) timeouts.gaveUp();
    expect(timeouts.patience(3).wait).toBe(wait);
    timeouts.gaveUp();
    expect(timeouts.patience(3).wait).toBe(120_000);
  });

  it('is the same after its state was kept and read', () => {
    const timeouts = learnt(pareto(150, 2_000, 3));
    const again = new BuildTimeouts(buildTimesSchema.parse(JSON.parse(JSON.stringify(timeouts.state))));
    expect(again.patience(3)).toEqual(timeouts.patience(3));
  });

  it('remembers the last 1000', () => {
    const timeouts = learnt([...pareto(1_000, 9_000, 3), ...pareto(1_000, 2_000, 3)]);
    expect(timeouts.state.times).toHaveLength(1_000);
    expect(timeouts.patience(3).wait).toBeLessThan(9_000);
  });
});
