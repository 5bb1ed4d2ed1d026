import type { CryptoProvider } from '../crypto/provider.ts';

/** Where chance comes from. */
export type Random = Pick<CryptoProvider, 'random'>;

/** A number from 0 (included) to 1 (excluded), of 48 random bits. */
export function fraction({ random }: Random): number {
  return random(6).reduce((sum, octet) => sum * 256 + octet, 0) / 2 ** 48;
}

/** A copy in random order (Fisher and Yates). */
export function shuffled<T>(items: readonly T[], random: Random): T[] {
  const copy = [...items];
  for (let last = copy.length - 1; last > 0; last--) {
    const other = Math.floor(fraction(random) * (last + 1));
    [copy[last], copy[other]] = [copy[other], copy[last]];
  }
  return copy;
}
