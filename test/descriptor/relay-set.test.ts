import { describe, expect, it } from 'vitest';
import { checkDisjointPools, fixedRelaySet } from '../../src/descriptor/relay-set.ts';
import { parsePrefix } from '../../src/wire/address.ts';
import { descriptor, statement } from './relays.ts';

const a = descriptor(1, statement('alpha', '192.0.2.1', '10.1.0.0/24'));
const b = descriptor(2, statement('beta', '192.0.2.2', '10.2.0.0/24'));
const c = descriptor(3, statement('gamma', '192.0.2.3', '10.3.0.0/24'));

describe('connected relays', () => {
  it('may have disjoint pools', () => {
    expect(() => checkDisjointPools(a, [b, c])).not.toThrow();
  });

  it('are refused by name when the pool of a peer overlaps with ours, or with another peer', () => {
    const wide = descriptor(4, statement('wide', '192.0.2.4', '10.2.0.0/15'));
    expect(() => checkDisjointPools(wide, [a, b])).toThrow(
      "the pools of relays 'wide' (10.2.0.0/15) and 'beta' (10.2.0.0/24) overlap",
    );
    expect(() => checkDisjointPools(a, [c, wide])).toThrow("'gamma' (10.3.0.0/24) and 'wide' (10.2.0.0/15)");
  });

  it('are refused when IPv6 pools overlap', () => {
    const six = (seed: number, name: string, pool: string) =>
      descriptor(seed, {
        ...statement(name, `192.0.2.${seed}`, `10.${seed}.0.0/24`),
        pools: { ip6: parsePrefix(pool) },
      });
    expect(() => checkDisjointPools(six(1, 'x', 'fd00::/48'), [six(2, 'y', 'fd00:0:0:1::/64')])).toThrow(
      'overlap',
    );
    expect(() =>
      checkDisjointPools(six(1, 'x', 'fd00::/64'), [six(2, 'y', 'fd00:0:0:1::/64')]),
    ).not.toThrow();
  });

  it("are refused when one's pool contains the other's address, either way round", () => {
    const inside = descriptor(5, statement('inside', '10.1.0.9', '10.9.0.0/24'));
    const message = "the pool of relay 'alpha' (10.1.0.0/24) contains the address of relay 'inside'";
    expect(() => checkDisjointPools(a, [inside])).toThrow(message);
    expect(() => checkDisjointPools(inside, [a])).toThrow(message);
  });

  it('are refused when they have the same address', () => {
    const twin = descriptor(6, statement('twin', '192.0.2.1', '10.6.0.0/24'));
    expect(() => checkDisjointPools(a, [twin])).toThrow("relays 'alpha' and 'twin' have the same address");
  });
});

describe('a fixed set', () => {
  it('finds relays by key', () => {
    const set = fixedRelaySet([a, b]);
    expect(set.relays()).toEqual([a, b]);
    expect(set.find(b.keyId)).toBe(b);
    expect(set.find(c.keyId)).toBeUndefined();
  });

  it('refuses a key twice', () => {
    const again = descriptor(1, statement('again', '192.0.2.9', '10.9.0.0/24'));
    expect(() => fixedRelaySet([a, b, again])).toThrow("relays 'alpha' and 'again' have the same key");
  });
});
