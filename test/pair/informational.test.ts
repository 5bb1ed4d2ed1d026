import { describe, expect, it } from 'vitest';
import { encodeSpi } from '../../src/ike/child-sa.ts';
import { NoAnswerError } from '../../src/ike/errors.ts';
import { payloadOf } from '../../src/ike/payloads.ts';
import { hex } from '../../src/wire/bytes.ts';
import {
  anonymousProfile,
  initiatorConfig,
  pool,
  responderConfig,
  signature,
} from '../support/ike-configs.ts';
import { type Network, names, Pair, testCrypto } from '../support/pair.ts';
import { expectEqualSas, expectNothingLeft } from '../support/pair-assertions.ts';

const crypto = testCrypto(31);
const { provider } = crypto;
const relay = signature(provider);

function established(options: { readonly network?: Network; readonly childless?: number } = {}): Pair {
  const { childlessTimeout: _, ...profile } = anonymousProfile(relay);
  const pair = new Pair({
    initiator: initiatorConfig(provider, relay),
    responder: responderConfig(provider, {
      ...profile,
      ...(options.childless !== undefined && { childlessTimeout: options.childless }),
    }),
  }).run(1000);
  expectEqualSas(pair);
  if (options.network !== undefined) pair.network = options.network;
  return pair;
}

const SIDES = ['initiator', 'responder'] as const;
const informational = (pair: Pair) => pair.sent.filter(({ message }) => message[18] === 37);

describe('deleting', () => {
  it.each(SIDES)('a Child SA, by the %s: each names its own inbound SPI (rule 52)', (side) => {
    const pair = established();
    const { child } = pair[side].event('child-established');
    pair.call(pair[side], (ike, now) => {
      ike.closeChild(pair[side].tunnelId, now);
      ike.closeChild(pair[side].tunnelId, now);
      ike.closeChild('no such tunnel', now);
    });
    pair.run(5000);
    const [request, response, farewell, answer, ...rest] = informational(pair).map(({ message }) =>
      crypto.read(message),
    );
    expect(rest).toEqual([]);
    expect(payloadOf(request, 'DELETE')).toMatchObject({ protocol: 3, spis: [encodeSpi(child.spiIn)] });
    expect(payloadOf(response, 'DELETE')).toMatchObject({ protocol: 3, spis: [encodeSpi(child.spiOut)] });
    // An IKE SA without it is of no use to the initiator.
    expect(payloadOf(farewell, 'DELETE')).toMatchObject({ protocol: 1, spis: [] });
    expect(answer).toEqual([]);
    for (const end of [pair.initiator, pair.responder]) {
      expect(end.eventTypes).toEqual(['established', 'child-established', 'child-closed', 'closed']);
    }
    const ending = side === 'initiator' ? undefined : 'the peer closed the tunnel';
    expect(pair.initiator.ending?.message).toBe(ending);
    expect(pair.responder.ending).toBeUndefined();
    expectNothingLeft(pair);
  });

  it('a Child SA, by the responder, while the initiator waits for something else', () => {
    const pair = established();
    pair.network = ({ from }) => (from === 'initiator' ? [1500] : [20]);
    pair.call(pair.initiator, (ike, now) => ike.checkLiveness(now));
    pair.call(pair.responder, (ike, now) => ike.closeChild(pair.responder.tunnelId, now));
    pair.run(1000);
    expect(pair.initiator.eventTypes).toContain('child-closed');
    expect(pair.initiator.ike.closed).toBe(false);
    pair.run(10_000);
    expect(pair.initiator.ending?.message).toBe('the peer closed the tunnel');
    expectNothingLeft(pair);
  });

  it('a Child SA from both sides at once: the responses name nothing (rule 52)', () => {
    const pair = established();
    for (const side of SIDES) pair.call(pair[side], (ike, now) => ike.closeChild(pair[side].tunnelId, now));
    pair.run(5000);
    const responses = informational(pair)
      .map(({ message }) => crypto.read(message))
      .slice(2, 4);
    expect(responses).toEqual([[], []]);
    for (const end of [pair.initiator, pair.responder]) {
      expect(end.eventTypes).toEqual(['established', 'child-established', 'child-closed', 'closed']);
      expect(end.ending).toBeUndefined();
    }
    expectNothingLeft(pair);
  });

  it.each(SIDES)('the IKE SA, by the %s (rule 52)', (side) => {
    const pair = established();
    pair.call(pair[side], (ike, now) => ike.close(now));
    pair.call(pair[side], (ike, now) => ike.close(now));
    pair.run(5000);
    const [request, response, ...rest] = informational(pair).map(({ message }) => crypto.read(message));
    expect(rest).toEqual([]);
    expect(payloadOf(request, 'DELETE')).toMatchObject({ protocol: 1, spis: [] });
    expect(response).toEqual([]);
    expect(pair.initiator.ending).toBeUndefined();
    expect(pair.responder.ending).toBeUndefined();
    expectNothingLeft(pair);
  });

  it('the IKE SA from both sides at once', () => {
    const pair = established();
    for (const side of SIDES) pair.call(pair[side], (ike, now) => ike.close(now));
    pair.run(5000);
    expect(pair.initiator.ending).toBeUndefined();
    expect(pair.responder.ending).toBeUndefined();
    expectNothingLeft(pair);
  });

  it('a Child SA against the IKE SA, crossing', () => {
    const pair = established();
    pair.call(pair.initiator, (ike, now) => ike.closeChild(pair.initiator.tunnelId, now));
    pair.call(pair.responder, (ike, now) => ike.close(now));
    pair.run(60_000);
    expectNothingLeft(pair);
  });

  it.each([
    ['the Delete', false],
    ['what was asked before it', true],
  ])('ends soon and without an error when nobody answers %s', (_, isBusy) => {
    for (const side of SIDES) {
      const pair = established({ network: () => [] });
      if (isBusy) pair.call(pair[side], (ike, now) => ike.checkLiveness(now));
      const { exchanges } = pair[side].ike;
      pair.call(pair[side], (ike, now) => ike.close(now));
      pair.run(1900);
      expect(pair[side].ike.closed).toBe(false);
      pair.run(200);
      expect(pair[side].ending).toBeUndefined();
      expect(pair[side].store.isEmpty).toBe(true);
      expect(pair[side].ike.exchanges).toBe(exchanges);
    }
  });

  it('waits for an exchange that is under way', () => {
    const pair = established();
    pair.call(pair.initiator, (ike, now) => {
      ike.checkLiveness(now);
      ike.closeChild(pair.initiator.tunnelId, now);
      ike.close(now);
    });
    expect(informational(pair)).toHaveLength(1);
    pair.run(5000);
    expect(informational(pair).map(({ message }) => names(crypto.read(message)))).toEqual([
      [],
      [],
      ['DELETE'],
      [],
    ]);
    expectNothingLeft(pair);
  });

  it('gives the lease back', () => {
    const assigner = pool('10.9.0.4/30');
    const profile = { ...anonymousProfile(relay), assigner };
    const run = () =>
      new Pair({
        initiator: initiatorConfig(provider, relay),
        responder: responderConfig(provider, profile),
      }).run(1000);
    const pairs = Array.from({ length: 4 }, run);
    const assigned = (pair: Pair) => pair.initiator.eventTypes.includes('child-established');
    const holder = pairs.find(assigned)!;
    const count = pairs.filter(assigned).length;
    expect(assigned(run())).toBe(false);
    holder.call(holder.initiator, (ike, now) => ike.close(now));
    holder.run(1000);
    expect(assigned(run())).toBe(true);
    expect(assigned(run())).toBe(false);
    expect(count).toBeLessThan(5);
  });

  it.each(SIDES)('nothing at all, when the %s aborts: it is silent', (side) => {
    const pair = established();
    const before = pair.sent.length;
    pair.call(pair[side], (ike, now) => ike.abort(now));
    pair.run(100);
    expect(pair.sent).toHaveLength(before);
    expect(pair[side].ending).toBeUndefined();
    expect(pair[side].store.isEmpty).toBe(true);
  });
});

