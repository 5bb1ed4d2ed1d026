import { describe, expect, it } from 'vitest';
import { encodePlain } from '../../src/ike/message.ts';
import { PayloadType } from '../../src/ike/payload/index.ts';
import { defaultChildProposals } from '../../src/ike/proposal.ts';
import type { Millis } from '../../src/link/clock.ts';
import { parsePrefix } from '../../src/wire/address.ts';
import { hex } from '../../src/wire/bytes.ts';
import { prefixSelector } from '../../src/wire/traffic-selector.ts';
import {
  anonymousProfile,
  initiatorConfig,
  mirror,
  responderConfig,
  sharedKey,
  TO_RESPONDER,
} from '../support/ike-configs.ts';
import { type Network, Pair, type PairOptions, type Sent, type Side, testCrypto } from '../support/pair.ts';
import { expectEqualSas, expectNothingLeft } from '../support/pair-assertions.ts';
import { seededUniform } from '../support/seeded-random.ts';

const relay = sharedKey('relay');

interface Sizes {
  /** How long the IKE_AUTH request gets: proposals beyond the first few are only there to fill it. */
  readonly proposals?: number;
  /** How long the response gets. */
  readonly selectors?: number;
  readonly fragmentation?: boolean;
  readonly pathMtu?: number;
  readonly halfOpenTimeout?: Millis;
}

function make(seed: number, sizes: Sizes = {}, options: Partial<PairOptions> = {}): Pair {
  const { proposals = 60, selectors = 100, fragmentation = true, pathMtu, halfOpenTimeout = 30_000 } = sizes;
  const { provider } = testCrypto(seed);
  const known = pathMtu === undefined ? {} : { pathMtu };
  return new Pair({
    initiator: {
      ...initiatorConfig(provider, relay),
      ...known,
      childProposals: Array.from({ length: proposals }, () => defaultChildProposals[0]),
      fragmentation,
    },
    responder: {
      ...responderConfig(provider, {
        ...anonymousProfile(relay),
        tsLocal: Array.from({ length: selectors }, (_, i) => prefixSelector(parsePrefix(`10.${i}.0.0/17`))),
      }),
      ...known,
      halfOpenTimeout,
    },
    ...options,
  });
}

const isFragment = ({ message }: Pick<Sent, 'message'>) => message[16] === PayloadType.SKF;
const numberOf = (message: Uint8Array) => new DataView(message.buffer).getUint16(32);
const numbers = (messages: readonly Sent[]) => messages.map(({ message }) => numberOf(message));
const from = (pair: Pair, side: Side, exchange = 35) =>
  pair.sent.filter((sent) => sent.from === side && sent.message[18] === exchange);

