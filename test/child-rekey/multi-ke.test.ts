import { describe, expect, it } from 'vitest';
import { KeyExchangeMethod } from '../../src/crypto/transforms.ts';
import type { Proposal } from '../../src/ike/config.ts';
import { Duel, type DuelOptions, type Side } from '../support/duel.ts';
import {
  close,
  EITHER,
  expectClosed,
  expectKept,
  news,
  proposal,
  rekey,
  THREE_NONCES,
  withAdditional,
} from './steps.ts';

const { CURVE25519, ECP_256 } = KeyExchangeMethod;
const SINGLE = proposal(CURVE25519);
const MULTIPLE = withAdditional(SINGLE);
const MULTI_KE = both([MULTIPLE], [MULTIPLE]);

function both(initiator: readonly Proposal[], responder: readonly Proposal[]): DuelOptions {
  return { initiator: { childProposals: initiator }, responder: { childProposals: responder } };
}

/** What a message is: its exchange, and whether it has a KE payload and asks for more of them. */
const NEXT_KE = { exchange: 'IKE_FOLLOWUP_KE', response: false, names: ['KE', 'N(ADDITIONAL_KEY_EXCHANGE)'] };
const LAST_KE = { exchange: 'IKE_FOLLOWUP_KE', response: true, names: ['KE'] };

// A's request is N1 and SPI 3, B's N2 and 4; B answers A with N3 and 5, A answers B with N4 and 6. Who has the better nonces
// goes on, and the other has nothing to delete: no SA of its own has been made.
const B_WINS = { winner: 'b', loser: 'a', old: 2, keptAtA: 6, keptAtB: 4 } as const;
const A_WINS = { winner: 'a', loser: 'b', old: 1, keptAtA: 3, keptAtB: 5 } as const;
const ROWS = [
  { lowest: 'N1', nonces: [0x00, 0xff, 0xff, 0xff], ...B_WINS },
  { lowest: 'N2', nonces: [0xff, 0x00, 0xff, 0xff], ...A_WINS },
  { lowest: 'N3', nonces: [0xff, 0xff, 0x00, 0xff], ...B_WINS },
  { lowest: 'N4', nonces: [0xff, 0xff, 0xff, 0x00], ...A_WINS },
] as const;

const sorted = (...numbers: number[]) => numbers.sort((x, y) => x - y);

function start(duel: Duel, nonces: readonly number[]): Duel {
  duel.nonce = nonces[0];
  rekey(duel, 'a');
  duel.nonce = nonces[1];
  rekey(duel, 'b');
  return duel;
}

/** The additional key exchange of the one who rekeys: the SPIs that the two have installed after each message. */
function goOn(duel: Duel, one: Side, other: Side): void {
  expect(duel.deliver(other)).toMatchObject(NEXT_KE);
  expect(duel.deliver(one)).toMatchObject(LAST_KE);
}

