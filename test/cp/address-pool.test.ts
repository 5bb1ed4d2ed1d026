import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AddressPool } from '../../src/cp/address-pool.ts';
import { addressBytes, parsePrefix, prefixContains } from '../../src/wire/address.ts';

const IP4 = { ip4: true, ip6: false, ip4Dns: false, ip6Dns: false };
const IP6 = { ip4: false, ip6: true, ip4Dns: false, ip6Dns: false };
const ALL = { ip4: true, ip6: true, ip4Dns: true, ip6Dns: true };

/** A reproducible source. */
function seeded(seed = 'seed') {
  let counter = 0;
  return (length: number) => {
    const blocks = Array.from({ length: Math.ceil(length / 32) }, () =>
      createHash('sha256').update(`${seed}${counter++}`).digest(),
    );
    return Uint8Array.from(Buffer.concat(blocks)).subarray(0, length);
  };
}
const pool4 = (prefix: string, reserved: readonly string[] = [], seed?: string) =>
  new AddressPool({ ip4: parsePrefix(prefix), random: seeded(seed), reserved });
/** Assigns to `count` new owners. */
const take = (pool: AddressPool, count: number) =>
  Array.from({ length: count }, () => pool.assign({}, IP4)?.ip4);

describe('AddressPool', () => {
  it.each([
    ['10.0.0.0/24', 254],
    ['10.0.0.4/30', 2],
    ['10.0.0.4/31', 2],
    ['10.0.0.4/32', 1],
  ])('gives every address of %s once, then none (bad input 20)', (prefix, size) => {
    const pool = pool4(prefix);
    const addresses = take(pool, size);
    expect(new Set(addresses).size).toBe(size);
    const block = parsePrefix(prefix);
    for (const address of addresses) {
      const bytes = addressBytes(address!);
      expect(prefixContains(block, bytes)).toBe(true);
      if (size === 254) expect([0, 255]).not.toContain(bytes[3]);
    }
    expect(take(pool, 3)).toEqual([undefined, undefined, undefined]);
  });

  it('gives 5 and 6 of 10.0.0.4/30, 4 and 5 of /31', () => {
    expect(take(pool4('10.0.0.4/30'), 2).sort()).toEqual(['10.0.0.5', '10.0.0.6']);
    expect(take(pool4('10.0.0.4/31'), 2).sort()).toEqual(['10.0.0.4', '10.0.0.5']);
  });

  it('gives the same owner the same lease', () => {
    const pool = pool4('10.0.0.0/24');
    const owner = {};
    const lease = pool.assign(owner, IP4);
    expect(pool.assign(owner, ALL)).toBe(lease);
  });

  it('never gives reserved addresses', () => {
    const pool = pool4('10.0.0.0/29', ['10.0.0.1', '10.0.0.6', '10.0.0.0', '10.9.9.9', 'fd00::1']);
    expect(take(pool, 5).sort()).toEqual(['10.0.0.2', '10.0.0.3', '10.0.0.4', '10.0.0.5', undefined]);
    expect(take(pool4('10.0.0.1/32', ['10.0.0.1']), 1)).toEqual([undefined]);
  });

  it('releases with the owner; twice is harmless, and so is a stranger (bad input 20)', () => {
    const pool = pool4('10.0.0.4/32');
    const first = {};
    expect(pool.assign(first, IP4)?.ip4).toBe('10.0.0.4');
    pool.release({});
    expect(take(pool, 1)).toEqual([undefined]);
    pool.release(first);
    pool.release(first);
    const second = {};
    expect(pool.assign(second, IP4)?.ip4).toBe('10.0.0.4');
    pool.release(first);
    expect(take(pool, 1)).toEqual([undefined]);
  });

  it('lets released addresses rest: at most half of the block, the oldest are free first', () => {
    const pool = pool4('10.0.0.0/29');
    const owners = Array.from({ length: 6 }, () => ({}));
    const addresses = owners.map((owner) => pool.assign(owner, IP4)?.ip4);
    for (const owner of owners) pool.release(owner);
    // Three rest, so that the first three released are given out before them; those follow in order of release.
    expect(new Set(take(pool, 3))).toEqual(new Set(addresses.slice(0, 3)));
    expect(take(pool, 4)).toEqual([...addresses.slice(3), undefined]);
  });

  it('does not give an address to the next client', () => {
    for (let seed = 0; seed < 50; seed++) {
      const pool = pool4('10.0.0.0/30', [], `s${seed}`);
      const owner = {};
      const address = pool.assign(owner, IP4)?.ip4;
      pool.release(owner);
      expect(take(pool, 1)).not.toEqual([address]);
    }
  });

  it('draws every address equally often', () => {
    const counts = new Map<string, number>();
    for (let seed = 0; seed < 6000; seed++) {
      const [address] = take(pool4('10.0.0.0/29', [], `r${seed}`), 1);
      counts.set(address!, (counts.get(address!) ?? 0) + 1);
    }
    expect(counts.size).toBe(6);
    // 1000 expected of each, standard deviation 29.
    for (const count of counts.values()) expect(Math.abs(count - 1000)).toBeLessThan(150);
  });

  it('draws other addresses from another seed', () => {
    expect(take(pool4('10.0.0.0/8', [], 'a'), 10)).not.toEqual(take(pool4('10.0.0.0/8', [], 'b'), 10));
  });

  it('gives many addresses of a large block', () => {
    const pool = pool4('10.0.0.0/8');
    expect(new Set(take(pool, 20_000)).size).toBe(20_000);
  });

  it('fills a block with a source that always gives the same octets', () => {
    const pool = new AddressPool({
      ip4: parsePrefix('10.0.0.0/24'),
      random: (n) => new Uint8Array(n).fill(7),
    });
    expect(new Set(take(pool, 254)).size).toBe(254);
  });

  it('gives IPv6 addresses with a random interface identifier', () => {
    const ip6 = parsePrefix('fd00:1::/64');
    const pool = new AddressPool({ ip6, random: seeded() });
    const leases = Array.from({ length: 100 }, () => pool.assign({}, IP6)!);
    expect(new Set(leases.map((lease) => lease.ip6?.address)).size).toBe(100);
    for (const lease of leases) {
      expect(lease).toMatchObject({ ip6: { prefixLength: 128 }, dns: [] });
      expect(lease.ip4).toBeUndefined();
      expect(prefixContains(ip6, addressBytes(lease.ip6!.address))).toBe(true);
    }
  });

  it('does not give the subnet router address of an IPv6 block', () => {
    const pool = new AddressPool({ ip6: parsePrefix('fd00::/126'), random: seeded() });
    const addresses = Array.from({ length: 4 }, () => pool.assign({}, IP6)?.ip6?.address).sort();
    expect(addresses).toEqual(['fd00::1', 'fd00::2', 'fd00::3', undefined]);
  });

  it('gives what is asked for, and fails only if it can give no address (rule 59)', () => {
    const pool = new AddressPool({
      ip4: parsePrefix('10.0.0.1/32'),
      ip6: parsePrefix('fd00::/64'),
      ip4Dns: ['10.0.0.53'],
      ip6Dns: ['fd00::53'],
      random: seeded(),
    });
    expect(pool.assign({}, { ...IP4, ip4Dns: true })).toEqual({ ip4: '10.0.0.1', dns: ['10.0.0.53'] });
    const second = pool.assign({}, ALL);
    expect(second).toMatchObject({ ip6: { prefixLength: 128 }, dns: ['10.0.0.53', 'fd00::53'] });
    expect(second?.ip4).toBeUndefined();
    expect(pool.assign({}, IP4)).toBeUndefined();
    expect(pool.assign({}, { ...ALL, ip4: false, ip6: false })).toBeUndefined();
  });

  it('keeps leases unique through any order of assigning and releasing', () => {
    const steps = fc.array(fc.record({ owner: fc.nat(11), release: fc.boolean() }), { maxLength: 100 });
    fc.assert(
      fc.property(
        steps,
        fc.constantFrom('10.0.0.0/29', '10.0.0.0/30', '10.0.0.0/31', '10.0.0.0/32'),
        (list, prefix) => {
          const pool = pool4(prefix);
          const size = { '29': 6, '30': 2, '31': 2, '32': 1 }[prefix.slice(-2)]!;
          const owners = Array.from({ length: 12 }, () => ({}));
          const held = new Map<number, string>();
          for (const { owner, release } of list) {
            if (release) {
              pool.release(owners[owner]);
              held.delete(owner);
              continue;
            }
            const address = pool.assign(owners[owner], IP4)?.ip4;
            const before = held.get(owner);
            if (before !== undefined) expect(address).toBe(before);
            else if (held.size === size) expect(address).toBeUndefined();
            else {
              expect(address).toBeDefined();
              expect([...held.values()]).not.toContain(address);
              held.set(owner, address!);
            }
          }
        },
      ),
    );
  });
});