describe('IKE fragmentation', () => {
  it('carries requests and responses that are too long for a packet (rule 78) (rule 81)', () => {
    const pair = make(1).run(1000);
    expectEqualSas(pair);
    for (const side of ['initiator', 'responder'] as const) {
      const sent = from(pair, side);
      expect(sent.length).toBeGreaterThan(3);
      expect(sent.every(isFragment)).toBe(true);
      expect(numbers(sent)).toEqual(sent.map((_, i) => i + 1));
      expect(Math.max(...sent.map(({ message }) => message.length))).toBe(576 - 28);
    }
    // Short messages stay whole.
    pair.call(pair.initiator, (ike, now) => ike.checkLiveness(now));
    pair.run(1000);
    expect(from(pair, 'initiator', 37)).toHaveLength(1);
    expect(from(pair, 'responder', 37)).toHaveLength(1);
    expect(pair.sent.filter((sent) => sent.message[18] === 37).some(isFragment)).toBe(false);
  });

  it('makes packets as long as the path is known to carry (rule 79)', () => {
    const pair = make(2, { pathMtu: 1390 }).run(1000);
    expectEqualSas(pair);
    for (const side of ['initiator', 'responder'] as const) {
      expect(Math.max(...from(pair, side).map(({ message }) => message.length))).toBe(1390 - 28);
    }
  });

  it('is used by neither unless both have said that they do it (rule 77)', () => {
    const pair = make(3, { fragmentation: false }).run(1000);
    expectEqualSas(pair);
    expect(pair.sent.some(isFragment)).toBe(false);
    for (const { message } of pair.sent.slice(0, 2)) expect(hex(message)).not.toContain('000000080000402e');
  });

  it('is offered with an empty notify, and answered by everybody who is asked (rule 77)', () => {
    const pair = make(4).run(1000);
    for (const { message } of pair.sent.slice(0, 2)) expect(hex(message)).toContain('000000080000402e');
  });

  it('never cuts IKE_SA_INIT, nor takes it in pieces (rule 77)', () => {
    const pair = make(5, {}, { network: () => [] }).run(10);
    const [{ message }] = pair.sent;
    expect(message[16]).toBe(PayloadType.SA);
    const spiI = message.slice(0, 8);
    const flags = { initiator: true, response: false };
    const piece = encodePlain({ spiI, spiR: new Uint8Array(8), exchangeType: 34, messageId: 0, flags }, [
      { kind: 'UNKNOWN', type: PayloadType.SKF, critical: false, data: message.slice(28) },
    ]);
    pair.deliverToResponder(piece);
    expect(pair.responders).toEqual([]);
    expect(pair.sent).toHaveLength(1);
  });

  it('answers a whole request whole, unless the answer is longer than any packet (rule 81)', () => {
    const short = make(6, { proposals: 2, selectors: 40 }).run(1000);
    expectEqualSas(short);
    const [answer] = from(short, 'responder');
    expect(from(short, 'responder')).toHaveLength(1);
    expect(answer.message.length).toBeGreaterThan(600);
    expect(isFragment(answer)).toBe(false);
    const long = make(7, { proposals: 2, selectors: 150 }).run(1000);
    expectEqualSas(long);
    expect(from(long, 'initiator').some(isFragment)).toBe(false);
    expect(from(long, 'responder').every(isFragment)).toBe(true);
  });

  it('sends the response again for the first fragment of its request only (rule 9)', () => {
    const pair = make(8).run(1000);
    const request = from(pair, 'initiator');
    const answer = from(pair, 'responder').map(({ message }) => message);
    const before = pair.sent.length;
    for (const { message } of request.slice(1)) pair.deliverToResponder(message);
    expect(pair.sent).toHaveLength(before);
    const elsewhere = { ...mirror(TO_RESPONDER), port: 61_000 };
    pair.deliverToResponder(request[0].message, elsewhere);
    expect(pair.sent.slice(before).map(({ message }) => message)).toEqual(answer);
    expect(pair.sent.at(-1)!.to).toEqual(elsewhere);
    expect(pair.responder.eventTypes.filter((type) => type === 'child-established')).toHaveLength(1);
  });

  it('sends every fragment again, octet for octet (rule 3)', () => {
    const pair = make(9, {}, { network: ({ message }) => (message[18] === 34 ? [20] : []) }).run(3000);
    const sent = from(pair, 'initiator').map(({ message }) => hex(message));
    const [first] = numbers(from(pair, 'initiator'));
    expect(first).toBe(1);
    const round = numbers(from(pair, 'initiator')).indexOf(1, 1);
    expect(sent.length).toBeGreaterThanOrEqual(2 * round);
    expect(sent.slice(round, 2 * round)).toEqual(sent.slice(0, round));
    pair.network = () => [20];
    pair.run(10_000);
    expectEqualSas(pair);
  });

  it('needs each fragment once only, from whichever transmission', () => {
    // Each transmission loses all of its fragments but one.
    let round = 0;
    let last = 0;
    const network: Network = ({ message, from: side }) => {
      if (!isFragment({ message }) || side === 'responder') return [20];
      const number = numberOf(message);
      if (number < last) round++;
      last = number;
      return number === round + 1 ? [20] : [];
    };
    const pair = make(10, { proposals: 30 }, { network }).run(60_000);
    expect(round).toBeGreaterThan(2);
    expectEqualSas(pair);
  });

  it('survives loss, repetition and reordering', () => {
    let connected = 0;
    for (let seed = 1; seed <= 40; seed++) {
      const uniform = seededUniform(seed);
      const network: Network = () => {
        const copies = uniform() < (seed % 4) * 0.1 ? 0 : uniform() < 0.3 ? 2 : 1;
        return Array.from({ length: copies }, () => 5 + Math.floor(uniform() * 1500));
      };
      const pair = make(seed, {}, { network }).run(120_000);
      if (pair.initiator.ike.established) {
        connected++;
        expectEqualSas(
          pair,
          pair.responders.find(({ ike }) => ike.established),
        );
        pair.call(pair.initiator, (ike, now) => ike.close(now));
        pair.run(120_000);
      }
      for (const end of pair.responders) pair.call(end, (ike, now) => ike.checkLiveness(now));
      pair.run(120_000);
      for (const end of pair.responders) if (!end.ike.closed) pair.call(end, (ike, now) => ike.abort(now));
      expectNothingLeft(pair);
    }
    expect(connected).toBeGreaterThan(20);
  });
});

