import { describe, expect, it } from 'vitest';
import { KeyExchangeMethod } from '../../src/crypto/transforms.ts';
import type { Proposal } from '../../src/ike/config.ts';
import { NotifyType } from '../../src/ike/constants.ts';
import { notify } from '../../src/ike/payload/index.ts';
import { Duel, type DuelOptions, type InFlight, type Side } from '../support/duel.ts';
import { transforms } from '../support/transforms-text.ts';
import { draw, expectNothing, expectOneIkeSa, type Nonces, rekey } from './expectations.ts';

const { CURVE25519, ECP_256, ECP_384 } = KeyExchangeMethod;
const proposal = (text: string): Proposal => ({ transforms: transforms(`ENCR 20/256, PRF 5, ${text}`) });
const SINGLE = proposal(`KE ${CURVE25519}`);
const MULTIPLE = proposal(`KE ${CURVE25519}, ADDKE1 ${ECP_384}`);
const MULTI_KE = both([MULTIPLE], [MULTIPLE]);

function both(initiator: readonly Proposal[], responder: readonly Proposal[]): DuelOptions {
  return { initiator: { ikeProposals: initiator }, responder: { ikeProposals: responder } };
}

const EITHER: readonly {
  readonly one: Side;
  readonly other: Side;
  readonly kept: readonly [number, number];
}[] = [
  { one: 'a', other: 'b', kept: [3, 4] },
  { one: 'b', other: 'a', kept: [4, 3] },
];

const OLD = [1, 2] as const;
const NEXT_KE = { ike: OLD, exchange: 'IKE_FOLLOWUP_KE', names: ['KE', 'N(ADDITIONAL_KEY_EXCHANGE)'] };
const LAST_KE = { ike: OLD, exchange: 'IKE_FOLLOWUP_KE', response: true, names: ['KE'] };

// A's request is N1 and IKE SPI 3, B's N2 and 4; B answers A with N3 and 5, A answers B with N4 and 6.
interface Row {
  readonly lowest: string;
  readonly nonces: Nonces;
  readonly winner: Side;
  readonly loser: Side;
  readonly keptAtA: number;
  readonly keptAtB: number;
}

const B_WINS = { winner: 'b', loser: 'a', keptAtA: 6, keptAtB: 4 } as const;
const A_WINS = { winner: 'a', loser: 'b', keptAtA: 3, keptAtB: 5 } as const;
const ROWS: readonly Row[] = [
  { lowest: 'N1', nonces: [0x00, 0xff, 0xff, 0xff], ...B_WINS },
  { lowest: 'N2', nonces: [0xff, 0x00, 0xff, 0xff], ...A_WINS },
  { lowest: 'N3', nonces: [0xff, 0xff, 0x00, 0xff], ...B_WINS },
  { lowest: 'N4', nonces: [0xff, 0xff, 0xff, 0x00], ...A_WINS },
];

const only = (spi: number) => ({ all: [spi], current: spi });

describe('an IKE SA is rekeyed with additional key exchanges (RFC 9370 2.2.4)', () => {
  it.each(EITHER)('scenario: ike rekey: multi ke ($one rekeys)', ({ one, other, kept }) => {
    const duel = new Duel(MULTI_KE);
    const [old, oldOther] = one === 'a' ? [1, 2] : [2, 1];
    rekey(duel, one);
    expect(duel.deliver(other).names).toEqual(['SA', 'NONCE', 'KE']);
    expect(duel.ikeSas(other)).toEqual(only(oldOther));
    expect(duel.deliver(one).names).toEqual(['SA', 'NONCE', 'KE', 'N(ADDITIONAL_KEY_EXCHANGE)']);
    expect(duel.ikeSas(one)).toEqual(only(old));
    expect(duel.deliver(other)).toMatchObject(NEXT_KE);
    expect(duel.ikeSas(other)).toEqual({ all: [oldOther, 4], current: 4 });
    expect(duel.deliver(one)).toMatchObject(LAST_KE);
    expect(duel.ikeSas(one)).toEqual({ all: [old, 3], current: 3 });
    expect(duel.deliver(other)).toMatchObject({ ike: OLD, names: ['DELETE'] });
    duel.deliver(one);
    expectOneIkeSa(duel, ...kept);
  });

  it.each(EITHER)(
    'scenario: ike rekey: ke invalid multi ke ($one rekeys) (rule 15)',
    ({ one, other, kept }) => {
      const [ofA, ofB] = [[MULTIPLE], [MULTIPLE]];
      const duel = new Duel(both(ofA, ofB));
      const [mine, theirs] = one === 'a' ? [ofA, ofB] : [ofB, ofA];
      mine[0] = proposal(`KE ${CURVE25519}, KE ${ECP_256}, ADDKE1 ${ECP_384}`);
      theirs[0] = proposal(`KE ${ECP_256}, ADDKE1 ${ECP_384}`);
      rekey(duel, one);
      duel.deliver(other);
      expect(duel.deliver(one).names).toEqual(['N(INVALID_KE_PAYLOAD)']);
      duel.deliver(other);
      duel.deliver(one);
      expect(duel.deliver(other)).toMatchObject(NEXT_KE);
      expect(duel.deliver(one)).toMatchObject(LAST_KE);
      duel.settle();
      expectOneIkeSa(duel, ...kept);
    },
  );
});