describe('a Child SA is rekeyed with additional key exchanges (RFC 9370 2.2.4)', () => {
  it.each(EITHER)(
    'scenario: child rekey: regular multi ke ($one rekeys)',
    ({ one, other, spiOne, spiOther }) => {
      const duel = new Duel(MULTI_KE);
      rekey(duel, one);
      expect(duel.deliver(other).names).toContain('KE');
      expect(duel[other].installed).toEqual([1, 2]);
      expect(duel[other].reserved).toEqual([4]);
      expect(duel.deliver(one).names).toContain('N(ADDITIONAL_KEY_EXCHANGE)');
      expect(duel[one].installed).toEqual([1, 2]);
      expect(duel.deliver(other)).toMatchObject(NEXT_KE);
      expect(duel[other].installed).toEqual([1, 2, 4]);
      expect(duel.deliver(one)).toMatchObject(LAST_KE);
      expect(duel[one].installed).toEqual(sorted(spiOne, 3, 4));
      expect(duel.deliver(other).spis).toEqual([spiOne]);
      expect(duel[other].installed).toEqual(sorted(spiOther, 3, 4));
      duel.deliver(one);
      expectKept(duel, one === 'a' ? 3 : 4, one === 'a' ? 4 : 3);
    },
  );

  it.each(EITHER)('takes several, in the order of their types ($one rekeys)', ({ one }) => {
    const { transforms } = MULTIPLE;
    const three = [
      { type: 8, id: KeyExchangeMethod.ECP_256 },
      { type: 12, id: KeyExchangeMethod.ML_KEM_512 },
    ];
    const list = [{ transforms: [...transforms, ...three] }];
    const duel = new Duel(both(list, list));
    rekey(duel, one);
    const exchanges: string[] = [];
    for (let flights = [...duel.pending('a'), ...duel.pending('b')]; flights.length > 0; ) {
      const { exchange, names } = duel.deliver(flights[0].to);
      exchanges.push(`${exchange} ${names.includes('N(ADDITIONAL_KEY_EXCHANGE)')}`);
      flights = [...duel.pending('a'), ...duel.pending('b')];
    }
    expect(exchanges).toEqual([
      'CREATE_CHILD_SA false',
      'CREATE_CHILD_SA true',
      'IKE_FOLLOWUP_KE true',
      'IKE_FOLLOWUP_KE true',
      'IKE_FOLLOWUP_KE true',
      'IKE_FOLLOWUP_KE true',
      'IKE_FOLLOWUP_KE true',
      'IKE_FOLLOWUP_KE false',
      'INFORMATIONAL false',
      'INFORMATIONAL false',
    ]);
    expectKept(duel, one === 'a' ? 3 : 4, one === 'a' ? 4 : 3);
  });

  it.each(EITHER)(
    'scenario: child rekey: regular ke invalid multi ke ($one rekeys) (rule 15)',
    ({ one, other, spiOne, spiOther }) => {
      const prefers = (first: number, second: number) => [withAdditional(proposal(first, second))];
      const [mine, theirs] = [prefers(CURVE25519, ECP_256), prefers(ECP_256, CURVE25519)];
      const duel = new Duel(one === 'a' ? both(mine, theirs) : both(theirs, mine));
      rekey(duel, one);
      duel.deliver(other);
      expect(duel.deliver(one).names).toEqual(['N(INVALID_KE_PAYLOAD)']);
      duel.deliver(other);
      expect(duel[other].installed).toEqual([1, 2]);
      duel.deliver(one);
      goOn(duel, one, other);
      expect(duel[other].installed).toEqual([1, 2, 5]);
      expect(duel[one].installed).toEqual(sorted(spiOne, 4, 5));
      expect(duel.deliver(other).spis).toEqual([spiOne]);
      expect(duel[other].installed).toEqual(sorted(spiOther, 4, 5));
      duel.deliver(one);
      duel.advance(5_000);
      // The method that was wanted is used at once the next time.
      rekey(duel, one);
      duel.deliver(other);
      expect(duel.deliver(one).names).toContain('N(ADDITIONAL_KEY_EXCHANGE)');
      goOn(duel, one, other);
      duel.settle();
      expectKept(duel, one === 'a' ? 6 : 7, one === 'a' ? 7 : 6);
    },
  );
});

