import { describe, expect, it } from 'vitest';
import { anySelector } from '../../src/wire/traffic-selector.ts';
import { Duel } from '../support/duel.ts';
import { draw, expectOneIkeSa, type Nonces, rekey } from './expectations.ts';

const UDP = { ...anySelector(4), protocol: 17 };

// A's request is N1 and IKE SPI 3, B's N2 and 4; B answers A with N3 and 5, A answers B with N4 and 6.
interface Row {
  readonly lowest: string;
  readonly nonces: Nonces;
  /** The IKE SAs that each of them deletes, and the one that is left. */
  readonly deletedByA: readonly [number, number];
  readonly deletedByB: readonly [number, number];
  readonly keptAtA: number;
  readonly keptAtB: number;
}

const B_WINS = { deletedByA: [3, 5], deletedByB: [1, 2], keptAtA: 6, keptAtB: 4 } as const;
const A_WINS = { deletedByA: [1, 2], deletedByB: [4, 6], keptAtA: 3, keptAtB: 5 } as const;

const ROWS: readonly Row[] = [
  { lowest: 'N1', nonces: [0x00, 0xff, 0xff, 0xff], ...B_WINS },
  { lowest: 'N2', nonces: [0xff, 0x00, 0xff, 0xff], ...A_WINS },
  { lowest: 'N3', nonces: [0xff, 0xff, 0x00, 0xff], ...B_WINS },
  { lowest: 'N4', nonces: [0xff, 0xff, 0xff, 0x00], ...A_WINS },
];

/** Both have asked and both have answered; the responses are on their way. */
function collide(nonces: Nonces): Duel {
  const duel = new Duel();
  draw(duel, nonces[0], () => rekey(duel, 'a'));
  draw(duel, nonces[1], () => rekey(duel, 'b'));
  draw(duel, nonces[2], () => duel.deliver('b'));
  draw(duel, nonces[3], () => duel.deliver('a'));
  expect(duel.ikeSas('a')).toEqual({ all: [1, 6], current: 1 });
  expect(duel.ikeSas('b')).toEqual({ all: [2, 5], current: 2 });
  return duel;
}

describe('two rekeys of one IKE SA at the same time', () => {
  it.each(ROWS)(
    'scenario: ike rekey: collision ($lowest is the lowest nonce) (rules 65, 66)',
    ({ nonces, ...row }) => {
      const duel = collide(nonces);
      expect(duel.deliver('a').names).toEqual(['SA', 'NONCE', 'KE']);
      expect(duel.ikeSas('a').current).toBe(row.keptAtA);
      duel.deliver('b');
      expect(duel.ikeSas('b').current).toBe(row.keptAtB);
      expect(duel.ikeSas('a').all).toHaveLength(3);
      expect(duel.ikeSas('b').all).toHaveLength(3);
      expect(duel.deliver('b')).toMatchObject({ ike: row.deletedByA, names: ['DELETE'] });
      expect(duel.deliver('a')).toMatchObject({ ike: row.deletedByB, names: ['DELETE'] });
      expect(duel.deliver('a')).toMatchObject({ ike: row.deletedByA, response: true, names: [] });
      expect(duel.deliver('b')).toMatchObject({ ike: row.deletedByB, response: true, names: [] });
      expectOneIkeSa(duel, row.keptAtA, row.keptAtB);
    },
  );

  it.each(ROWS.filter(({ keptAtA }) => keptAtA === A_WINS.keptAtA))(
    'is decided when the peer goes on with its own, before its answer has come ($lowest is the lowest nonce)',
    ({ nonces }) => {
      const duel = collide(nonces);
      const answer = duel.take('b');
      duel.deliver('a');
      const farewell = duel.take('b');
      duel.call('a', (ike, now) => ike.createChild({ tsI: [UDP], tsR: [UDP] }, now));
      expect(duel.deliver('b')).toMatchObject({ ike: [3, 5] });
      expect(duel.ikeSas('b').current).toBe(5);
      duel.deliver('b', answer);
      expect(duel.ikeSas('b').current).toBe(5);
      duel.deliver('b', farewell);
      duel.settle();
      expectOneIkeSa(duel, 3, 5);
    },
  );

  // B learns of the outcome, and acts on it, before A has B's response.
  it.each(ROWS)(
    'scenario: ike rekey: delayed response ($lowest is the lowest nonce)',
    ({ nonces, ...row }) => {
      const duel = collide(nonces);
      const delayed = duel.take('a');
      duel.deliver('b');
      expect(duel.ikeSas('b').current).toBe(row.keptAtB);
      expect(duel.deliver('a')).toMatchObject({ ike: row.deletedByB, names: ['DELETE'] });
      if (row.keptAtB === 4) {
        // The old IKE SA is gone at A, and with it the request that the late response is for: B's copy of A's runs out.
        expect(duel.ikeSas('a')).toEqual({ all: [6], current: 6 });
        duel.deliver('b');
        duel.deliver('a', delayed);
        expect(duel.ikeSas('b')).toEqual({ all: [5, 4], current: 4 });
        duel.advance(180_000);
      } else {
        expect(duel.ikeSas('a')).toEqual({ all: [1], current: 1 });
        duel.deliver('a', delayed);
        expect(duel.ikeSas('a').current).toBe(3);
        duel.settle();
      }
      expectOneIkeSa(duel, row.keptAtA, row.keptAtB);
    },
  );
});

