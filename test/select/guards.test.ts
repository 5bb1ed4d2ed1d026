import { describe, expect, it } from 'vitest';
import { Guards, guardsSchema } from '../../src/select/guards.ts';
import { chance, relay } from './relays.ts';

const DAY = 86_400_000;
const NOW = 1_800_000_000_000;
const hundred = Array.from({ length: 100 }, (_, index) => relay(index));
const ids = (relays: readonly { readonly keyId: string }[]) => relays.map(({ keyId }) => keyId);

describe('Guards', () => {
  it('samples a fifth of the relays, at least three, and keeps to them and their order', () => {
    const guards = new Guards(undefined, chance('sample'));
    const first = ids(guards.choose(hundred, NOW));
    expect(first).toHaveLength(20);
    expect(ids(guards.choose(hundred, NOW + DAY))).toEqual(first);
    expect(new Guards(undefined, chance('few')).choose(hundred.slice(0, 8), NOW)).toHaveLength(3);
    expect(new Guards(undefined, chance('two')).choose(hundred.slice(0, 2), NOW)).toHaveLength(2);
    expect(
      new Guards(undefined, chance('many')).choose(
        Array.from({ length: 400 }, (_, i) => relay(i)),
        NOW,
      ),
    ).toHaveLength(60);
  });

  it('is the same after its state was kept and read', () => {
    const guards = new Guards(undefined, chance('state'));
    const first = guards.choose(hundred, NOW);
    guards.succeeded(first[2].keyId, NOW);
    const again = new Guards(guardsSchema.parse(JSON.parse(JSON.stringify(guards.state))), chance('other'));
    expect(ids(again.choose(hundred, NOW))).toEqual(ids(guards.choose(hundred, NOW)));
  });

  it('goes on to the next while one does not answer, and comes back to it', () => {
    const guards = new Guards(undefined, chance('fail'));
    const [a, b, c] = ids(guards.choose(hundred, NOW));
    guards.succeeded(a, NOW);
    guards.failed(a, NOW);
    expect(ids(guards.choose(hundred, NOW)).slice(0, 2)).toEqual([b, c]);
    guards.succeeded(b, NOW);
    expect(ids(guards.choose(hundred, NOW + 9 * 60_000))[0]).toBe(b);
    expect(ids(guards.choose(hundred, NOW + 11 * 60_000)).slice(0, 3)).toEqual([a, b, c]);
  });

  it('has one that served before in front of those that were sampled before it', () => {
    const guards = new Guards(undefined, chance('serve'));
    const [a, b, c] = ids(guards.choose(hundred, NOW));
    guards.succeeded(c, NOW);
    expect(ids(guards.choose(hundred, NOW)).slice(0, 3)).toEqual([c, a, b]);
  });

  it('is not moved to other guards by an outage of its own network', () => {
    const guards = new Guards(undefined, chance('outage'));
    const [a, b, c] = ids(guards.choose(hundred, NOW));
    for (const each of [a, b]) guards.failed(each, NOW);
    expect(ids(guards.choose(hundred, NOW))[0]).toBe(c);
    guards.succeeded(c, NOW + 1);
    expect(ids(guards.choose(hundred, NOW + 1)).slice(0, 3)).toEqual([a, b, c]);
    expect(guards.state.guards.some(({ confirmedAt }) => confirmedAt !== undefined)).toBe(false);
    // They do not answer while it does.
    for (const each of [a, b]) guards.failed(each, NOW + 2);
    guards.succeeded(c, NOW + 3);
    expect(guards.state.guards.find(({ confirmedAt }) => confirmedAt !== undefined)?.keyId).toBe(c);
  });

  it('lists all of them even if none answers', () => {
    const guards = new Guards(undefined, chance('none'));
    const all = ids(guards.choose(hundred, NOW));
    for (const each of all) guards.failed(each, NOW);
    expect(ids(guards.choose(hundred, NOW)).sort()).toEqual([...all].sort());
  });

  it('forgets a guard after 120 days, 60 once it has served, or 20 out of the set', () => {
    const guards = new Guards(undefined, chance('old'));
    const [used, unused, ...others] = ids(guards.choose(hundred, NOW));
    guards.succeeded(used, NOW);
    const without = hundred.filter(({ keyId }) => keyId !== unused);
    expect(ids(guards.choose(without, NOW + DAY))).not.toContain(unused);
    expect(ids(guards.choose(hundred, NOW + 19 * DAY))).toContain(unused);
    guards.choose(without, NOW + 20 * DAY);
    guards.choose(without, NOW + 41 * DAY);
    expect(guards.state.guards.map(({ keyId }) => keyId)).not.toContain(unused);
    expect(ids(guards.choose(hundred, NOW + 53 * DAY))[0]).toBe(used);
    guards.choose(hundred, NOW + 61 * DAY);
    const kept = guards.state.guards.map(({ keyId }) => keyId);
    expect(kept).not.toContain(used);
    expect(kept).toEqual(expect.arrayContaining(others));
    guards.choose(hundred, NOW + 121 * DAY);
    expect(Math.min(...guards.state.guards.map(({ sampledAt }) => sampledAt))).toBeGreaterThan(NOW);
  });

  it('does not tell when it was sampled or first used', () => {
    const guards = new Guards(undefined, chance('blur'));
    const [first] = guards.choose(hundred, NOW);
    guards.succeeded(first.keyId, NOW);
    const times = guards.state.guards.flatMap(({ sampledAt, confirmedAt }) => [
      sampledAt,
      confirmedAt ?? sampledAt,
    ]);
    expect(Math.max(...times)).toBeLessThanOrEqual(NOW);
    expect(Math.min(...times)).toBeGreaterThanOrEqual(NOW - 12 * DAY);
    expect(new Set(guards.state.guards.map(({ sampledAt }) => sampledAt)).size).toBe(20);
  });
});