/** The request on its way to B, as if it went on with what B does not remember. */
function forgotten(duel: Duel): InFlight {
  const flight = duel.take('b');
  const [ke] = duel.read(flight).payloads;
  return duel.rewrite(flight, [ke]);
}

it('tries again to rekey an IKE SA if the peer does not remember what was begun', () => {
  const duel = new Duel(MULTI_KE);
  rekey(duel, 'a');
  duel.deliver('b');
  duel.deliver('a');
  duel.deliver('b', forgotten(duel));
  expect(duel.deliver('a').names).toEqual(['N(STATE_NOT_FOUND)']);
  expect(duel.ikeSas('a')).toEqual(only(1));
  duel.advance(10_000);
  duel.settle();
  expectOneIkeSa(duel, 5, 6);
});

describe('two rekeys of one IKE SA at the same time, with additional key exchanges', () => {
  /** Both have asked and both have answered; the responses are on their way. */
  function collide(nonces: Nonces): Duel {
    const duel = new Duel(MULTI_KE);
    draw(duel, nonces[0], () => rekey(duel, 'a'));
    draw(duel, nonces[1], () => rekey(duel, 'b'));
    draw(duel, nonces[2], () => duel.deliver('b'));
    draw(duel, nonces[3], () => duel.deliver('a'));
    expect([duel.ikeSas('a'), duel.ikeSas('b')]).toEqual([only(1), only(2)]);
    return duel;
  }

  it.each(ROWS)(
    'scenario: ike rekey: collision multi ke ($lowest is the lowest nonce) (rules 65, 66)',
    ({ nonces, winner, loser, keptAtA, keptAtB }) => {
      const duel = collide(nonces);
      duel.deliver('a');
      duel.deliver('b');
      expect([duel.ikeSas('a'), duel.ikeSas('b')]).toEqual([only(1), only(2)]);
      expect(duel.pending(winner)).toEqual([]);
      expect(duel.deliver(loser)).toMatchObject(NEXT_KE);
      expect(duel.ikeSas(loser).current).toBe(loser === 'a' ? keptAtA : keptAtB);
      expect(duel.deliver(winner)).toMatchObject(LAST_KE);
      expect(duel.ikeSas(winner).current).toBe(winner === 'a' ? keptAtA : keptAtB);
      expect(duel.deliver(loser)).toMatchObject({ ike: OLD, names: ['DELETE'] });
      duel.deliver(winner);
      expectOneIkeSa(duel, keptAtA, keptAtB);
    },
  );

  /** The same, but only A asks for additional key exchanges: what B asks for is made at once. */
  function collideMixed(nonces: Nonces): Duel {
    const [ofA, ofB] = [[MULTIPLE], [MULTIPLE]];
    const duel = new Duel(both(ofA, ofB));
    ofB[0] = SINGLE;
    draw(duel, nonces[0], () => rekey(duel, 'a'));
    draw(duel, nonces[1], () => rekey(duel, 'b'));
    // Each accepts what the other offers.
    ofA[0] = SINGLE;
    ofB[0] = MULTIPLE;
    draw(duel, nonces[2], () => duel.deliver('b'));
    expect(duel.ikeSas('b')).toEqual(only(2));
    draw(duel, nonces[3], () => duel.deliver('a'));
    expect(duel.ikeSas('a')).toEqual({ all: [1, 6], current: 1 });
    ofA[0] = MULTIPLE;
    return duel;
  }

  it.each(ROWS)(
    'scenario: ike rekey: mixed ($lowest is the lowest nonce) (rules 65, 66)',
    ({ nonces, winner, keptAtA, keptAtB }) => {
      const duel = collideMixed(nonces);
      duel.deliver('a');
      expect(duel.ikeSas('a')).toEqual({ all: [1, 6], current: winner === 'a' ? 1 : 6 });
      duel.deliver('b');
      if (winner === 'a') {
        expect(duel.ikeSas('b')).toEqual({ all: [2, 4], current: 2 });
        expect(duel.deliver('b')).toMatchObject(NEXT_KE);
        expect(duel.ikeSas('b').current).toBe(5);
        expect(duel.deliver('a')).toMatchObject({ ike: [4, 6], names: ['DELETE'] });
        expect(duel.deliver('a')).toMatchObject(LAST_KE);
        expect(duel.ikeSas('a').current).toBe(3);
      } else {
        expect(duel.ikeSas('b')).toEqual({ all: [2, 4], current: 4 });
        expect(duel.deliver('a')).toMatchObject({ ike: OLD, names: ['DELETE'] });
      }
      duel.settle();
      expectOneIkeSa(duel, keptAtA, keptAtB);
    },
  );

  it('does not turn to the one that has lost if the other comes to nothing', () => {
    const [nonces] = ROWS.filter(({ winner }) => winner === 'a').map((row) => row.nonces);
    const duel = collideMixed(nonces);
    duel.deliver('a');
    duel.deliver('b');
    duel.deliver('b', forgotten(duel));
    const deletion = duel.take('a');
    expect(duel.deliver('a').names).toEqual(['N(STATE_NOT_FOUND)']);
    expect(duel.deliver('a', deletion)).toMatchObject({ ike: [4, 6], names: ['DELETE'] });
    duel.settle();
    expect([duel.ikeSas('a'), duel.ikeSas('b')]).toEqual([only(1), only(2)]);
    duel.advance(10_000);
    duel.settle();
    expectOneIkeSa(duel, 7, 8);
  });

  // B has won and goes on before A has B's response.
  const LATE = ROWS.filter(({ winner }) => winner === 'b').flatMap((row) =>
    (['after the key exchange', 'after the Delete'] as const).map((when) => ({ ...row, when })),
  );
  it.each(LATE)(
    'scenario: ike rekey: delayed response multi ke ($lowest is the lowest nonce, $when)',
    ({ nonces, when, keptAtA, keptAtB }) => {
      const duel = collide(nonces);
      const response = duel.take('a');
      duel.deliver('b');
      expect(duel.deliver('a')).toMatchObject(NEXT_KE);
      expect(duel.ikeSas('a')).toEqual({ all: [1, 6], current: 1 });
      expect(duel.deliver('b')).toMatchObject(LAST_KE);
      expect(duel.ikeSas('b')).toEqual({ all: [2, 4], current: 4 });
      if (when === 'after the key exchange') {
        duel.deliver('a', response);
        expect(duel.ikeSas('a')).toEqual({ all: [1, 6], current: 6 });
      }
      expect(duel.deliver('a')).toMatchObject({ ike: OLD, names: ['DELETE'] });
      expect(duel.ikeSas('a')).toEqual(only(6));
      if (when === 'after the Delete') duel.deliver('a', response);
      duel.deliver('b');
      expectOneIkeSa(duel, keptAtA, keptAtB);
    },
  );

  // B does not notice: A's request reaches it when it is going on with its own.
  const UNNOTICED = [
    { lowest: 'N1', nonces: [0x00, 0xff, 0xff] },
    { lowest: 'N2', nonces: [0xff, 0x00, 0xff] },
    { lowest: 'N3', nonces: [0xff, 0xff, 0x00] },
  ].flatMap((row) => (['before the Delete', 'after the Delete'] as const).map((when) => ({ ...row, when })));
  it.each(UNNOTICED)(
    'scenario: ike rekey: delayed request multi ke ($lowest is the lowest nonce, refused $when) (rule 67)',
    ({ nonces, when }) => {
      const duel = new Duel(MULTI_KE);
      draw(duel, nonces[0], () => rekey(duel, 'a'));
      const request = duel.take('b');
      draw(duel, nonces[1], () => rekey(duel, 'b'));
      draw(duel, nonces[2], () => duel.deliver('a'));
      duel.deliver('b');
      duel.deliver('b', request);
      expect(duel.deliver('a')).toMatchObject(NEXT_KE);
      expect(duel.ikeSas('a')).toEqual({ all: [1, 5], current: 1 });
      const refusal = duel.take('a');
      expect(duel.read(refusal).names).toEqual(['N(TEMPORARY_FAILURE)']);
      if (when === 'before the Delete') {
        duel.deliver('a', refusal);
        expect(duel.ikeSas('a')).toEqual({ all: [1, 5], current: 5 });
      }
      expect(duel.deliver('b')).toMatchObject(LAST_KE);
      expect(duel.ikeSas('b')).toEqual({ all: [2, 4], current: 4 });
      expect(duel.deliver('a')).toMatchObject({ ike: OLD, names: ['DELETE'] });
      expect(duel.ikeSas('a')).toEqual(only(5));
      if (when === 'after the Delete') duel.deliver('a', refusal);
      duel.deliver('b');
      expectOneIkeSa(duel, 5, 4);
      duel.advance(60_000);
      expectOneIkeSa(duel, 5, 4);
    },
  );

  it.each(EITHER)(
    'scenario: ike rekey: delete multi ke ($one rekeys, $other deletes) (rule 67)',
    ({ one, other }) => {
      const duel = new Duel(MULTI_KE);
      rekey(duel, one);
      duel.deliver(other);
      duel.deliver(one);
      duel.call(other, (ike, now) => ike.close(now));
      expect(duel.deliver(other)).toMatchObject(NEXT_KE);
      expect(duel.deliver(one)).toMatchObject({ ike: OLD, names: ['DELETE'] });
      expect(duel.read(duel.pending(one)[0]).names).toEqual(['N(TEMPORARY_FAILURE)']);
      duel.settle();
      expectNothing(duel);
    },
  );

  it.each(EITHER)('$one does not go on with it once it is closing the IKE SA', ({ one, other }) => {
    const duel = new Duel(MULTI_KE);
    rekey(duel, one);
    duel.deliver(other);
    duel.call(one, (ike, now) => ike.close(now));
    duel.deliver(one);
    expect(duel.deliver(other)).toMatchObject({ ike: OLD, names: ['DELETE'] });
    duel.settle();
    expectNothing(duel);
  });

  /** Both have asked: A's is made at once, and B's needs more key exchanges. */
  function collideAtOnce(): Duel {
    const [ofA, ofB] = [[MULTIPLE], [MULTIPLE]];
    const duel = new Duel(both(ofA, ofB));
    ofA[0] = SINGLE;
    draw(duel, 0x00, () => rekey(duel, 'a'));
    draw(duel, 0xff, () => rekey(duel, 'b'));
    // Each accepts what the other offers.
    ofB[0] = SINGLE;
    duel.deliver('b');
    ofA[0] = MULTIPLE;
    duel.deliver('a');
    return duel;
  }

  it.each([
    ['has key exchanges left', () => collide([0x00, 0xff, 0xff, 0xff])],
    ['was made at once', collideAtOnce],
  ])('who has lost rekeys anew if the other is never ended (ours %s)', (_, lose) => {
    const duel = lose();
    duel.deliver('a');
    const asks = () =>
      duel
        .pending('b')
        .map((flight) => duel.read(flight))
        .filter(({ exchange, response }) => exchange === 'CREATE_CHILD_SA' && !response);
    // B gives up, which A cannot know: it waits as long as B may take.
    while (duel.pending('b').length > 0) duel.take('b');
    duel.advance(180_000);
    expect(asks()).toEqual([]);
    duel.advance(10_000);
    expect(asks()[0]).toMatchObject({ ike: OLD, names: ['SA', 'NONCE', 'KE'] });
  });

  it('ends the disagreement with a peer that has refused for long, and then rekeys by itself', () => {
    const patient = { first: 500, factor: 2, cap: 60_000, tries: 20 };
    const config = { ikeProposals: [MULTIPLE], retransmission: patient };
    const duel = new Duel({ initiator: config, responder: config });
    rekey(duel, 'a');
    while (duel.now < 280_000) {
      const request = duel.take('b');
      while (duel.pending('b').length > 0) duel.take('b');
      duel.deliver('b', request);
      duel.deliver('a', duel.rewrite(duel.take('a'), [notify(NotifyType.TEMPORARY_FAILURE)]));
      draw(duel, 0x00, () => duel.advance(10_000));
    }
    const request = duel.take('b');
    while (duel.pending('b').length > 0) duel.take('b');
    draw(duel, 0xff, () => rekey(duel, 'b'));
    duel.deliver('b', request);
    duel.deliver('a');
    duel.deliver('a');
    duel.deliver('b');
    const nextKe = duel.take('a');
    duel.advance(30_000);
    expect(duel.deliver('a', nextKe)).toMatchObject(NEXT_KE);
    duel.settle();
    for (const host of [duel.a, duel.b]) expect(host.eventTypes.slice(2)).toContain('rekeyed');
    expect(duel.a.ike.established).toBe(true);
  });
});