describe('two rekeys of one Child SA at the same time, with additional key exchanges', () => {
  /** Both have asked and both have answered; the answers are on their way. */
  function collide(nonces: readonly number[]): Duel {
    const duel = start(new Duel(MULTI_KE), nonces);
    duel.nonce = nonces[2];
    duel.deliver('b');
    duel.nonce = nonces[3];
    duel.deliver('a');
    expect([duel.a.installed, duel.b.installed]).toEqual([
      [1, 2],
      [1, 2],
    ]);
    expect([duel.a.reserved, duel.b.reserved]).toEqual([
      [3, 6],
      [4, 5],
    ]);
    return duel;
  }

  it.each(ROWS)(
    'scenario: child rekey: collision multi ke ($lowest is the lowest nonce) (rule 65)',
    ({ nonces, winner, loser, old, keptAtA, keptAtB }) => {
      const duel = collide(nonces);
      duel.deliver('a');
      duel.deliver('b');
      // Only the winner goes on, and what the loser had begun is given up at both.
      expect([duel.a.reserved, duel.b.reserved]).toEqual([[keptAtA], [keptAtB]]);
      expect(duel.pending(winner)).toEqual([]);
      goOn(duel, winner, loser);
      expect(duel[winner].installed).toEqual(sorted(old, keptAtA, keptAtB));
      expect(duel[loser].installed).toEqual(sorted(1, 2, loser === 'a' ? keptAtA : keptAtB));
      expect(duel.deliver(loser).spis).toEqual([old]);
      duel.deliver(winner);
      expect([news(duel, 'a'), news(duel, 'b')]).toEqual([['child-rekeyed'], ['child-rekeyed']]);
      expectKept(duel, keptAtA, keptAtB);
    },
  );

  // Only A asks for additional key exchanges: B's SA is made at once, and is deleted if A's nonces are the better ones.
  it.each(ROWS)(
    'scenario: child rekey: mixed ($lowest is the lowest nonce) (rule 65)',
    ({ nonces, winner, keptAtA, keptAtB }) => {
      const [atA, atB] = [[MULTIPLE], [SINGLE]];
      const duel = start(new Duel(both(atA, atB)), nonces);
      // Each accepts what the other offers.
      atA[0] = SINGLE;
      atB[0] = MULTIPLE;
      duel.nonce = nonces[2];
      duel.deliver('b');
      expect(duel.b.installed).toEqual([1, 2]);
      duel.nonce = nonces[3];
      duel.deliver('a');
      expect(duel.a.installed).toEqual([1, 2, 6]);
      duel.deliver('a');
      expect(duel.a.installed).toEqual([1, 2, 6]);
      if (winner === 'a') {
        duel.deliver('b');
        expect(duel.b.installed).toEqual([1, 2, 4]);
        expect(duel.deliver('b')).toMatchObject(NEXT_KE);
        expect(duel.b.installed).toEqual([1, 2, 4, 5]);
        expect(duel.deliver('a').spis).toEqual([4]);
        expect(duel.deliver('a')).toMatchObject(LAST_KE);
        expect(duel.a.installed).toEqual([1, 3, 5, 6]);
        duel.deliver('b');
        expect(duel.deliver('b').spis).toEqual([1]);
        expect(duel.b.installed).toEqual([2, 3, 4, 5]);
        duel.deliver('a');
      } else {
        expect(duel.a.reserved).toEqual([]);
        duel.deliver('b');
        expect(duel.b.installed).toEqual([2, 4, 6]);
        expect(duel.b.reserved).toEqual([]);
        expect(duel.deliver('a').spis).toEqual([2]);
        expect(duel.a.installed).toEqual([1, 4, 6]);
        duel.deliver('b');
      }
      expect([news(duel, 'a'), news(duel, 'b')]).toEqual([['child-rekeyed'], ['child-rekeyed']]);
      expectKept(duel, keptAtA, keptAtB);
    },
  );

  // B has won and goes on before A has B's response.
  const LATE = ROWS.filter(({ winner }) => winner === 'b').flatMap((row) =>
    (['after the key exchange', 'after the Delete'] as const).map((when) => ({ ...row, when })),
  );
  it.each(LATE)(
    'scenario: child rekey: delayed response multi ke ($lowest is the lowest nonce, $when)',
    ({ nonces, when, keptAtA, keptAtB }) => {
      const duel = collide(nonces);
      const response = duel.take('a');
      duel.deliver('b');
      expect(duel.b.reserved).toEqual([4]);
      expect(duel.deliver('a')).toMatchObject(NEXT_KE);
      expect(duel.a.installed).toEqual([1, 2, 6]);
      expect(duel.deliver('b')).toMatchObject(LAST_KE);
      expect(duel.b.installed).toEqual([2, 4, 6]);
      if (when === 'after the key exchange') {
        duel.deliver('a', response);
        expect(duel.a.installed).toEqual([1, 2, 6]);
      }
      expect(duel.deliver('a').spis).toEqual([2]);
      expect(duel.a.installed).toEqual([1, 4, 6]);
      duel.deliver('b');
      if (when === 'after the Delete') duel.deliver('a', response);
      expect(duel.a.reserved).toEqual([]);
      expectKept(duel, keptAtA, keptAtB);
    },
  );

  // If A has won, B waits for A to have its response.
  it.each(ROWS.filter(({ winner }) => winner === 'a'))(
    'waits for the winner, whose response is late ($lowest is the lowest nonce)',
    ({ nonces, keptAtA, keptAtB }) => {
      const duel = collide(nonces);
      const response = duel.take('a');
      duel.deliver('b');
      expect(duel.b.reserved).toEqual([5]);
      expect(duel.pending('a')).toEqual([]);
      duel.deliver('a', response);
      goOn(duel, 'a', 'b');
      duel.settle();
      expectKept(duel, keptAtA, keptAtB);
    },
  );

  // B does not notice: A's request reaches it when it is going on with its own.
  const UNNOTICED = THREE_NONCES.flatMap((row) =>
    (['before the Delete', 'after the Delete'] as const).map((when) => ({ ...row, when })),
  );
  it.each(UNNOTICED)(
    'scenario: child rekey: delayed request multi ke ($lowest is the lowest nonce, refused $when) (rule 67)',
    ({ nonces, when }) => {
      const duel = start(new Duel(MULTI_KE), nonces);
      const request = duel.take('b');
      duel.nonce = nonces[2];
      duel.deliver('a');
      expect(duel.deliver('b').names).toContain('N(ADDITIONAL_KEY_EXCHANGE)');
      expect(duel.b.installed).toEqual([1, 2]);
      duel.deliver('b', request);
      expect(duel.deliver('a')).toMatchObject(NEXT_KE);
      expect(duel.a.installed).toEqual([1, 2, 5]);
      const refusal = duel.take('a');
      if (when === 'before the Delete') {
        expect(duel.deliver('a', refusal).names).toEqual(['N(TEMPORARY_FAILURE)']);
        expect(duel.a.installed).toEqual([1, 2, 5]);
      }
      expect(duel.deliver('b')).toMatchObject(LAST_KE);
      expect(duel.b.installed).toEqual([2, 4, 5]);
      expect(duel.deliver('a').spis).toEqual([2]);
      expect(duel.a.installed).toEqual([1, 4, 5]);
      duel.deliver('b');
      if (when === 'after the Delete') {
        expect(duel.deliver('a', refusal).names).toEqual(['N(TEMPORARY_FAILURE)']);
        expect(duel.a.installed).toEqual([1, 4, 5]);
      }
      expectKept(duel, 5, 4);
    },
  );

  it.each(EITHER)(
    'scenario: child rekey: delete multi ke ($one rekeys, $other deletes) (rule 67)',
    ({ one, other, spiOne, spiOther }) => {
      const duel = new Duel(MULTI_KE);
      rekey(duel, one);
      duel.deliver(other);
      duel.deliver(one);
      close(duel, other);
      expect(duel.deliver(other)).toMatchObject(NEXT_KE);
      expect(duel[other].reserved).toEqual([]);
      const deletion = duel.take(one);
      expect(duel.deliver(one, deletion).spis).toEqual([spiOther]);
      expect(duel[one].inbound).toEqual([spiOne]);
      expect(duel.deliver(one).names).toEqual(['N(TEMPORARY_FAILURE)']);
      expect(duel[one].inbound).toEqual([]);
      expect(duel.deliver(other).spis).toEqual([spiOne]);
      expectClosed(duel);
    },
  );
});
