import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { keyOfAddress } from '../../src/forward/address-key.ts';
import {
  decide,
  type ForwardingConfig,
  forwardingTable,
  type PacketSource,
} from '../../src/forward/decision.ts';
import { DropReason } from '../../src/forward/drop-reason.ts';
import { DEFAULT_EXIT_POLICY, parseExitPolicy } from '../../src/forward/exit-policy.ts';
import { addressText, parsePrefix } from '../../src/wire/address.ts';
import { parseIpHeader } from '../../src/wire/ip.ts';
import { ESP, echo, ip, SYN, tcp, UDP, udp } from './packets.ts';

const A = '192.0.2.1';
const B = '192.0.2.2';
const C = '192.0.2.3';
const A6 = '2001:db8::1';
const B6 = '2001:db8::2';
const CLIENT = '10.1.0.7';
const CLIENT6 = 'fd00:1::7';
const NEIGHBOUR = '10.1.0.8';
const AT_B = '10.2.0.9';
const AT_B6 = 'fd00:2::9';
const WEB = '198.51.100.80';
const WEB6 = '2001:db8:ffff::80';

const config: ForwardingConfig = {
  addresses: [A, A6],
  pools: [parsePrefix('10.1.0.0/24'), parsePrefix('fd00:1::/64')],
  peers: [
    { keyId: 'b', addresses: [B, B6], pools: [parsePrefix('10.2.0.0/24'), parsePrefix('fd00:2::/64')] },
    { keyId: 'c', addresses: [C], pools: [parsePrefix('10.3.0.0/24')] },
  ],
  exitPolicy: parseExitPolicy(DEFAULT_EXIT_POLICY, 'test'),
  isClient: (address) => [CLIENT, NEIGHBOUR, CLIENT6].map(keyOfAddress).includes(address),
};
const exit = forwardingTable(config);
const { exitPolicy: _, ...withoutExit } = config;
const intermediate = forwardingTable(withoutExit);

const client: PacketSource = { kind: 'client', assigned: [keyOfAddress(CLIENT), keyOfAddress(CLIENT6)] };
const fromB: PacketSource = { kind: 'overlay', peer: 'b' };
const fromOutside: PacketSource = { kind: 'exit' };

function outcome(bytes: Uint8Array, from: PacketSource, table = exit): string {
  const decision = decide(table, bytes, parseIpHeader(bytes, 0, bytes.length), from);
  switch (decision.kind) {
    case 'drop':
      return decision.reason;
    case 'overlay':
      return `overlay ${decision.peer}`;
    case 'client':
      return `client ${decision.address === keyOfAddress(CLIENT) || decision.address === keyOfAddress(CLIENT6)}`;
    default:
      return decision.kind;
  }
}

const transport = (protocol: number, source: string, destination: string) =>
  ip({ source, destination, protocol, payload: new Uint8Array(24) });
const esp = (source: string, destination: string) => transport(ESP, source, destination);
const ports = (source: string, destination: string, sport: number, dport: number, more = {}) =>
  udp({ source, destination, sport, dport, ...more });
const to = (destination: string, dport = 53, source = CLIENT) => ports(source, destination, 4000, dport);

