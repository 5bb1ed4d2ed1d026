import { describe, expect, it } from 'vitest';
import { Duel } from '../support/duel.ts';
import { expectKept, rekey } from './steps.ts';

/** First octets of N1 to N4; what each deletes, the old or the redundant one; on what each receives in the end. */
const ROWS = [
  ['N1', [0x00, 0xff, 0xff, 0xff], 3, 2, 6, 4],
  ['N2', [0xff, 0x00, 0xff, 0xff], 1, 4, 3, 5],
  ['N3', [0xff, 0xff, 0x00, 0xff], 3, 2, 6, 4],
  ['N4', [0xff, 0xff, 0xff, 0x00], 1, 4, 3, 5],
] as const;

/** Both start at the same time: N1/3 from a, N2/4 from b. */
function start(duel: Duel, nonces: readonly number[]): void {
  duel.nonce = nonces[0];
  rekey(duel, 'a');
  duel.nonce = nonces[1];
  rekey(duel, 'b');
}

describe('scenario: child rekey: collision (rule 65)', () => {
  it.each(ROWS)('%s is the lowest', (_lowest, nonces, deletedByA, deletedByB, keptAtA, keptAtB) => {
    const duel = new Duel();
    start(duel, nonces);
    duel.nonce = nonces[2];
    duel.deliver('b');
    expect(duel.b.installed).toEqual([1, 2, 5]);
    duel.nonce = nonces[3];
    duel.deliver('a');
    expect(duel.a.installed).toEqual([1, 2, 6]);
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
    expect(duel.a.installed).toEqual([1, 3, keptAtB, 6].sort((x, y) => x - y));
    expect(duel.b.installed).toEqual([2, 4, 5, keptAtA].sort((x, y) => x - y));
    expectKept(duel, keptAtA, keptAtB);
  });
});
