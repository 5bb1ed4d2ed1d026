import { describe, expect, it } from 'vitest';
import {
  losesCollision,
  refusalToCreateChild,
  refusalToRekeyChild,
  refusalToRekeyIke,
} from '../../../src/ike/collision.ts';
import { NotifyType } from '../../../src/ike/constants.ts';

const { TEMPORARY_FAILURE, CHILD_SA_NOT_FOUND } = NotifyType;
const octets = (...values: number[]) => Uint8Array.from(values);

describe('the lowest of four nonces loses (rule 65)', () => {
  const high = octets(0xff, 0, 0);
  it.each([
    ["ours, the request's", octets(0, 0xff), high, high, high, true],
    ["ours, the response's", high, octets(0, 0xff), high, high, true],
    ["theirs, the request's", high, high, octets(0, 0xff), high, false],
    ["theirs, the response's", high, high, high, octets(0, 0xff), false],
    ['compared octet by octet, not as numbers', octets(1, 0, 0, 0), high, octets(2), high, true],
    ['in the second octet', octets(1, 2), octets(1, 3), octets(1, 1), octets(9), false],
    ['a prefix, which is the lower one', octets(1, 2), high, octets(1, 2, 0), high, true],
    ['a longer one, which is the higher one', octets(1, 2, 0), high, octets(1, 2), high, false],
  ])('%s', (_which, ourI, ourR, theirI, theirR, loses) => {
    const ours = { nonceI: ourI, nonceR: ourR };
    const theirs = { nonceI: theirI, nonceR: theirR };
    expect(losesCollision(ours, theirs)).toBe(loses);
    expect(losesCollision(theirs, ours)).toBe(!loses);
  });
});

describe('what is refused while something else is under way (rule 67)', () => {
  it('new Child SAs, unless the IKE SA is left alone', () => {
    expect(refusalToCreateChild('idle')).toBeUndefined();
    for (const ike of ['rekeying', 'rekeyed', 'closing'] as const)
      expect(refusalToCreateChild(ike)).toBe(TEMPORARY_FAILURE);
  });

  it.each([
    ['idle', 'idle', undefined],
    ['idle', 'rekeying', undefined],
    ['idle', 'rekeyed', TEMPORARY_FAILURE],
    ['idle', 'closing', TEMPORARY_FAILURE],
    ['idle', undefined, CHILD_SA_NOT_FOUND],
    ['rekeying', 'idle', TEMPORARY_FAILURE],
    ['rekeyed', 'idle', TEMPORARY_FAILURE],
    ['closing', 'idle', TEMPORARY_FAILURE],
    ['rekeying', undefined, TEMPORARY_FAILURE],
  ] as const)('a rekeyed Child SA: IKE SA %s, Child SA %s', (ike, child, refusal) => {
    expect(refusalToRekeyChild(ike, child)).toBe(refusal);
  });

  it.each([
    ['idle', false, undefined],
    ['rekeying', false, undefined],
    ['rekeyed', false, TEMPORARY_FAILURE],
    ['closing', false, TEMPORARY_FAILURE],
    ['idle', true, TEMPORARY_FAILURE],
    ['rekeying', true, TEMPORARY_FAILURE],
  ] as const)('a rekeyed IKE SA: IKE SA %s, Child SAs changing %s', (ike, changing, refusal) => {
    expect(refusalToRekeyIke(ike, changing)).toBe(refusal);
  });
});
