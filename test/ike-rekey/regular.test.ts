import { describe, expect, it } from 'vitest';
import { Duel, type Side } from '../support/duel.ts';

const other = (side: Side): Side => (side === 'a' ? 'b' : 'a');

describe('rekeying an IKE SA', () => {
  it.each<{ rekeys: Side }>([{ rekeys: 'a' }, { rekeys: 'b' }])(
    'scenario: ike rekey: regular ($rekeys rekeys)',
    ({ rekeys }) => {
      const duel = new Duel();
      const answers = other(rekeys);
      duel.call(rekeys, (ike, now) => ike.rekey(now));
      expect(duel.deliver(answers).names).toEqual(['SA', 'NONCE', 'KE']);
      expect(duel.ikeSas(answers)).toEqual({ all: [answers === 'b' ? 2 : 1, 4], current: 4 });
      expect(duel.deliver(rekeys).names).toEqual(['SA', 'NONCE', 'KE']);
      expect(duel.deliver(answers).names).toEqual(['DELETE']);
      expect(duel.deliver(rekeys).names).toEqual([]);
      expect(duel.ikeSas(rekeys)).toEqual({ all: [3], current: 3 });
      expect(duel.ikeSas(answers)).toEqual({ all: [4], current: 4 });
      expect([...duel.pending('a'), ...duel.pending('b')]).toEqual([]);
    },
  );
});
