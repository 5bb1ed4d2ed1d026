import { describe, expect, it } from 'vitest';
import { PrfTransform } from '../../../src/crypto/transforms.ts';
import { encodeProposals } from '../../../src/ike/proposal.ts';
import {
  decodePuzzle,
  encodePuzzle,
  OWN_DIFFICULTY,
  PuzzleSolver,
  puzzlePrf,
  solvedBits,
} from '../../../src/ike/puzzle.ts';
import { concat, fromHex, hex } from '../../../src/wire/bytes.ts';
import { PROVIDERS, vectors } from '../../crypto/providers.ts';

const { source, cases } = vectors<{
  name: string;
  prf: number;
  octets: string;
  difficulty: number;
  keys: { key: string; bits: number }[];
}>('ike-puzzle');

/** Works until there is a solution. */
function solved(solver: PuzzleSolver): Uint8Array {
  for (;;) {
    const solution = solver.work(1000);
    if (solution !== undefined) return solution;
  }
}

describe.each(PROVIDERS)('puzzles (RFC 8019), %s', (_, provide) => {
  const crypto = provide();

  it.each(cases)(`${source}: $name`, ({ prf, octets, difficulty, keys }) => {
    const string = fromHex(octets);
    const solution = solved(new PuzzleSolver(crypto, { prf, difficulty }, string));
    expect(hex(solution)).toBe(keys.map(({ key }) => key).join(''));
    expect(solvedBits(crypto, prf, string, solution)).toBe(Math.min(...keys.map(({ bits }) => bits)));
  });
});

describe('a puzzle solution', () => {
  const crypto = PROVIDERS[1][1]();
  const [{ prf, octets, difficulty, keys }] = cases;
  const string = fromHex(octets);
  const parts = keys.map(({ key }) => fromHex(key));

  it('is four different keys of one size, each of which counts', () => {
    const bits = (...solution: Uint8Array[]) => solvedBits(crypto, prf, string, concat(...solution));
    expect(bits(...parts)).toBeGreaterThanOrEqual(difficulty);
    expect(bits(parts[0], parts[1], parts[2], fromHex('00000000'))).toBeLessThan(difficulty);
    expect(bits(parts[0], parts[0], parts[0], parts[0])).toBe(0);
    expect(bits(parts[0], parts[1], parts[2], parts[2])).toBe(0);
    expect(bits(parts[0], parts[1], parts[2])).toBeLessThan(difficulty);
    expect(bits()).toBe(0);
    expect(bits(concat(...parts), new Uint8Array(1))).toBe(0);
    expect(bits(new Uint8Array(4 * 33))).toBe(0);
  });

  it('is of another string worth nothing', () => {
    expect(solvedBits(crypto, prf, string.with(0, 0), concat(...parts))).toBeLessThan(difficulty);
  });

  it('is looked for as far as one is told to, and no further', () => {
    let calls = 0;
    const counting = {
      ...crypto,
      prf: (...args: Parameters<typeof crypto.prf>) => {
        calls++;
        return crypto.prf(...args);
      },
    };
    const solver = new PuzzleSolver(counting, { prf, difficulty: 255 }, string);
    expect(solver.work(100)).toBeUndefined();
    expect(solver.work(50)).toBeUndefined();
    expect(calls).toBe(150);
  });

  it('has the same number of zero bits from everybody who may choose (difficulty 0)', () => {
    const solution = solved(new PuzzleSolver(crypto, { prf, difficulty: 0 }, string));
    expect(solvedBits(crypto, prf, string, solution)).toBeGreaterThanOrEqual(OWN_DIFFICULTY);
    expect(solution).toEqual(solved(new PuzzleSolver(crypto, { prf, difficulty: OWN_DIFFICULTY }, string)));
  });
});

describe('N(PUZZLE)', () => {
  it('is a PRF and a difficulty', () => {
    expect(hex(encodePuzzle({ prf: 5, difficulty: 20 }))).toBe('000514');
    expect(decodePuzzle(fromHex('000514'))).toEqual({ prf: 5, difficulty: 20 });
    expect(decodePuzzle(fromHex('000500'))).toEqual({ prf: 5, difficulty: 0 });
  });

  it.each(['', '0005', '00051400', '000501', '000507'])('is nothing else: %s', (data) => {
    expect(decodePuzzle(fromHex(data))).toBeUndefined();
  });

  it('names a PRF that the initiator offers', () => {
    const offer = (...ids: number[]) => {
      const transforms = ids.map((id) => ({ type: 2, id }));
      return [{ kind: 'SA', proposals: encodeProposals([{ transforms }], 1, new Uint8Array(0)) } as const];
    };
    const { HMAC_SHA2_256, HMAC_SHA2_512 } = PrfTransform;
    expect(puzzlePrf(offer(HMAC_SHA2_512, HMAC_SHA2_256))).toBe(HMAC_SHA2_256);
    expect(puzzlePrf(offer(2, HMAC_SHA2_512))).toBe(HMAC_SHA2_512);
    expect(puzzlePrf(offer(2))).toBeUndefined();
  });
});
