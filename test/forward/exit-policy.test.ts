import { describe, expect, it } from 'vitest';
import { DEFAULT_EXIT_POLICY, exitPolicyAccepts, parseExitPolicy } from '../../src/forward/exit-policy.ts';
import { parseIpHeader } from '../../src/wire/ip.ts';
import { echo, SYN, tcp, udp } from './packets.ts';

function accepts(rules: readonly string[], bytes: Uint8Array): boolean {
  return exitPolicyAccepts(
    parseExitPolicy(rules, 'relay.yaml'),
    bytes,
    parseIpHeader(bytes, 0, bytes.length)!,
  );
}
const ends = { source: '10.1.0.1', destination: '198.51.100.9' };
const ends6 = { source: 'fd00::1', destination: '2001:db8::9' };
const tcpTo = (dport: number) => tcp({ ...ends, sport: 1, dport, flags: SYN });
const udpTo = (dport: number) => udp({ ...ends, sport: 1, dport });

describe('exit policy', () => {
  it('rejects mail and accepts the rest by default', () => {
    expect(accepts(DEFAULT_EXIT_POLICY, tcpTo(25))).toBe(false);
    expect(accepts(DEFAULT_EXIT_POLICY, udpTo(25))).toBe(true);
    expect(accepts(DEFAULT_EXIT_POLICY, tcpTo(443))).toBe(true);
    expect(accepts(DEFAULT_EXIT_POLICY, echo({ ...ends6, id: 1 }))).toBe(true);
  });

  it('takes the first rule that matches', () => {
    const rules = ['accept 198.51.100.0/24:80,443,8000-8100/tcp', 'reject 198.51.0.0/16', 'accept *'];
    expect([80, 443, 8000, 8050, 8100].map((port) => accepts(rules, tcpTo(port)))).toEqual(
      Array(5).fill(true),
    );
    expect([81, 7999, 8101].map((port) => accepts(rules, tcpTo(port)))).toEqual([false, false, false]);
    expect(accepts(rules, udpTo(80))).toBe(false);
    expect(accepts(rules, udp({ ...ends, destination: '198.52.0.1', sport: 1, dport: 80 }))).toBe(true);
  });

  it('rejects what no rule matches', () => {
    expect(accepts(['accept *:443'], tcpTo(443))).toBe(true);
    expect(accepts(['accept *:443'], tcpTo(80))).toBe(false);
    expect(accepts([], tcpTo(443))).toBe(false);
  });

  it('keeps families, ports and protocols apart', () => {
    expect(accepts(['accept [2001:db8::/32]:53/udp'], udp({ ...ends6, sport: 1, dport: 53 }))).toBe(true);
    expect(accepts(['accept [2001:db8::/32]'], udpTo(53))).toBe(false);
    expect(accepts(['accept 0.0.0.0/0'], udp({ ...ends6, sport: 1, dport: 53 }))).toBe(false);
    expect(accepts(['accept *:*'], echo({ ...ends, id: 1 }))).toBe(false);
    expect(accepts(['accept */icmp'], echo({ ...ends, id: 1 }))).toBe(true);
    expect(accepts(['accept */icmp'], udpTo(1))).toBe(false);
    expect(accepts(['accept 198.51.100.9'], udpTo(1))).toBe(true);
    expect(accepts(['accept 198.51.100.8'], udpTo(1))).toBe(false);
  });

  it.each([
    ['allow *', "relay.yaml: exit policy rule 1: 'allow *' is not a rule"],
    ['accept 10.0.0.1/8', 'has host bits set'],
    ['accept 10.0.0.300', "'10.0.0.300' is not an IPv4 or IPv6 address"],
    ['accept 10.0.0.0/33', 'prefix length is over 32'],
    ['accept [10.0.0.0/8]', 'brackets are for IPv6'],
    ['accept *:0', "'0' is not a port"],
    ['accept *:70000', "'70000' is not a port"],
    ['accept *:90-80', "'90-80' is not a port"],
    ['accept *:80,', "'' is not a port"],
    ['reject *:25/icmp', 'ICMP has no ports'],
    ['accept *:80/sctp', 'is not a rule'],
  ])('refuses %s', (rule, message) => {
    expect(() => parseExitPolicy([rule], 'relay.yaml')).toThrow(message);
  });
});
