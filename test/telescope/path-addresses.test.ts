import { describe, expect, it } from 'vitest';
import { outerFamily } from '../../src/descriptor/outer-family.ts';
import { pathAddresses } from '../../src/telescope/path-addresses.ts';
import type { RelayTarget } from '../../src/telescope/relay-target.ts';
import { parsePrefix } from '../../src/wire/address.ts';

/** The families of its addresses, `p` if that of IPv4 is private, and of its pools. */
function relay(number: number, addresses: string, pools: string): RelayTarget {
  const pick = <T>(families: string, ip4: T, ip6: T) => ({
    ...(families.includes('4') && { ip4 }),
    ...(families.includes('6') && { ip6 }),
  });
  return {
    name: `relay-${number}`,
    publicKey: new Uint8Array(),
    addresses: pick(
      addresses,
      addresses.includes('p') ? `10.99.0.${number}` : `192.0.2.${number}`,
      `2001:db8::${number}`,
    ),
    pools: pick(pools, parsePrefix(`10.${number}.0.0/16`), parsePrefix(`fd00:${number}::/48`)),
    overlayMtu: 1446,
  };
}

const path = (...relays: readonly (readonly [addresses: string, pools: string])[]) =>
  relays.map(([addresses, pools], index) => relay(index + 1, addresses, pools));

describe('the addresses of a path', () => {
  it.each([
    ['IPv4 everywhere', path(['4', '4'], ['4', '4']), ['192.0.2.1 4', '192.0.2.2 4']],
    ['IPv6 everywhere', path(['6', '6'], ['6', '6']), ['2001:db8::1 6', '2001:db8::2 6']],
    ['IPv4, where there is both', path(['46', '46'], ['46', '46']), ['192.0.2.1 4', '192.0.2.2 4']],
    [
      'IPv6 outside of the first hop only, where IPv4 is private',
      path(['p46', '46'], ['p46', '46'], ['p46', '46']),
      ['2001:db8::1 4', '10.99.0.2 4', '10.99.0.3 4'],
    ],
    [
      'IPv4 in a stock entry that says no more than its address',
      path(['6', ''], ['p4', '4'], ['p46', '6']),
      ['2001:db8::1 4', '10.99.0.2 4', '10.99.0.3 6'],
    ],
    [
      'of each hop what the next one has',
      path(['4', '46'], ['6', '46'], ['4', '6']),
      ['192.0.2.1 6', '2001:db8::2 4', '192.0.2.3 6'],
    ],
    [
      'what an overlay carries, if both would do',
      path(['6', '46'], ['46', '46']),
      ['2001:db8::1 6', '2001:db8::2 4'],
    ],
  ])('are %s', (_, relays, expected) => {
    expect(pathAddresses(relays).map(({ address, family }) => `${address} ${family}`)).toEqual(expected);
  });

  it('end in the family that is asked for', () => {
    const families = (family: 4 | 6) =>
      pathAddresses(path(['4', '46'], ['4', '46']), family).map((hop) => hop.family);
    expect(families(6)).toEqual([4, 6]);
    expect(families(4)).toEqual([4, 4]);
  });

  it('are refused where the relay before cannot get to one, and where the exit does not assign them', () => {
    expect(() => pathAddresses(path(['4', '4'], ['4', '4'], ['6', '6']))).toThrow(
      'hop 3 (relay-3): choosing its address: it has no IPv4 address, and relay-2, the relay before it, assigns no others',
    );
    expect(() => pathAddresses(path(['4', '4'], ['4', '4']), 6)).toThrow(
      'hop 2 (relay-2): choosing our address: it assigns no IPv6 addresses',
    );
    expect(() => pathAddresses([relay(1, '', '4')])).toThrow("relay 'relay-1' has no address");
  });
});

it('is IPv4 that two relays use between them, unless a private address stands beside one of IPv6', () => {
  const both = { ip4: '192.0.2.1', ip6: '2001:db8::1' };
  const hidden = { ip4: '10.99.0.1', ip6: '2001:db8::1' };
  expect(outerFamily(both, both)).toBe(4);
  expect(outerFamily(both, hidden)).toBe(6);
  expect(outerFamily({ ip4: '10.99.0.1' }, hidden)).toBe(4);
  expect(outerFamily({ ip6: 'fd00::1' }, both)).toBe(6);
  expect(outerFamily({ ip4: '192.0.2.1', ip6: 'fd00::1' }, { ip4: '192.0.2.2', ip6: 'fd00::2' })).toBe(4);
  expect(outerFamily({ ip4: '192.0.2.1' }, { ip6: '2001:db8::1' })).toBeUndefined();
});