describe('packets from a client', () => {
  it.each([
    ['IKE to a listed relay', ports(CLIENT, B, 500, 500), 'overlay b'],
    ['IKE with NAT traversal to a listed relay', ports(CLIENT, C, 4500, 4500), 'overlay c'],
    ['ESP to a listed relay', esp(CLIENT, B), 'overlay b'],
    ['IKE to a listed relay over IPv6', ports(CLIENT6, B6, 500, 500), 'overlay b'],
    ['ESP to a listed relay over IPv6', esp(CLIENT6, B6), 'overlay b'],
    ['UDP to the Internet', to(WEB), 'exit'],
    ['UDP to the Internet over IPv6', to(WEB6, 53, CLIENT6), 'exit'],
    [
      'TCP to the Internet',
      tcp({ source: CLIENT, destination: WEB, sport: 4, dport: 443, flags: SYN }),
      'exit',
    ],
    ['an echo request to the Internet', echo({ source: CLIENT, destination: WEB, id: 5 }), 'exit'],
    ["a neighbour's address as source", to(WEB, 53, NEIGHBOUR), DropReason.SPOOFED_SOURCE],
    ["the relay's address as source", to(WEB, 53, A), DropReason.SPOOFED_SOURCE],
    ['a foreign address as source of IKE', ports('203.0.113.1', B, 500, 500), DropReason.SPOOFED_SOURCE],
    ['a foreign IPv6 source', to(WEB6, 53, 'fd00:1::8'), DropReason.SPOOFED_SOURCE],
    ['another port of a relay', ports(CLIENT, B, 500, 22), DropReason.RELAY_SERVICES],
    [
      'TCP to port 500 of a relay',
      tcp({ source: CLIENT, destination: B, sport: 500, dport: 500, flags: SYN }),
      DropReason.RELAY_SERVICES,
    ],
    [
      'an echo request to a relay',
      echo({ source: CLIENT, destination: B, id: 1 }),
      DropReason.RELAY_SERVICES,
    ],
    ['IKE to this relay from inside its own tunnel', ports(CLIENT, A, 500, 500), DropReason.OWN_SERVICES],
    ['another service of this relay', to(A6, 22, CLIENT6), DropReason.OWN_SERVICES],
    ['a client of this relay', to(NEIGHBOUR), DropReason.OTHER_CLIENT],
    ['an address of the pool that nobody holds', to('10.1.0.99'), DropReason.OTHER_CLIENT],
    ["a client of a peer's", to(AT_B), DropReason.PEER_POOL],
    ["IKE to a client of a peer's", ports(CLIENT6, AT_B6, 500, 500), DropReason.PEER_POOL],
    [
      'a fragment to a relay',
      ports(CLIENT, B, 500, 500, { moreFragments: true, df: false }),
      DropReason.FRAGMENT,
    ],
    [
      'a fragment to the Internet',
      ports(CLIENT, WEB, 5, 5, { moreFragments: true, df: false }),
      DropReason.FRAGMENT,
    ],
    [
      'a port that the policy rejects',
      tcp({ source: CLIENT, destination: WEB, sport: 5, dport: 25, flags: SYN }),
      DropReason.EXIT_POLICY,
    ],
    ['GRE', transport(47, CLIENT, WEB), DropReason.UNSUPPORTED_PROTOCOL],
    ['SCTP', transport(132, CLIENT, WEB), DropReason.UNSUPPORTED_PROTOCOL],
    ['ESP to the Internet', esp(CLIENT, WEB), DropReason.UNSUPPORTED_PROTOCOL],
    [
      'an IPv6 extension header, which may hide a port that the policy rejects',
      transport(60, CLIENT6, WEB6),
      DropReason.UNSUPPORTED_PROTOCOL,
    ],
    ["the other family's ICMP", transport(58, CLIENT, WEB), DropReason.UNSUPPORTED_PROTOCOL],
    ["the other family's ICMP over IPv6", transport(1, CLIENT6, WEB6), DropReason.UNSUPPORTED_PROTOCOL],
    ['an echo request over IPv6', echo({ source: CLIENT6, destination: WEB6, id: 5 }), 'exit'],
    ['IPv4 options', ports(CLIENT, WEB, 5, 5, { options: true }), DropReason.IP_OPTIONS],
    [
      'a UDP header cut short',
      ip({ source: CLIENT, destination: WEB, protocol: UDP, payload: new Uint8Array(7) }),
      DropReason.MALFORMED,
    ],
    [
      'a TCP header cut short',
      ip({ source: CLIENT, destination: WEB, protocol: 6, payload: new Uint8Array(19) }),
      DropReason.MALFORMED,
    ],
    ['no IP packet', new Uint8Array(20), DropReason.MALFORMED],
    ['a packet cut short', to(WEB).subarray(0, 30), DropReason.MALFORMED],
  ])('%s', (_name, bytes, expected) => {
    expect(outcome(bytes, client)).toBe(expected);
  });

  it.each([
    '0.0.0.0',
    '0.1.2.3',
    '10.9.9.9',
    '100.64.0.1',
    '100.127.255.255',
    '127.0.0.1',
    '168.63.129.16',
    '169.254.169.254',
    '172.16.0.1',
    '172.31.255.254',
    '192.0.0.8',
    '192.168.1.1',
    '198.18.0.1',
    '198.19.255.255',
    '224.0.0.251',
    '239.1.2.3',
    '240.0.0.1',
    '255.255.255.255',
  ])('keeps off %s', (destination) => {
    expect(outcome(to(destination), client)).toBe(DropReason.PRIVATE_RANGE);
  });

  it.each([
    '::',
    '::1',
    '::7f00:1',
    '::ffff:127.0.0.1',
    '::ffff:198.51.100.1',
    '64:ff9b::a01:203',
    '64:ff9b:1::1',
    '2001::1',
    '2002:a00:1::1',
    'fc00::1',
    'fd12::1',
    'fe80::1',
    'fec0::1',
    'ff02::1',
  ])('keeps off %s', (destination) => {
    expect(outcome(to(destination, 53, CLIENT6), client)).toBe(DropReason.PRIVATE_RANGE);
  });

  it.each([
    '9.255.255.255',
    '11.0.0.0',
    '100.63.255.255',
    '100.128.0.0',
    '168.63.129.17',
    '192.0.1.0',
    '198.20.0.0',
    '172.15.0.1',
    '172.32.0.0',
    '223.255.255.255',
  ])('lets %s out, which is next to a private range', (destination) => {
    expect(outcome(to(destination), client)).toBe('exit');
  });

  it('does not take an IPv6 address for an IPv4 one that begins with the same octets', () => {
    expect(outcome(to('a01:5::1', 53, CLIENT6), client)).toBe('exit');
  });

  it('lets nothing out of a relay that is no exit, yet still to relays', () => {
    expect(outcome(to(WEB), client, intermediate)).toBe(DropReason.NOT_AN_EXIT);
    expect(outcome(esp(CLIENT, B), client, intermediate)).toBe('overlay b');
  });

  it('never forwards a wrong source, whatever else the packet is (T24)', () => {
    const addresses = [A, B, C, CLIENT, NEIGHBOUR, AT_B, WEB, '127.0.0.1'];
    const any4 = fc.oneof(
      fc.constantFrom(...addresses),
      fc.uint8Array({ minLength: 4, maxLength: 4 }).map(addressText),
    );
    const port = fc.oneof(fc.constantFrom(0, 25, 500, 4500), fc.nat(65535));
    fc.assert(
      fc.property(
        any4,
        any4,
        fc.constantFrom(UDP, ESP, 1, 6, 47),
        port,
        port,
        (source, destination, protocol, sport, dport) => {
          fc.pre(source !== CLIENT);
          const payload = new Uint8Array(40);
          payload.set([sport >> 8, sport & 255, dport >> 8, dport & 255]);
          const bytes = ip({ source, destination, protocol, payload });
          expect(outcome(bytes, client)).toBe(DropReason.SPOOFED_SOURCE);
        },
      ),
    );
  });
});

