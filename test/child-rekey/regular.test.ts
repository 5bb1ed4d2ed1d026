import { describe, expect, it } from 'vitest';
import { Duel, type Side } from '../support/duel.ts';
import { rekey } from './steps.ts';

describe('scenario: child rekey: regular', () => {
  it.each([
    ['a', 'b', 1, 2],
    ['b', 'a', 2, 1],
  ] as const)('by %s, answered by %s', (one, other, spiOne, spiOther) => {
    const duel = new Duel();
    rekey(duel, one);
    expect(duel[one].installed).toEqual([1, 2]);
    expect(duel.deliver(other).names).toEqual(['N(REKEY_SA)', 'SA', 'NONCE', 'TSi', 'TSr']);
    expect(duel[other].installed).toEqual([1, 2, 4]);
    expect(duel[other].eventTypes).not.toContain('child-rekeyed');
    expect(duel.deliver(one).names).toEqual(['SA', 'NONCE', 'TSi', 'TSr']);
    expect(duel[one].installed).toEqual([spiOne, 3, 4]);
    expect(duel.deliver(other).names).toEqual(['DELETE']);
    expect(duel[other].installed).toEqual([spiOther, 3, 4]);
    expect(duel.deliver(one).names).toEqual(['DELETE']);
    expect(duel[one].installed).toEqual([spiOne, 3, 4]);
    duel.advance(5_000);
    expect(duel[one].installed).toEqual([3, 4]);
    expect(duel[other].installed).toEqual([3, 4]);
    for (const side of [one, other] satisfies Side[]) {
      expect(duel[side].eventTypes).toEqual(['established', 'child-established', 'child-rekeyed']);
    }
  });
});
