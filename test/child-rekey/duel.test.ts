import { describe, expect, it } from 'vitest';
import { Duel } from '../support/duel.ts';

describe('the harness', () => {
  it('has two hosts with one Child SA, receiving on 1 and 2', () => {
    const duel = new Duel();
    expect([duel.a.inbound, duel.a.outbound]).toEqual([[1], [2]]);
    expect([duel.b.inbound, duel.b.outbound]).toEqual([[2], [1]]);
    expect([...duel.a.reserved, ...duel.b.reserved]).toEqual([]);
    expect([...duel.pending('a'), ...duel.pending('b')]).toEqual([]);
  });

  it('delivers, loses, delays and repeats one message at a time', () => {
    const duel = new Duel();
    duel.call('a', (ike, now) => ike.checkLiveness(now));
    const lost = duel.take('b');
    expect(duel.read(lost)).toMatchObject({ exchange: 'INFORMATIONAL', response: false, names: [] });
    expect(duel.pending('b')).toEqual([]);
    duel.advance(500);
    expect(duel.take('b').message).toEqual(lost.message);
    duel.deliver('b', lost);
    duel.deliver('b', lost);
    expect(duel.pending('a')).toHaveLength(2);
    expect(duel.deliver('a')).toMatchObject({ exchange: 'INFORMATIONAL', response: true });
    duel.settle();
    duel.advance(60_000);
    expect(duel.a.ike.established && duel.b.ike.established).toBe(true);
  });
});
