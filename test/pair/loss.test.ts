import { describe, expect, it } from 'vitest';
import { NoAnswerError } from '../../src/ike/errors.ts';
import { defaultIkeProposals } from '../../src/ike/proposal.ts';
import { hex } from '../../src/wire/bytes.ts';
import {
  anonymousProfile,
  initiatorConfig,
  mirror,
  responderConfig,
  sharedKey,
  TO_RESPONDER,
} from '../support/ike-configs.ts';
import { type Network, Pair, type PairOptions, testCrypto } from '../support/pair.ts';
import { expectEqualSas, expectNothingLeft } from '../support/pair-assertions.ts';
import { seededUniform } from '../support/seeded-random.ts';

// A shared key relay: signatures would only make these many runs slow.
const relay = sharedKey('relay');
const SEEDS = 60;

/** Loses, repeats, delays and so reorders, as `seed` has it. */
function rough(seed: number, loss: number): Network {
  const uniform = seededUniform(seed);
  return () => {
    const copies = uniform() < loss ? 0 : uniform() < 0.3 ? 2 : 1;
    return Array.from({ length: copies }, () => 5 + Math.floor(uniform() * 1500));
  };
}

function make(seed: number, options: Partial<PairOptions> = {}, groups = defaultIkeProposals): Pair {
  const { provider } = testCrypto(seed);
  return new Pair({
    initiator: initiatorConfig(provider, relay),
    responder: { ...responderConfig(provider, anonymousProfile(relay)), ikeProposals: groups },
    ...options,
  });
}

/** Retransmissions are octet for octet the first transmission: one form for each request and each response. */
function expectIdenticalRepetitions(pair: Pair): void {
  const forms = new Map<string, Set<string>>();
  for (const { from, message } of pair.sent) {
    if (message[18] === 34) continue;
    const key = `${from} ${hex(message.subarray(0, 24))}`;
    forms.set(key, (forms.get(key) ?? new Set()).add(hex(message)));
  }
  for (const messages of forms.values()) expect(messages.size).toBe(1);
}

describe('a network that loses, repeats and reorders', () => {
  const p256 = defaultIkeProposals.map(({ transforms }) => ({
    transforms: transforms.filter(({ type, id }) => type !== 4 || id === 19),
  }));

  it.each([
    ['plainly', 100, defaultIkeProposals],
    ['with cookies', 0, defaultIkeProposals],
    ['with cookies and another group', 0, p256],
  ] as const)('leaves equal SAs or nothing, %s', (_, cookieThreshold, groups) => {
    let connected = 0;
    for (let seed = 1; seed <= SEEDS; seed++) {
      const pair = make(seed, { network: rough(seed, 0.1 + (seed % 4) * 0.1), cookieThreshold }, groups);
      pair.run(120_000);
      expectIdenticalRepetitions(pair);
      if (pair.initiator.ike.established) {
        connected++;
        const { spiOut } = pair.initiator.event('child-established').child;
        const peers = pair.responders.filter(({ ike }) => ike.established);
        expect(peers).toHaveLength(1);
        expect(peers[0].event('child-established').child.spiIn).toBe(spiOut);
        expectEqualSas(pair, peers[0]);
        expect([pair.initiator.store.inbound.size, pair.responderStore.inbound.size]).toEqual([1, 1]);
        pair.call(pair.initiator, (ike, now) => ike.close(now));
        pair.run(120_000);
      }
      // What the initiator gave up at the end, the responder notices by a liveness check of its own.
      for (const end of pair.responders) pair.call(end, (ike, now) => ike.checkLiveness(now));
      pair.run(120_000);
      for (const end of pair.responders) {
        if (!end.ike.closed) pair.call(end, (ike, now) => ike.abort(now));
      }
      expectNothingLeft(pair);
    }
    expect(connected).toBeGreaterThan(SEEDS / 2);
  });
});

describe('the response to a request', () => {
  it('is sent again for the identical request only, to where that came from (rules 3, 4, 73) (bad input 4)', () => {
    const pair = make(3).run(1000);
    const auth = pair.sent.find(({ from, message }) => from === 'initiator' && message[18] === 35)!.message;
    const answer = pair.sent.find(({ from, message }) => from === 'responder' && message[18] === 35)!.message;
    const before = pair.sent.length;
    const log = pair.responderStore.log.length;
    const elsewhere = { ...mirror(TO_RESPONDER), port: 61_000 };
    pair.deliverToResponder(auth, elsewhere);
    expect(pair.sent).toHaveLength(before + 1);
    expect(pair.sent[before].message).toEqual(answer);
    expect(pair.sent[before].to).toEqual(elsewhere);
    const other = auth.slice();
    other[other.length - 1] ^= 1;
    pair.deliverToResponder(other);
    expect(pair.sent).toHaveLength(before + 1);
    expect(pair.responderStore.log).toHaveLength(log);
    expect(pair.responder.ike.established).toBe(true);
  });

  it('of IKE_SA_INIT is sent again until IKE_AUTH has come, and not after', () => {
    const pair = make(4, { network: ({ message }) => (message[18] === 34 ? [20] : []) }).run(100);
    const request = pair.sent[0].message;
    const before = pair.sent.length;
    pair.deliverToResponder(request);
    expect(pair.sent).toHaveLength(before + 1);
    expect(pair.sent[before].message).toEqual(pair.sent[1].message);
    expect(pair.responders).toHaveLength(1);
    pair.network = () => [20];
    pair.run(5000);
    const settled = pair.sent.length;
    const { ike } = pair.responder;
    ike.handleDatagram(request, mirror(TO_RESPONDER), pair.now);
    expect(ike.poll()).toBeUndefined();
    expect(pair.sent).toHaveLength(settled);
  });
});

describe('a responder that waits for IKE_AUTH', () => {
  /** Nothing but IKE_SA_INIT requests gets through until `until`. */
  const deaf = (until: number) =>
    make(5, { network: ({ from, at }) => (from === 'initiator' && at < until ? [20] : []) });

  it('waits as long as the request is repeated', () => {
    const pair = deaf(40_000);
    pair.run(10);
    const request = pair.sent[0].message;
    for (let i = 0; i < 4; i++) {
      pair.deliverToResponder(request);
      pair.run(25_000);
      expect(pair.responders).toHaveLength(1);
      expect(pair.responder.ike.closed).toBe(false);
    }
  });

  it('forgets an initiator that is silent', () => {
    const pair = deaf(10);
    pair.run(29_000);
    expect(pair.responder.ike.closed).toBe(false);
    pair.run(2_000);
    expect(pair.responder.ending).toBeInstanceOf(NoAnswerError);
  });
});
