import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isSubset, narrow } from '../../../src/ike/traffic-selector.ts';
import { addressBytes, familyOf, parsePrefix } from '../../../src/wire/address.ts';
import {
  addressSelector,
  anySelector,
  prefixSelector,
  selectorHasAddress,
  type TrafficSelector,
} from '../../../src/wire/traffic-selector.ts';
import { selector } from './arbitraries.ts';

/** "10.0.0.1-10.0.0.9 6 80-443"; protocol and ports may be left out. */
function ts(text: string): TrafficSelector {
  const [addresses, protocol = '0', ports = '0-65535'] = text.split(' ');
  if (addresses.includes('/')) return { ...prefixSelector(parsePrefix(addresses)), ...rest() };
  const [start, end = start] = addresses.split('-');
  return {
    family: familyOf(start),
    startAddress: addressBytes(start),
    endAddress: addressBytes(end),
    ...rest(),
  };
  function rest() {
    const [startPort, endPort] = ports.split('-').map(Number);
    return { protocol: Number(protocol), startPort, endPort };
  }
}

describe('narrow', () => {
  it.each<[string, string[], string[], string[]]>([
    ['any to an address', ['0.0.0.0/0'], ['10.0.0.1'], ['10.0.0.1']],
    ['both families to one', ['0.0.0.0/0', '::/0'], ['10.0.0.1'], ['10.0.0.1']],
    ['both families to both', ['0.0.0.0/0', '::/0'], ['fd00::1', '10.0.0.1'], ['10.0.0.1', 'fd00::1']],
    ['an offer inside', ['10.0.0.7'], ['10.0.0.0/24'], ['10.0.0.7']],
    ['overlapping ranges', ['10.0.0.5-10.0.0.20'], ['10.0.0.10-10.0.0.30'], ['10.0.0.10-10.0.0.20']],
    ['touching ranges', ['10.0.0.5-10.0.0.10'], ['10.0.0.10-10.0.0.30'], ['10.0.0.10']],
    ['disjoint ranges', ['10.0.0.5-10.0.0.9'], ['10.0.0.10-10.0.0.30'], []],
    ['another family', ['::/0'], ['0.0.0.0/0'], []],
    ['nothing allowed', ['0.0.0.0/0'], [], []],
    ['nothing offered', [], ['0.0.0.0/0'], []],
    ['a protocol to any', ['10.0.0.1 6 80-80'], ['0.0.0.0/0'], ['10.0.0.1 6 80-80']],
    ['any to a protocol', ['0.0.0.0/0'], ['10.0.0.1 17 500-500'], ['10.0.0.1 17 500-500']],
    ['other protocols', ['0.0.0.0/0 6'], ['0.0.0.0/0 17'], []],
    ['ports', ['10.0.0.1 6 1-100'], ['10.0.0.1 6 80-443'], ['10.0.0.1 6 80-100']],
    ['other ports', ['10.0.0.1 6 1-79'], ['10.0.0.1 6 80-443'], []],
    ['OPAQUE in any', ['10.0.0.1 6 65535-0'], ['10.0.0.0/8'], ['10.0.0.1 6 65535-0']],
    ['any to OPAQUE', ['10.0.0.1'], ['10.0.0.0/8 6 65535-0'], ['10.0.0.1 6 65535-0']],
    ['OPAQUE and OPAQUE', ['10.0.0.1 6 65535-0'], ['10.0.0.1 6 65535-0'], ['10.0.0.1 6 65535-0']],
    ['OPAQUE and ports', ['10.0.0.1 6 65535-0'], ['10.0.0.1 6 1-65535'], []],
    ['ports and OPAQUE', ['10.0.0.1 6 1-65535'], ['10.0.0.1 6 65535-0'], []],
    [
      'the packet first, then its block',
      ['10.0.0.1 6 80-80', '10.0.0.0/24'],
      ['10.0.0.0/24'],
      ['10.0.0.0/24'],
    ],
    ['the same twice', ['10.0.0.1', '10.0.0.1'], ['10.0.0.0/8'], ['10.0.0.1']],
    [
      'the order of the offer',
      ['10.2.0.0/16', '10.1.0.0/16'],
      ['10.1.0.0/16', '10.2.0.0/16'],
      ['10.2.0.0/16', '10.1.0.0/16'],
    ],
  ])('%s', (_, offered, allowed, expected) => {
    expect(narrow(offered.map(ts), allowed.map(ts))).toEqual(expected.map(ts));
  });

  it('is within both sides, and gives what it was given', () => {
    const lists = fc.array(selector, { maxLength: 5 });
    fc.assert(
      fc.property(lists, lists, (offered, allowed) => {
        const result = narrow(offered, allowed);
        expect(isSubset(result, offered)).toBe(true);
        expect(isSubset(result, allowed)).toBe(true);
        expect(narrow(result, allowed)).toEqual(result);
        expect(isSubset(offered, narrow(offered, offered))).toBe(true);
      }),
    );
  });

  it('gives no more selectors than a payload can have', () => {
    const offered = Array.from({ length: 255 }, (_, i) => ts(`10.0.${i}.0/24`));
    const allowed = ['0-9', '20-29'].map((ports) => ts(`0.0.0.0/0 6 ${ports}`));
    expect(narrow(offered, allowed)).toHaveLength(255);
  });
});

describe('isSubset', () => {
  it.each<[string, string[], string[], boolean]>([
    ['nothing', [], ['10.0.0.1'], true],
    ['the same', ['10.0.0.1'], ['10.0.0.1'], true],
    ['an address of a block', ['10.0.0.1'], ['10.0.0.0/24'], true],
    ['a block of an address', ['10.0.0.0/24'], ['10.0.0.1'], false],
    ['one inside, one outside', ['10.0.0.1', '10.1.0.1'], ['10.0.0.0/24'], false],
    ['any protocol of one', ['10.0.0.1'], ['10.0.0.1 6'], false],
    ['more ports', ['10.0.0.1 6 1-100'], ['10.0.0.1 6 1-99'], false],
    ['nothing offered', ['10.0.0.1'], [], false],
    ['another family', ['::/0'], ['0.0.0.0/0'], false],
  ])('%s', (_, answer, offered, expected) => {
    expect(isSubset(answer.map(ts), offered.map(ts))).toBe(expected);
  });
});

describe('selectors', () => {
  it('makes any, a block and an address', () => {
    expect(anySelector(4)).toEqual(ts('0.0.0.0-255.255.255.255'));
    expect(anySelector(6)).toEqual(ts('::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'));
    expect(ts('10.0.0.128/25')).toEqual(ts('10.0.0.128-10.0.0.255'));
    expect(ts('10.0.0.4/31')).toEqual(ts('10.0.0.4-10.0.0.5'));
    expect(addressSelector('fd00::1')).toEqual(ts('fd00::1-fd00::1'));
  });

  it('knows its addresses', () => {
    const block = ts('10.0.0.4-10.0.0.9');
    const has = (address: string) => selectorHasAddress(block, addressBytes(address));
    expect(['10.0.0.3', '10.0.0.4', '10.0.0.9', '10.0.0.10', 'fd00::4'].map(has)).toEqual([
      false,
      true,
      true,
      false,
      false,
    ]);
  });
});