// Only A knows that there are two: its own request, N1 and 3, has not reached B, whose N2 and 4 it answers with N3 and 5.
const UNNOTICED: readonly { readonly lowest: string; readonly nonces: Nonces }[] = [
  { lowest: 'N1', nonces: [0x00, 0xff, 0xff] },
  { lowest: 'N2', nonces: [0xff, 0x00, 0xff] },
  { lowest: 'N3', nonces: [0xff, 0xff, 0x00] },
];

describe('a rekey that the peer does not know of while its own succeeds', () => {
  /** B has rekeyed, and its Delete is on its way; A's request was taken off the network. */
  function overtake(nonces: Nonces) {
    const duel = new Duel();
    draw(duel, nonces[0], () => rekey(duel, 'a'));
    const request = duel.take('b');
    draw(duel, nonces[1], () => rekey(duel, 'b'));
    draw(duel, nonces[2], () => duel.deliver('a'));
    expect(duel.ikeSas('a')).toEqual({ all: [1, 5], current: 1 });
    duel.deliver('b');
    expect(duel.ikeSas('b')).toEqual({ all: [2, 4], current: 4 });
    return { duel, request };
  }

  it.each(UNNOTICED)('scenario: ike rekey: dropped request ($lowest is the lowest nonce)', ({ nonces }) => {
    const { duel } = overtake(nonces);
    expect(duel.deliver('a')).toMatchObject({ ike: [1, 2], names: ['DELETE'] });
    expect(duel.ikeSas('a')).toEqual({ all: [5], current: 5 });
    duel.deliver('b');
    expectOneIkeSa(duel, 5, 4);
  });

  it.each(UNNOTICED)('scenario: ike rekey: delayed request ($lowest is the lowest nonce)', ({ nonces }) => {
    const { duel, request } = overtake(nonces);
    duel.deliver('b', request);
    expect(duel.deliver('a')).toMatchObject({ ike: [1, 2], names: ['DELETE'] });
    expect(duel.ikeSas('a')).toEqual({ all: [5], current: 5 });
    expect(duel.deliver('a').names).toEqual(['N(TEMPORARY_FAILURE)']);
    duel.deliver('b');
    expectOneIkeSa(duel, 5, 4);
  });

  it.each(UNNOTICED)(
    'scenario: ike rekey: delayed request and delete ($lowest is the lowest nonce) (rule 67)',
    ({ nonces }) => {
      const { duel, request } = overtake(nonces);
      duel.deliver('b', request);
      const late = duel.take('a');
      expect(duel.deliver('a').names).toEqual(['N(TEMPORARY_FAILURE)']);
      expect(duel.ikeSas('a')).toEqual({ all: [1, 5], current: 5 });
      duel.deliver('a', late);
      duel.deliver('b');
      expectOneIkeSa(duel, 5, 4);
      duel.advance(60_000);
      expectOneIkeSa(duel, 5, 4);
    },
  );
});
