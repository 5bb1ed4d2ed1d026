import { expect, it } from 'vitest';
import { parsePrefix } from '../../src/wire/address.ts';
import { anySelector, prefixSelector } from '../../src/wire/traffic-selector.ts';
import { Duel } from '../support/duel.ts';
import { rekey } from './steps.ts';

// SAs that were replaced receive late packets for 5 s: who rekeys faster than that would have us keep ever more of them.
it('a tunnel has a few SAs at most, however often the peer rekeys it', () => {
  const duel = new Duel();
  const answers = new Set<string>();
  for (let round = 0; round < 20; round++) {
    rekey(duel, 'a');
    while (duel.pending('a').length + duel.pending('b').length > 0) {
      if (duel.pending('b').length > 0) duel.deliver('b');
      else answers.add(duel.deliver('a').names[0]);
    }
    expect(duel.b.inbound.length).toBeLessThanOrEqual(8);
  }
  expect(answers).toContain('N(TEMPORARY_FAILURE)');
  duel.advance(20_000);
  duel.settle();
  duel.advance(20_000);
  expect([duel.a.inbound.length, duel.b.inbound.length]).toEqual([1, 1]);
});

it('the peer has a few rekeys at once, through all IKE SAs of a lineage, and then as many as its budget grows by', () => {
  const duel = new Duel();
  const count = () => duel.b.events.filter(({ type }) => type === 'rekeyed').length;
  for (let round = 0; round < 20; round++) {
    duel.call('a', (ike, now) => ike.rekey(now));
    duel.settle();
  }
  expect(count()).toBe(16);
  duel.advance(30_000);
  duel.settle();
  expect(count()).toBe(17);
});

it('the peer has a few more Child SAs at once, and the others later', () => {
  const duel = new Duel({ profile: { maxChildren: 20 } });
  for (let third = 1; third <= 17; third++) {
    const tsI = [prefixSelector(parsePrefix(`10.1.${third}.0/24`))];
    duel.call('a', (ike, now) => ike.createChild({ tsI, tsR: [anySelector(4)] }, now));
  }
  duel.settle();
  expect(duel.b.inbound).toHaveLength(17);
  expect(duel.b.reserved).toEqual([]);
  duel.advance(10_000);
  duel.settle();
  expect(duel.b.inbound).toHaveLength(18);
});
