import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  addressBytes,
  addressText,
  familyOf,
  hostPrefix,
  parseAddress,
  parsePrefix,
  prefixContains,
  prefixesOverlap,
  prefixText,
} from '../../src/wire/address.ts';
import { hex } from '../../src/wire/bytes.ts';

describe('addresses', () => {
  it.each([
    ['10.0.0.1', '10.0.0.1'],
    ['255.255.255.255', '255.255.255.255'],
    ['FD00:0:0:0::1', 'fd00::1'],
    ['::', '::'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['2001:db8::1:0:0:1', '2001:db8::1:0:0:1'],
  ])('parses %s', (text, canonical) => {
    expect(parseAddress(text)).toBe(canonical);
  });

  it.each([
    '',
    '10.0.0',
    '10.0.0.256',
    '010.0.0.1',
    '10.0.0.1/32',
    '0x0a.0.0.1',
    '1',
    'fd00',
    'fd00:::1',
    'a.b.c.d',
    'fe80::1%eth0',
    ' 10.0.0.1',
  ])('is not an address: %j', (text) => {
    expect(() => parseAddress(text)).toThrow(RangeError);
  });

  it('goes to octets and back', () => {
    const octets = fc.constantFrom(4, 16).chain((n) => fc.uint8Array({ minLength: n, maxLength: n }));
    fc.assert(
      fc.property(octets, (bytes) => {
        const text = addressText(bytes);
        expect(parseAddress(text)).toBe(text);
        expect(addressBytes(text)).toEqual(bytes);
        expect(familyOf(text)).toBe(bytes.length === 4 ? 4 : 6);
      }),
    );
  });

  it('keeps an IPv4-mapped IPv6 address an IPv6 address', () => {
    const text = parseAddress('::ffff:10.0.0.1');
    expect(familyOf(text)).toBe(6);
    expect(hex(addressBytes(text))).toBe('00000000000000000000ffff0a000001');
    expect(addressText(addressBytes(text))).toBe(text);
  });
});

describe('prefixes', () => {
  it.each(['0.0.0.0/0', '10.0.0.0/8', '10.0.0.128/25', '10.0.0.1/32', '::/0', 'fd00::/48', 'fd00::1/128'])(
    'parses %s',
    (text) => {
      expect(prefixText(parsePrefix(text))).toBe(text);
    },
  );

  it.each([
    '10.0.0.0',
    '10.0.0.0/',
    '10.0.0.0/33',
    '10.0.0.1/24',
    'fd00::/129',
    'fd00::1/64',
    '10.0.0.0/8/8',
    '10.0.0.0/-1',
    '10.0.0.0/8 ',
    'x/8',
  ])('is not an address block: %j', (text) => {
    expect(() => parsePrefix(text)).toThrow(RangeError);
  });

  it.each([
    ['10.0.0.0/8', '10.255.255.255', true],
    ['10.0.0.0/8', '11.0.0.0', false],
    ['10.0.0.128/25', '10.0.0.127', false],
    ['10.0.0.128/25', '10.0.0.128', true],
    ['10.0.0.4/30', '10.0.0.7', true],
    ['10.0.0.4/30', '10.0.0.8', false],
    ['10.0.0.1/32', '10.0.0.1', true],
    ['0.0.0.0/0', '255.0.0.1', true],
    ['fd00::/47', 'fd00:0:1::', true],
    ['fd00::/47', 'fd00:0:2::', false],
  ])('%s contains %s: %s', (prefix, address, expected) => {
    const bytes = addressBytes(address);
    expect(prefixContains(parsePrefix(prefix), bytes)).toBe(expected);
    const packet = new Uint8Array(40);
    packet.set(bytes, 12);
    expect(prefixContains(parsePrefix(prefix), packet, 12)).toBe(expected);
  });

  it.each([
    ['10.0.0.0/8', '10.1.0.0/16', true],
    ['10.1.0.0/16', '10.2.0.0/16', false],
    ['10.0.0.1/32', '10.0.0.1/32', true],
    ['0.0.0.0/0', '::/0', false],
    ['::/0', 'fd00::/8', true],
  ])('%s and %s overlap: %s', (a, b, expected) => {
    expect(prefixesOverlap(parsePrefix(a), parsePrefix(b))).toBe(expected);
    expect(prefixesOverlap(parsePrefix(b), parsePrefix(a))).toBe(expected);
  });

  it('makes a block of one address', () => {
    expect(prefixText(hostPrefix('10.0.0.1'))).toBe('10.0.0.1/32');
    expect(prefixText(hostPrefix('fd00::1'))).toBe('fd00::1/128');
  });
});