describe('packets from an overlay peer', () => {
  it.each([
    ["IKE of a peer's client", ports(AT_B, A, 500, 500), 'local-ike'],
    ["IKE of a peer's client, NAT traversal", ports(AT_B, A, 4500, 4500), 'local-ike'],
    ["ESP of a peer's client", esp(AT_B, A), 'local-esp'],
    ["ESP of a peer's client over IPv6", esp(AT_B6, A6), 'local-esp'],
    ['the answer to IKE', ports(B, CLIENT, 500, 500), 'client true'],
    ['the answer to IKE, NAT traversal', ports(B, CLIENT, 4500, 4500), 'client true'],
    ['ESP to a client', esp(B, CLIENT), 'client true'],
    ['ESP to a client over IPv6', esp(B6, CLIENT6), 'client true'],
    ["a source of this relay's pool (T25)", esp(CLIENT, A), DropReason.OUTSIDE_PEER_POOL],
    ["a source of another peer's pool (T25)", esp('10.3.0.1', A), DropReason.OUTSIDE_PEER_POOL],
    ["another relay's address as source", esp(C, CLIENT), DropReason.OUTSIDE_PEER_POOL],
    ['a public source', ports(WEB, CLIENT, 500, 500), DropReason.OUTSIDE_PEER_POOL],
    ['a fragment', ports(AT_B, A, 500, 500, { moreFragments: true, df: false }), DropReason.FRAGMENT],
    ['another port of this relay', ports(AT_B, A, 500, 22), DropReason.OWN_SERVICES],
    [
      'TCP to this relay',
      tcp({ source: AT_B, destination: A, sport: 500, dport: 500, flags: SYN }),
      DropReason.OWN_SERVICES,
    ],
    ['an echo request to this relay', echo({ source: AT_B, destination: A, id: 1 }), DropReason.OWN_SERVICES],
    ["the peer's own IKE", ports(B, A, 500, 500), DropReason.RELAY_IN_OVERLAY],
    ["the peer's own ESP", esp(B, A), DropReason.RELAY_IN_OVERLAY],
    ["a peer's client to a client of ours", esp(AT_B, CLIENT), DropReason.OTHER_CLIENT],
    ['the relay to a client by another port', ports(B, CLIENT, 53, 500), DropReason.RELAY_SERVICES],
    [
      'TCP of the relay to a client',
      tcp({ source: B, destination: CLIENT, sport: 500, dport: 9, flags: SYN }),
      DropReason.RELAY_SERVICES,
    ],
    ['an address that no client holds', esp(B, '10.1.0.99'), DropReason.NO_SUCH_CLIENT],
    ['transit to another relay', esp(AT_B, C), DropReason.NOT_FOR_US],
    ['transit to the Internet', ports(AT_B, WEB, 500, 53), DropReason.NOT_FOR_US],
    [
      'a UDP header cut short',
      ip({ source: AT_B, destination: A, protocol: UDP, payload: new Uint8Array(4) }),
      DropReason.MALFORMED,
    ],
    ['IPv4 options', ports(AT_B, A, 500, 500, { options: true }), DropReason.IP_OPTIONS],
  ])('%s', (_name, bytes, expected) => {
    expect(outcome(bytes, fromB)).toBe(expected);
  });

  it('refuses a peer that is not listed', () => {
    expect(outcome(esp(AT_B, A), { kind: 'overlay', peer: 'x' })).toBe(DropReason.UNKNOWN_PEER);
  });
});

describe('packets from the exit', () => {
  it.each([
    ['an answer to a client', ports(WEB, CLIENT, 53, 4000), 'client true'],
    ['an answer to a client over IPv6', ports(WEB6, CLIENT6, 53, 4000), 'client true'],
    ['an answer to a client that is gone', ports(WEB, '10.1.0.99', 53, 4000), DropReason.NO_SUCH_CLIENT],
    ['something for an address outside the pools', ports(WEB, AT_B, 53, 4000), DropReason.NOT_FOR_US],
    ['IPv4 options', ports(WEB, CLIENT, 53, 4000, { options: true }), DropReason.IP_OPTIONS],
  ])('%s', (_name, bytes, expected) => {
    expect(outcome(bytes, fromOutside)).toBe(expected);
  });
});

it('decides on any octets without throwing', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 80 }),
      fc.constantFrom(client, fromB, fromOutside),
      (bytes, from) => {
        if (bytes.length > 0) bytes[0] = 0x45 + (bytes[0] & 0x21);
        expect(outcome(bytes, from)).toBeTypeOf('string');
      },
    ),
  );
});
