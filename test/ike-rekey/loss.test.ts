import { expect, it } from 'vitest';
import { anonymousProfile, initiatorConfig, responderConfig, sharedKey } from '../support/ike-configs.ts';
import { Pair, testCrypto } from '../support/pair.ts';
import { expectEqualSas } from '../support/pair-assertions.ts';
import { seededRandom } from '../support/seeded-random.ts';

const RELAY = sharedKey('relay');
const SCHEDULE = { first: 500, factor: 2, cap: 4_000, tries: 30 };
const SEEDS = Array.from({ length: 20 }, (_, seed) => seed);

// 30 % of what either end sends is lost, some comes twice, and all of it out of order.
it.each(SEEDS)('rekeys by both ends at random times converge under loss (seed %i)', (seed) => {
  const { provider } = testCrypto(1000 + seed);
  const random = seededRandom(2000 + seed);
  const chance = () => random(1)[0] / 256;
  const pair = new Pair({
    initiator: { ...initiatorConfig(provider, RELAY), retransmission: SCHEDULE },
    responder: { ...responderConfig(provider, anonymousProfile(RELAY)), retransmission: SCHEDULE },
  }).run(1_000);
  pair.network = () => {
    if (chance() < 0.3) return [];
    return chance() < 0.1 ? [20 + 200 * chance(), 20 + 2000 * chance()] : [20 + 400 * chance()];
  };
  for (let round = 0; round < 4; round++) {
    const [one, other] = chance() < 0.5 ? [pair.initiator, pair.responder] : [pair.responder, pair.initiator];
    pair.call(one, (ike, now) => ike.rekey(now));
    pair.run(Math.floor(1_000 * chance()));
    pair.call(other, (ike, now) => ike.rekey(now));
    pair.run(chance() < 0.5 ? 1_000 : 60_000);
  }
  pair.run(600_000);
  const [ofInitiator, ofResponder] = [pair.initiator, pair.responder].map(({ ike }) => ike);
  expect([ofInitiator.established, ofResponder.established]).toEqual([true, true]);
  expect([ofInitiator.localSpis.length, ofResponder.localSpis.length]).toEqual([1, 1]);
  expect(pair.initiator.eventTypes).toContain('rekeyed');
  expect(pair.responders).toHaveLength(1);
  expectEqualSas(pair);
  pair.network = () => [20];
  for (const end of [pair.initiator, pair.responder]) {
    const before = end.ike.exchanges;
    pair.call(end, (ike, now) => ike.checkLiveness(now));
    pair.run(5_000);
    expect(end.ike.exchanges).toBe(before + 1);
  }
});
