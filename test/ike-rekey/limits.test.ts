import { expect, it } from 'vitest';
import type { SelectorPair } from '../../src/ike/child-sa.ts';
import { parsePrefix } from '../../src/wire/address.ts';
import { prefixSelector } from '../../src/wire/traffic-selector.ts';
import { Duel } from '../support/duel.ts';
import { draw, rekey } from './expectations.ts';

const net = (text: string) => prefixSelector(parsePrefix(text));
const OTHERS: SelectorPair = { tsI: [net('10.1.0.0/16')], tsR: [net('10.2.0.0/16')] };

it('an IKE SA whose own rekey is concluded is not the one that makes room for what that made', () => {
  const duel = new Duel();
  draw(duel, 0x00, () => rekey(duel, 'a'));
  draw(duel, 0xff, () => rekey(duel, 'b'));
  draw(duel, 0xff, () => duel.deliver('b'));
  draw(duel, 0xff, () => duel.deliver('a'));
  const late = duel.take('a');
  // B's counts, and is rekeyed again and again; the Deletes of what was replaced are lost.
  duel.deliver('b');
  while (duel.ikeSas('a').all.length < 8) {
    while (duel.pending('a').length > 0) duel.take('a');
    rekey(duel, 'b');
    for (const side of ['a', 'b', 'a', 'b'] as const) {
      if (duel.pending(side).length === 0) continue;
      const flight = duel.take(side);
      if (duel.read(flight).exchange === 'CREATE_CHILD_SA') duel.deliver(side, flight);
    }
  }
  const before = duel.ikeSas('a');
  expect(before.all.slice(0, 2)).toEqual([1, 6]);
  duel.deliver('a', late);
  expect(duel.ikeSas('a')).toEqual({ all: [1, ...before.all.slice(2), 3], current: before.current });
  duel.call('a', (ike, now) => ike.abort(now));
  expect(duel.a.ike.closed).toBe(true);
  expect(duel.a.ike.localSpis).toEqual([]);
  expect(duel.a.store.isEmpty).toBe(true);
});

it('requests that are refused without a key exchange do not use up the budget of those that need one', () => {
  const duel = new Duel();
  for (let i = 0; i < 40; i++) {
    duel.call('a', (ike, now) => ike.createChild(OTHERS, now));
    duel.deliver('b');
    expect(duel.deliver('a').names).toEqual(['N(NO_ADDITIONAL_SAS)']);
  }
  rekey(duel, 'a');
  duel.settle();
  expect(duel.a.eventTypes).toContain('rekeyed');
});