describe('liveness', () => {
  it.each(SIDES)('is checked by the %s with an empty exchange', (side) => {
    const pair = established();
    const before = pair[side].ike.exchanges;
    pair.call(pair[side], (ike, now) => {
      ike.checkLiveness(now);
      ike.checkLiveness(now);
    });
    pair.run(5000);
    expect(informational(pair).map(({ message }) => crypto.read(message))).toEqual([[], []]);
    expect(pair[side].ike.exchanges).toBe(before + 1);
    expect(pair[side].ike.nextTimeout).toBeUndefined();
  });

  it.each(SIDES)('fails at the %s after the whole schedule, with what got no answer (rule 3)', (side) => {
    const pair = established({ network: () => [] });
    pair.call(pair[side], (ike, now) => ike.checkLiveness(now));
    pair.run(60_000);
    expect(pair[side].ending).toBeInstanceOf(NoAnswerError);
    expect(pair[side].ending?.message).toContain('INFORMATIONAL');
    const requests = informational(pair).map(({ message }) => hex(message));
    expect(requests).toHaveLength(6);
    expect(new Set(requests).size).toBe(1);
    expect(pair[side].store.isEmpty).toBe(true);
  });

  it('follows a hint, but not every one (rule 92)', () => {
    const pair = established();
    for (let i = 0; i < 5; i++) {
      pair.call(pair.initiator, (ike, now) => ike.hint(now));
      pair.run(1000);
    }
    expect(informational(pair)).toHaveLength(2);
    pair.run(10_000);
    pair.now += 6000;
    pair.call(pair.initiator, (ike, now) => ike.hint(now));
    pair.run(1000);
    expect(informational(pair)).toHaveLength(4);
    expect(pair.initiator.ike.established).toBe(true);
  });

  it('of two ends that ask at once succeeds for both', () => {
    const pair = established();
    for (const side of SIDES) pair.call(pair[side], (ike, now) => ike.checkLiveness(now));
    pair.run(5000);
    expect(informational(pair)).toHaveLength(4);
    expect(pair.initiator.ike.established && pair.responder.ike.established).toBe(true);
  });
});

describe('an IKE SA without a Child SA', () => {
  it('is deleted by the responder after a while', () => {
    const kept = established({ childless: 3000 });
    kept.run(10_000);
    expect(kept.initiator.ike.closed).toBe(false);
    const pair = new Pair({
      initiator: initiatorConfig(provider, relay),
      responder: responderConfig(provider, { ...anonymousProfile(relay), childlessTimeout: 3000 }),
    });
    pair.responderStore.failure = () => 'no memory';
    pair.run(2000);
    expect(pair.initiator.eventTypes).toEqual(['established', 'child-failed']);
    expect(pair.initiator.ike.closed).toBe(false);
    pair.run(2000);
    expect(pair.initiator.ending).toBeUndefined();
    expectNothingLeft(pair);
  });
});
