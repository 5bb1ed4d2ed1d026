import { describe, expect, it } from 'vitest';
import { Duel, type DuelOptions } from '../support/duel.ts';
import { close, expectClosed, expectKept, KE_MISMATCH, news, rekey, THREE_NONCES, tell } from './steps.ts';

// A's request is N1 and SPI 3, B's N2 and 4; B answers A with N3 and 5, A answers B with N4 and 6. What each deletes, the
// old SA or its redundant one, and on what each receives in the end.
const B_WINS = { deletedByA: 3, deletedByB: 2, keptAtA: 6, keptAtB: 4 } as const;
const A_WINS = { deletedByA: 1, deletedByB: 4, keptAtA: 3, keptAtB: 5 } as const;

const ROWS = [
  { lowest: 'N1', nonces: [0x00, 0xff, 0xff, 0xff], ...B_WINS },
  { lowest: 'N2', nonces: [0xff, 0x00, 0xff, 0xff], ...A_WINS },
  { lowest: 'N3', nonces: [0xff, 0xff, 0x00, 0xff], ...B_WINS },
  { lowest: 'N4', nonces: [0xff, 0xff, 0xff, 0x00], ...A_WINS },
] as const;

const sorted = (...numbers: number[]) => numbers.sort((x, y) => x - y);

/** Both ask at the same time. */
function start(nonces: readonly number[], options?: DuelOptions): Duel {
  const duel = new Duel(options);
  duel.nonce = nonces[0];
  rekey(duel, 'a');
  duel.nonce = nonces[1];
  rekey(duel, 'b');
  return duel;
}

/** Both have asked and both have answered; the answers are on their way. */
function collide(nonces: readonly number[]): Duel {
  const duel = start(nonces);
  duel.nonce = nonces[2];
  duel.deliver('b');
  expect(duel.b.installed).toEqual([1, 2, 5]);
  duel.nonce = nonces[3];
  duel.deliver('a');
  expect(duel.a.installed).toEqual([1, 2, 6]);
  return duel;
}

