import { describe, expect, it } from 'vitest';
import { nodeProvider } from '../../src/crypto/node.ts';
import { flood } from './flood.ts';
import { FLOOD_KINDS } from './flood-target.ts';

const COUNT = 2_000;

describe.each(FLOOD_KINDS)('a flood of IKE_SA_INIT requests: %s', (kind) => {
  it('computes no key exchange before a cookie, keeps few half-open IKE SAs, and honest clients get through', async () => {
    const figures = await flood(nodeProvider(), kind, COUNT, () => {});
    expect(figures.honest.handshakes).toBe(5);
    expect(figures.keyExchangesBeforeCookie).toBe(0);
    expect(figures.halfOpen).toBeLessThanOrEqual((kind === 'owned-network' ? 250 : 100) + 5);
    // Below the threshold there is one for each request; after that, for those that return a cookie and find room.
    expect(figures.keyExchanges).toBeGreaterThanOrEqual(100);
    expect(figures.keyExchanges).toBeLessThanOrEqual(figures.halfOpen);
    expect(figures.cookies).toBeGreaterThan(COUNT - 400);
  });
});