describe('a message that stays incomplete', () => {
  /** Only `numbers` of the request's fragments arrive, and nothing is sent again in the time that the test looks at. */
  const partial = (seed: number, arrive: (number: number) => boolean) => {
    const network: Network = ({ message, from: side }) =>
      side === 'responder' || !isFragment({ message }) || arrive(numberOf(message)) ? [20] : [];
    const pair = make(seed, { halfOpenTimeout: 100_000 }, { network }).run(100);
    pair.network = ({ from: side }) => (side === 'responder' ? [20] : []);
    return { pair, request: from(pair, 'initiator').map(({ message }) => message) };
  };

  it('is forgotten after a while, which is no failure of the IKE SA (rule 82)', () => {
    const early = partial(11, (number) => number !== 2);
    expect(early.pair.responder.ike.nextTimeout).toBeLessThan(31_000);
    early.pair.run(20_000);
    early.pair.deliverToResponder(early.request[1]);
    expect(early.pair.run(100).responder.ike.established).toBe(true);
    const late = partial(12, (number) => number !== 2);
    late.pair.run(35_000);
    expect(late.pair.responder.ike.nextTimeout).toBeGreaterThan(90_000);
    late.pair.deliverToResponder(late.request[1]);
    expect(late.pair.run(100).responder.ike.established).toBe(false);
    for (const fragment of late.request) late.pair.deliverToResponder(fragment);
    expect(late.pair.run(100).responder.ike.established).toBe(true);
  });

  it('is nothing that a repeated fragment makes suspect', () => {
    const { pair, request } = partial(14, (number) => number !== 2);
    pair.deliverToResponder(request[1 + 1]);
    expect(pair.responder.ike.sawForgery).toBe(false);
    const forged = request[1].slice();
    forged[40] ^= 1;
    pair.deliverToResponder(forged);
    expect(pair.responder.ike.sawForgery).toBe(true);
  });

  it('is not begun by fragments with a wrong ICV, however many (rule 80)', () => {
    const { pair, request } = partial(13, () => false);
    const before = pair.responder.ike.nextTimeout;
    for (let i = 0; i < 5000; i++) {
      const forged = request[i % request.length].slice();
      new DataView(forged.buffer).setUint16(34, 2 + (i % 190));
      forged[40] ^= 1 + (i % 255);
      pair.deliverToResponder(forged);
    }
    // Nothing waits for the rest of a message.
    expect(pair.responder.ike.nextTimeout).toBe(before);
    expect(pair.responder.events).toEqual([]);
    for (const fragment of request) pair.deliverToResponder(fragment);
    expect(pair.run(100).responder.ike.established).toBe(true);
  });
});
