import { describe, expect, it } from 'vitest';
import { type ExitNeed, letsOut } from '../../src/select/exit-need.ts';
import { areApart, choosePath, SelectionError } from '../../src/select/paths.ts';
import { parsePrefix } from '../../src/wire/address.ts';
import { chance, relay } from './relays.ts';

const WEB = [{ protocol: 'tcp', port: 443 }] as const;
const ten = Array.from({ length: 10 }, (_, index) => relay(index));
const names = (relays: readonly { readonly name: string }[]) => relays.map(({ name }) => name);

describe('letsOut', () => {
  const policy = [
    'reject 192.0.2.0/24:443',
    'accept 198.51.100.0/24',
    'accept *:443/tcp',
    'accept *:53/udp',
    'reject *',
  ];
  const exit = relay(1, { exitPolicy: policy });
  const cases: [ExitNeed, boolean][] = [
    [{ protocol: 'tcp', port: 443 }, true],
    [{ protocol: 'udp', port: 443 }, false],
    [{ protocol: 'udp', port: 53 }, true],
    [{ protocol: 'tcp', port: 80 }, false],
    [{ protocol: 'tcp', port: 80, address: '198.51.100.7' }, true],
    [{ protocol: 'tcp', port: 443, address: '192.0.2.7' }, false],
    [{ protocol: 'tcp', port: 443, address: '2001:db8::7' }, false],
  ];
  it.each(cases)('%o: %s', (need, expected) => expect(letsOut(exit, need)).toBe(expected));

  it('is about IPv6 addresses if the exit assigns such', () => {
    const ip6 = relay(1, { pools: { ip6: parsePrefix('fd00::/48') }, exitPolicy: policy });
    expect(letsOut(ip6, { protocol: 'tcp', port: 443, address: '2001:db8::7' })).toBe(true);
    expect(letsOut(ip6, { protocol: 'tcp', port: 443, address: '198.51.100.7' })).toBe(false);
  });

  it('is false of a relay that is no exit, and goes by the default policy of one that states none', () => {
    expect(letsOut(relay(1, { exit: false }), WEB[0])).toBe(false);
    expect(letsOut(relay(1), WEB[0])).toBe(true);
    expect(letsOut(relay(1), { protocol: 'tcp', port: 25 })).toBe(false);
  });
});

describe('areApart', () => {
  it('is false for one key, one operator, one IPv4 /16, one IPv6 /32', () => {
    const a = relay(1, { addresses: { ip4: '198.1.0.1', ip6: '2001:db8::1' } });
    expect(areApart(a, relay(2))).toBe(true);
    expect(areApart(a, relay(2, { keyId: a.keyId }))).toBe(false);
    expect(areApart(a, relay(2, { addresses: { ip4: '198.1.255.1' } }))).toBe(false);
    expect(areApart(a, relay(2, { addresses: { ip6: '2001:db8:ffff::1' } }))).toBe(false);
    expect(areApart(a, relay(2, { addresses: { ip6: '2001:db9::1' } }))).toBe(true);
    const [x, y] = [relay(3, { operator: 'example.org' }), relay(4, { operator: 'example.org' })];
    expect(areApart(x, y)).toBe(false);
    expect(areApart(x, { ...y, operator: 'example.net' })).toBe(true);
  });
});

describe('choosePath', () => {
  it('begins with the first guard that goes with the exit, ends with an exit, and has no relay twice', () => {
    const relays = ten.map((each, index) => ({ ...each, exit: index >= 8 }));
    const seen = new Set<string>();
    for (let round = 0; round < 200; round++) {
      const path = choosePath(
        relays,
        { length: 3, near: false, needs: WEB, guards: [relays[8], relays[2]] },
        chance(`${round}`),
      );
      expect(new Set(names(path)).size).toBe(3);
      expect(path[2].exit).toBe(true);
      expect(path[0].name).toBe(path[2].name === 'r8' ? 'r2' : 'r8');
      seen.add(names(path).join(' '));
    }
    expect(seen.size).toBe(16);
  });

  it('takes relays that may follow each other only, and finds the one way there is', () => {
    const ways = new Set(['r0 r4', 'r4 r7', 'r7 r9', 'r0 r5', 'r5 r6']);
    const wish = {
      length: 4,
      near: false,
      needs: WEB,
      guards: [ten[0]],
      mayFollow: (from: { name: string }, to: { name: string }) => ways.has(`${from.name} ${to.name}`),
    };
    expect(names(choosePath(ten, wish, chance('way')))).toEqual(['r0', 'r4', 'r7', 'r9']);
  });

  it('makes paths of one and two relays', () => {
    expect(
      names(choosePath(ten, { length: 1, near: false, needs: WEB, guards: [ten[3]] }, chance('one'))),
    ).toEqual(['r3']);
    const [guard, exit] = choosePath(
      ten,
      { length: 2, near: false, needs: WEB, guards: [ten[3]] },
      chance('two'),
    );
    expect(guard.name).toBe('r3');
    expect(exit.name).not.toBe('r3');
  });

  it('has relays of one network or operator in a path only if that is wished', () => {
    const home = ten.map((each, index) => ({
      ...each,
      addresses: { ip4: `192.0.2.${index}` },
      operator: 'me',
    }));
    const wish = { length: 3, needs: WEB, guards: [home[0]] };
    expect(() => choosePath(home, { ...wish, near: false }, chance('home'))).toThrow(SelectionError);
    expect(new Set(names(choosePath(home, { ...wish, near: true }, chance('home')))).size).toBe(3);
  });

  it('gives up soon where there is no path', () => {
    const four = Array.from({ length: 40 }, (_, index) => relay(index, { operator: `operator${index % 4}` }));
    const wish = { length: 6, near: false, needs: WEB, guards: four.slice(0, 8) };
    expect(() => choosePath(four, wish, chance('four'))).toThrow(/no 6 of the 40 relays/);
  });

  it('says what is missing', () => {
    const choose =
      (relays: typeof ten, length = 3) =>
      () =>
        choosePath(relays, { length, near: false, needs: WEB, guards: [relays[0]] }, chance('none'));
    const closed = ten.map((each) => ({ ...each, exitPolicy: ['accept *:80'] }));
    expect(choose(closed)).toThrow(
      new SelectionError(
        'none of the 10 relays lets tcp port 443 out: 10 are exits; add one whose policy accepts it',
      ),
    );
    expect(choose(ten.slice(0, 2))).toThrow(/no 3 of the 2 relays make a path/);
    expect(choose(ten.map((each) => ({ ...each, operator: 'one' })))).toThrow(/must differ in key, operator/);
  });
});