describe('two rekeys of one Child SA at the same time', () => {
  it.each(ROWS)(
    'scenario: child rekey: collision ($lowest is the lowest nonce) (rule 65)',
    ({ nonces, deletedByA, deletedByB, keptAtA, keptAtB }) => {
      const duel = collide(nonces);
      duel.deliver('a');
      expect(duel.a.installed).toEqual(deletedByA === 1 ? [1, 3, 5, 6] : [1, 2, 3, 6]);
      duel.deliver('b');
      expect(duel.b.installed).toEqual(deletedByB === 2 ? [2, 4, 5, 6] : [1, 2, 4, 5]);
      expect(duel.deliver('b').spis).toEqual([deletedByA]);
      expect(duel.b.installed).toEqual(deletedByB === 2 ? [2, 4, 5, 6] : [2, 3, 4, 5]);
      expect(duel.deliver('a').spis).toEqual([deletedByB]);
      expect(duel.a.installed).toEqual(deletedByA === 1 ? [1, 3, 5, 6] : [1, 3, 4, 6]);
      duel.deliver('a');
      duel.deliver('b');
      expect(duel.a.installed).toEqual(sorted(1, 3, 6, keptAtB));
      expect(duel.b.installed).toEqual(sorted(2, 4, 5, keptAtA));
      expect([news(duel, 'a'), news(duel, 'b')]).toEqual([['child-rekeyed'], ['child-rekeyed']]);
      expectKept(duel, keptAtA, keptAtB);
    },
  );

  // B deletes what it has to before A has B's answer.
  it.each(ROWS)(
    'scenario: child rekey: delayed response ($lowest is the lowest nonce)',
    ({ nonces, deletedByA, deletedByB, keptAtA, keptAtB }) => {
      const duel = collide(nonces);
      const response = duel.take('a');
      duel.deliver('b');
      expect(duel.b.installed).toEqual(deletedByB === 2 ? [2, 4, 5, 6] : [1, 2, 4, 5]);
      expect(duel.deliver('a').spis).toEqual([deletedByB]);
      expect(duel.a.installed).toEqual(deletedByB === 2 ? [1, 4, 6] : [1, 2, 6]);
      duel.deliver('b');
      expect(duel.b.installed).toEqual(deletedByB === 2 ? [2, 4, 5, 6] : [1, 2, 4, 5]);
      duel.deliver('a', response);
      expect(duel.a.installed).toEqual(sorted(1, 3, 6, keptAtB));
      expect(duel.deliver('b').spis).toEqual([deletedByA]);
      expect(duel.b.installed).toEqual(sorted(2, 4, 5, keptAtA));
      duel.deliver('a');
      expect([news(duel, 'a'), news(duel, 'b')]).toEqual([['child-rekeyed'], ['child-rekeyed']]);
      expectKept(duel, keptAtA, keptAtB);
    },
  );

  // B then closes the tunnel, still before A has B's answer.
  it.each(ROWS)(
    'scenario: child rekey: delayed response delete ($lowest is the lowest nonce)',
    ({ nonces, deletedByB, keptAtB }) => {
      const duel = collide(nonces);
      const response = duel.take('a');
      duel.deliver('b');
      expect(duel.deliver('a').spis).toEqual([deletedByB]);
      duel.deliver('b');
      close(duel, 'b');
      const isOldGone = deletedByB === 2;
      expect(duel.deliver('a').spis).toEqual(isOldGone ? [5, keptAtB] : [2, keptAtB]);
      duel.deliver('b');
      expect(duel.b.inbound).toEqual([]);
      expect(duel.a.inbound).toEqual(isOldGone ? [] : [1, 6]);
      duel.deliver('a', response);
      expect(duel.a.outbound).toEqual([]);
      // B knows of none of them any more, and A knows that.
      if (isOldGone) expect(duel.pending('b').flatMap((flight) => duel.read(flight).spis)).toEqual([]);
      expectClosed(duel);
    },
  );

  // B does not notice: A's request reaches it when it is deleting the old SA.
  describe.each([{ order: 'after the Delete' }, { order: 'before the Delete' }])(
    'refused $order',
    ({ order }) => {
      it.each(THREE_NONCES)(
        `scenario: child rekey: delayed request ($lowest is the lowest nonce, refused ${order}) (rule 67)`,
        ({ nonces }) => {
          const duel = start(nonces);
          const request = duel.take('b');
          duel.nonce = nonces[2];
          duel.deliver('a');
          expect(duel.a.installed).toEqual([1, 2, 5]);
          duel.deliver('b');
          expect(duel.b.installed).toEqual([2, 4, 5]);
          duel.deliver('b', request);
          const deletion = duel.take('a');
          const refusal = duel.take('a');
          if (order === 'after the Delete') duel.deliver('a', deletion);
          expect(duel.deliver('a', refusal).names).toEqual(['N(TEMPORARY_FAILURE)']);
          expect(duel.a.installed).toEqual(order === 'after the Delete' ? [1, 4, 5] : [1, 2, 5]);
          if (order === 'before the Delete') duel.deliver('a', deletion);
          expect(duel.a.installed).toEqual([1, 4, 5]);
          duel.deliver('b');
          expect(duel.b.installed).toEqual([2, 4, 5]);
          expectKept(duel, 5, 4);
        },
      );
    },
  );

  it.each(THREE_NONCES)(
    'scenario: child rekey: delayed request more ($lowest is the lowest nonce) (rule 67)',
    ({ nonces }) => {
      const duel = start(nonces);
      const request = duel.take('b');
      duel.nonce = nonces[2];
      duel.deliver('a');
      duel.deliver('b');
      expect(duel.deliver('a').spis).toEqual([2]);
      expect(duel.a.installed).toEqual([1, 4, 5]);
      duel.deliver('b');
      expect(duel.b.installed).toEqual([2, 4, 5]);
      duel.deliver('b', request);
      expect(duel.deliver('a').names).toEqual(['N(CHILD_SA_NOT_FOUND)']);
      expect(duel.a.installed).toEqual([1, 4, 5]);
      expectKept(duel, 5, 4);
    },
  );

  it.each(THREE_NONCES)(
    'scenario: child rekey: delayed request more delete ($lowest is the lowest nonce)',
    ({ nonces }) => {
      const duel = start(nonces);
      const request = duel.take('b');
      duel.nonce = nonces[2];
      duel.deliver('a');
      duel.deliver('b');
      duel.deliver('a');
      duel.deliver('b');
      close(duel, 'b');
      expect(duel.deliver('a').spis).toEqual([4]);
      expect(duel.deliver('b').spis).toEqual([5]);
      expect([duel.a.installed, duel.b.installed]).toEqual([[], []]);
      duel.deliver('b', request);
      expect(duel.deliver('a').names).toEqual(['N(CHILD_SA_NOT_FOUND)']);
      expectClosed(duel);
    },
  );

  it.each([
    { lowest: 'N5', nonces: [0x00, 0xff, 0xff, 0xff], deletedByA: 5, deletedByB: 2, keptAtA: 8, keptAtB: 6 },
    { lowest: 'N6', nonces: [0xff, 0x00, 0xff, 0xff], deletedByA: 1, deletedByB: 6, keptAtA: 5, keptAtB: 7 },
    { lowest: 'N7', nonces: [0xff, 0xff, 0x00, 0xff], deletedByA: 5, deletedByB: 2, keptAtA: 8, keptAtB: 6 },
    { lowest: 'N8', nonces: [0xff, 0xff, 0xff, 0x00], deletedByA: 1, deletedByB: 6, keptAtA: 5, keptAtB: 7 },
  ])(
    'scenario: child rekey: ke invalid ($lowest is the lowest nonce) (rules 15, 65)',
    ({ nonces, deletedByA, deletedByB, keptAtA, keptAtB }) => {
      // The nonces of the first try count for nothing.
      const duel = start([nonces[1], nonces[0]], KE_MISMATCH);
      duel.deliver('b');
      duel.deliver('a');
      duel.nonce = nonces[0];
      expect(duel.deliver('a').names).toEqual(['N(INVALID_KE_PAYLOAD)']);
      duel.nonce = nonces[1];
      expect(duel.deliver('b').names).toEqual(['N(INVALID_KE_PAYLOAD)']);
      duel.nonce = nonces[2];
      duel.deliver('b');
      expect(duel.b.installed).toEqual([1, 2, 7]);
      duel.nonce = nonces[3];
      duel.deliver('a');
      expect(duel.a.installed).toEqual([1, 2, 8]);
      duel.deliver('a');
      duel.deliver('b');
      expect(duel.deliver('b').spis).toEqual([deletedByA]);
      expect(duel.deliver('a').spis).toEqual([deletedByB]);
      duel.settle();
      expect(duel.a.installed).toEqual(sorted(1, 5, 8, keptAtB));
      expect(duel.b.installed).toEqual(sorted(2, 6, 7, keptAtA));
      expectKept(duel, keptAtA, keptAtB);
    },
  );

  it.each(THREE_NONCES)(
    'scenario: child rekey: ke invalid delayed retry ($lowest is the lowest nonce)',
    ({ nonces }) => {
      const duel = start([nonces[1], nonces[0]], KE_MISMATCH);
      duel.deliver('b');
      duel.deliver('a');
      duel.nonce = nonces[0];
      duel.deliver('a');
      duel.nonce = nonces[1];
      duel.deliver('b');
      const request = duel.take('b');
      duel.nonce = nonces[2];
      duel.deliver('a');
      expect(duel.a.installed).toEqual([1, 2, 7]);
      duel.deliver('b');
      expect(duel.b.installed).toEqual([2, 6, 7]);
      duel.deliver('b', request);
      expect(duel.deliver('a').spis).toEqual([2]);
      expect(duel.deliver('a').names).toEqual(['N(TEMPORARY_FAILURE)']);
      expect(duel.a.installed).toEqual([1, 6, 7]);
      duel.deliver('b');
      expectKept(duel, 7, 6);
    },
  );

  // B has lost, and deletes its redundant SA, but then the old one as well.
  it('scenario: child rekey: collision responder incorrect delete', () => {
    const duel = collide([0xff, 0x00, 0xff, 0xff]);
    const response = duel.take('a');
    duel.deliver('b');
    expect(duel.deliver('a').spis).toEqual([4]);
    expect(duel.a.installed).toEqual([1, 2, 6]);
    duel.deliver('b');
    duel.forge('b', [2]);
    expect(duel.deliver('a').spis).toEqual([2]);
    expect(duel.a.installed).toEqual([1, 2, 6]);
    duel.deliver('a', response);
    expect(duel.a.installed).toEqual([1, 3, 5, 6]);
    expect(news(duel, 'a')).toEqual(['child-rekeyed']);
    duel.deliver('b');
    tell(duel, 'b', 'hard', 2);
    expect(duel.b.installed).toEqual([3, 4, 5]);
    expectKept(duel, 3, 5);
  });
});
