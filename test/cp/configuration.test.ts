import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ConfigAttribute, ConfigAttributeType } from '../../src/cp/attributes.ts';
import {
  assignedAddresses,
  configReply,
  configRequest,
  requestedAddresses,
} from '../../src/cp/configuration.ts';
import { fromHex } from '../../src/wire/bytes.ts';
import { WireError } from '../../src/wire/reader.ts';

const NOTHING = { ip4: false, ip6: false, ip4Dns: false, ip6Dns: false };
const ALL = { ip4: true, ip6: true, ip4Dns: true, ip6Dns: true };
const {
  INTERNAL_IP4_ADDRESS,
  INTERNAL_IP4_NETMASK,
  INTERNAL_IP4_DNS,
  INTERNAL_IP6_ADDRESS,
  INTERNAL_IP6_DNS,
} = ConfigAttributeType;
const attribute = (type: number, value = ''): ConfigAttribute => ({ type, value: fromHex(value) });

describe('configRequest', () => {
  it('asks in a fixed order with empty values', () => {
    expect(configRequest(ALL)).toEqual([1, 3, 8, 10].map((type) => attribute(type)));
    expect(configRequest({ ...NOTHING, ip4: true, ip4Dns: true })).toEqual([attribute(1), attribute(3)]);
    expect(configRequest(NOTHING)).toEqual([]);
  });

  it('is read back, for every request', () => {
    const request = fc.record({
      ip4: fc.boolean(),
      ip6: fc.boolean(),
      ip4Dns: fc.boolean(),
      ip6Dns: fc.boolean(),
    });
    fc.assert(
      fc.property(request, (asked) => {
        expect(requestedAddresses(configRequest(asked))).toEqual(asked);
      }),
    );
  });
});

describe('requestedAddresses', () => {
  it.each([
    ['a specific IPv4 address', attribute(INTERNAL_IP4_ADDRESS, '0a000001'), { ...NOTHING, ip4: true }],
    [
      'a specific IPv6 address',
      attribute(INTERNAL_IP6_ADDRESS, `fd${'00'.repeat(15)}80`),
      { ...NOTHING, ip6: true },
    ],
    ['an IPv6 DNS server', attribute(INTERNAL_IP6_DNS, '00'.repeat(16)), { ...NOTHING, ip6Dns: true }],
    ['an unknown attribute', attribute(25, '01'), NOTHING],
    ['a netmask', attribute(INTERNAL_IP4_NETMASK), NOTHING],
    ['IPv4 of 3 octets', attribute(INTERNAL_IP4_ADDRESS, '0a0000'), NOTHING],
    ['IPv4 of 5 octets', attribute(INTERNAL_IP4_ADDRESS, '0a00000100'), NOTHING],
    ['IPv6 of 16 octets', attribute(INTERNAL_IP6_ADDRESS, '00'.repeat(16)), NOTHING],
    ['IPv6 of 18 octets', attribute(INTERNAL_IP6_ADDRESS, '00'.repeat(18)), NOTHING],
    ['IPv6 DNS of 17 octets', attribute(INTERNAL_IP6_DNS, '00'.repeat(17)), NOTHING],
  ])('%s', (_, asked, expected) => {
    expect(requestedAddresses([asked])).toEqual(expected);
  });

  it('takes 10000 requests for an address as one (rule 58) (bad input 12)', () => {
    const many = Array<ConfigAttribute>(10_000).fill(attribute(INTERNAL_IP4_ADDRESS));
    expect(requestedAddresses(many)).toEqual({ ...NOTHING, ip4: true });
  });
});

describe('assignedAddresses', () => {
  it.each([
    [{ ip4: '10.1.2.3', dns: ['10.1.0.1'] }],
    [{ ip6: { address: 'fd00::1', prefixLength: 128 }, dns: ['fd00::53', '9.9.9.9'] }],
    [{ ip4: '10.1.2.3', ip6: { address: 'fd00::1', prefixLength: 64 }, dns: [] }],
    [{ dns: [] }],
  ])('reads the reply with %j', (assigned) => {
    expect(assignedAddresses(configReply(assigned))).toEqual(assigned);
  });

  it('has the lengths of RFC 7296 3.15.1 (rule 58)', () => {
    const reply = configReply({
      ip4: '10.1.2.3',
      ip6: { address: 'fd00::1', prefixLength: 128 },
      dns: ['10.1.0.1', 'fd00::53'],
    });
    expect(reply).toEqual([
      attribute(INTERNAL_IP4_ADDRESS, '0a010203'),
      attribute(INTERNAL_IP6_ADDRESS, 'fd00000000000000000000000000000180'),
      attribute(INTERNAL_IP4_DNS, '0a010001'),
      attribute(INTERNAL_IP6_DNS, 'fd000000000000000000000000000053'),
    ]);
  });

  it('passes over empty values and other attributes', () => {
    const reply = [
      attribute(INTERNAL_IP4_ADDRESS),
      attribute(INTERNAL_IP4_ADDRESS, '0a000001'),
      attribute(INTERNAL_IP4_NETMASK, 'ffffffff'),
      attribute(INTERNAL_IP4_DNS),
      attribute(13, '0a000000ffffff00'),
      attribute(0x7000, '00'),
    ];
    expect(assignedAddresses(reply)).toEqual({ ip4: '10.0.0.1', dns: [] });
  });

  it.each([
    [1, [0, 4]],
    [2, [0, 4]],
    [3, [0, 4]],
    [4, [0, 4]],
    [6, [0, 4]],
    [8, [0, 17]],
    [10, [0, 16]],
    [12, [0, 16]],
    [13, [0, 8]],
    [15, [0, 17]],
  ])('takes attribute %i with %j octets alone (rule 58)', (type, lengths) => {
    const taken = Array.from({ length: 40 }, (_, length) => length).filter((length) => {
      try {
        assignedAddresses([{ type, value: new Uint8Array(length) }]);
        return true;
      } catch (error) {
        expect(error).toBeInstanceOf(WireError);
        return false;
      }
    });
    expect(taken).toEqual(lengths);
  });

  it.each([
    ['IPv4 of 3 octets', [attribute(INTERNAL_IP4_ADDRESS, '0a0000')]],
    ['IPv4 of 5 octets', [attribute(INTERNAL_IP4_ADDRESS, '0a00000100')]],
    ['IPv4 DNS of 16 octets', [attribute(INTERNAL_IP4_DNS, '00'.repeat(16))]],
    ['IPv6 of 16 octets', [attribute(INTERNAL_IP6_ADDRESS, '00'.repeat(16))]],
    ['IPv6 of 18 octets', [attribute(INTERNAL_IP6_ADDRESS, '00'.repeat(18))]],
    ['IPv6 with prefix length 129', [attribute(INTERNAL_IP6_ADDRESS, `${'00'.repeat(16)}81`)]],
    ['IPv6 DNS of 17 octets', [attribute(INTERNAL_IP6_DNS, '00'.repeat(17))]],
    ['two IPv4 addresses', [attribute(1, '0a000001'), attribute(1, '0a000002')]],
    ['two IPv6 addresses', [attribute(8, '00'.repeat(17)), attribute(8, '00'.repeat(17))]],
  ])('refuses %s', (_, reply) => {
    expect(() => assignedAddresses(reply)).toThrow(WireError);
  });
});
