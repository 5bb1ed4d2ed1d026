import { describe, expect, it } from 'vitest';
import { phaseDependence } from './phase.ts';
import { soak } from './soak.ts';

const HOURS = 2;

describe('a telescope that is rekeyed at every layer', () => {
  it(`goes on for ${HOURS} hours of virtual time, under loss, with clocks that go wrong`, {
    timeout: 240_000,
  }, async () => {
    const { packets, layers, sas, overlaySas, ikeMessages, drops, failures } = await soak(HOURS, 1);
    expect(failures).toEqual([]);
    expect(packets.lost).toEqual([]);
    expect(packets.received).toBe(packets.sent);
    expect(packets.sent).toBeGreaterThan(HOURS * 3_600);
    expect(drops).toEqual({});
    for (const { childRekeys, ikeRekeys } of layers) {
      expect(childRekeys).toBeGreaterThan(0);
      expect(ikeRekeys).toBeGreaterThan(0);
    }
    const started = (side: 'client' | 'relay') =>
      layers.reduce((sum, { requests }) => sum + requests[side], 0);
    expect(Math.min(started('client'), started('relay'), overlaySas, ikeMessages.lost)).toBeGreaterThan(0);
    expect(sas.last).toBe(sas.first);
    expect(sas.closed).toBe(sas.first - 12);
  });
});

describe('the dependence of two series of times', () => {
  const regular = (count: number, period: number, first: number) =>
    Array.from({ length: count }, (_, i) => first + i * period);

  it('is large if one follows the other', () => {
    expect(phaseDependence(regular(100, 60, 0), regular(100, 60, 5))).toBeGreaterThan(5);
    expect(phaseDependence(regular(100, 60, 20), regular(100, 60, 0))).toBeGreaterThan(5);
  });

  it('is small if it goes through all phases of the other', () => {
    expect(phaseDependence(regular(100, 61.8, 0), regular(110, 60, 0))).toBeLessThan(1);
  });
});
