import { describe, expect, it } from 'vitest';
import type { IkeLineage } from '../../src/ike/lineage.ts';
import type { Millis } from '../../src/link/clock.ts';
import { anySelector } from '../../src/wire/traffic-selector.ts';
import { anonymousProfile, initiatorConfig, responderConfig, sharedKey } from '../support/ike-configs.ts';
import { type End, type Network, Pair, testCrypto } from '../support/pair.ts';
import { expectNothingLeft } from '../support/pair-assertions.ts';
import { seededUniform } from '../support/seeded-random.ts';
import { transforms } from '../support/transforms-text.ts';

const relay = sharedKey('relay');
const SEEDS = 60;
/** Both ends do something of their own for so long, on a network that loses, repeats and reorders. */
const UNREST: Millis = 60_000;
/** Long enough for what was replaced to be given up. */
const REST: Millis = 400_000;
/** An exchange fails once in a hundred million times at the worst loss that there is here. */
const PATIENT = { first: 500, factor: 2, cap: 4_000, tries: 30 };
const MULTI_KE = {
  ikeProposals: [{ transforms: transforms('ENCR 20/256, PRF 5, KE 31, ADDKE1 19') }],
  childProposals: [{ transforms: transforms('ENCR 20/256, KE 31, ADDKE1 19, ESN 1') }],
};
const UDP = { ...anySelector(4), protocol: 17 };

type Action = (ike: IkeLineage, now: Millis, end: End) => void;

const rekeyChildren: Action = (ike, now, end) => {
  for (const id of tunnels(end)) ike.rekeyChild(id, now);
};
/** Not the first, with which the IKE SA would go. */
const closeOneOfOthers: Action = (ike, now, end) => {
  const other = tunnels(end).find((id) => id !== end.tunnelId);
  if (other !== undefined) ike.closeChild(other, now);
};
const ACTIONS: readonly Action[] = [
  (ike, now) => ike.rekey(now),
  rekeyChildren,
  rekeyChildren,
  (ike, now) => ike.checkLiveness(now),
  (ike, now) => ike.createChild({ tsI: [UDP], tsR: [UDP] }, now),
  closeOneOfOthers,
];

/** Of the Child SAs that it has, the oldest first. */
function tunnels({ events }: End): string[] {
  const open = new Set<string>();
  for (const event of events) {
    if (event.type === 'child-established') open.add(event.child.tunnel.id);
    if (event.type === 'child-closed') open.delete(event.tunnelId);
  }
  return [...open];
}

function rough(uniform: () => number, loss: number): Network {
  return () => {
    const copies = uniform() < loss ? 0 : uniform() < 0.2 ? 2 : 1;
    return Array.from({ length: copies }, () => 5 + Math.floor(uniform() * (uniform() < 0.1 ? 4_000 : 400)));
  };
}

/** Both ends rekey, create, close and check as chance has it, at the same time or not. */
function quarrel(seed: number): Pair {
  const uniform = seededUniform(seed);
  const { provider } = testCrypto(seed);
  const changes = { retransmission: PATIENT, ...(seed % 2 === 0 && MULTI_KE) };
  const pair = new Pair({
    initiator: { ...initiatorConfig(provider, relay), ...changes },
    responder: {
      ...responderConfig(provider, { ...anonymousProfile(relay), maxChildren: 3 }),
      ...changes,
    },
  }).run(1_000);
  pair.network = rough(uniform, (seed % 4) * 0.1);
  const haste = seed % 3 === 0 ? 200 : 3_000;
  for (const end = pair.now + UNREST; pair.now < end; ) {
    for (const side of [pair.initiator, pair.responder]) {
      if (uniform() < 0.6) continue;
      const act = ACTIONS[Math.floor(uniform() * ACTIONS.length)];
      pair.call(side, (ike, now) => act(ike, now, side));
    }
    const until = pair.now + Math.floor(uniform() * haste);
    pair.run(until - pair.now);
    pair.now = until;
  }
  pair.network = () => [20];
  pair.run(REST);
  return pair;
}

describe('two ends that rekey, create, close and check at random', () => {
  it.each(Array.from({ length: SEEDS }, (_, i) => i + 1))('end with the same SAs (seed %i)', (seed) => {
    const pair = quarrel(seed);
    const { initiator, responder } = pair;
    expect([initiator.ike.established, responder.ike.established]).toEqual([true, true]);
    expect([initiator.ike.localSpis.length, responder.ike.localSpis.length]).toEqual([1, 1]);
    expect(tunnels(initiator).length).toBeGreaterThan(0);
    expect(tunnels(responder)).toHaveLength(tunnels(initiator).length);
    const spis = ({ store }: End, direction: 'inbound' | 'outbound') => [...store[direction].keys()].sort();
    expect(spis(initiator, 'inbound')).toEqual(spis(responder, 'outbound'));
    expect(spis(responder, 'inbound')).toEqual(spis(initiator, 'outbound'));
    expect(spis(initiator, 'inbound')).toHaveLength(tunnels(initiator).length);
    for (const [spi, { keys, suite }] of initiator.store.inbound) {
      const other = responder.store.outbound.get(spi)!;
      expect([other.keys, other.suite]).toEqual([keys, suite]);
    }
    // Nothing is reserved that is not in use.
    for (const { store } of [initiator, responder])
      expect([...store.reserved].sort()).toEqual([...store.inbound.keys()].sort());
    // Both can still be heard.
    for (const end of [initiator, responder]) {
      const before = end.ike.exchanges;
      pair.call(end, (ike, now) => ike.checkLiveness(now));
      pair.run(1_000);
      expect(end.ike.exchanges).toBe(before + 1);
    }
    pair.call(initiator, (ike, now) => ike.close(now));
    pair.run(REST);
    expectNothingLeft(pair);
  });
});
