import { describe, expect, it } from 'vitest';
import type { FirewallRule } from '../../src/firewall/rules.ts';
import { firewallRules } from '../../src/stock/firewall.ts';
import { overlayPlans } from '../../src/stock/overlay-plan.ts';
import { type Address, addressBytes, familyOf, prefixContains } from '../../src/wire/address.ts';
import { kitConfig } from './kit-configs.ts';

const TCP = 6;
const UDP = 17;
const ICMP = 1;
const ESP = 50;

/** A packet as a filter sees it. */
interface Seen {
  readonly hook: FirewallRule['hook'];
  readonly source: Address;
  readonly destination: Address;
  readonly protocol?: number;
  readonly port?: number;
  readonly from?: string;
  readonly to?: string;
  /** It came, and leaves, by IPsec. */
  readonly ipsec?: { readonly in?: boolean; readonly out?: boolean };
  readonly state?: FirewallRule['state'];
}

function relay(...lines: readonly string[]) {
  const config = kitConfig(1, ['peers: [2.yaml, 3.yaml]', ...lines]);
  const rules = firewallRules(config, overlayPlans(config));
  return (packet: Seen) => {
    const verdict = rules.find((rule) => matches(rule, packet))?.verdict;
    return typeof verdict === 'object' && 'drop' in verdict ? 'drop' : verdict;
  };
}

function matches(rule: FirewallRule, packet: Seen): boolean {
  const inside = (prefix: FirewallRule['source'], address: Address) =>
    prefix === undefined || prefixContains(prefix, addressBytes(address));
  const device = (match: FirewallRule['from'], name = 'eth0') =>
    match === undefined ||
    (typeof match === 'object' ? match.name === name : name.startsWith('overlay') === (match === 'ours'));
  const ports = (ranges: FirewallRule['sourcePorts']) =>
    ranges === undefined || ranges.some(([low, high]) => low <= packet.port! && packet.port! <= high);
  return (
    rule.hook === packet.hook &&
    rule.family === familyOf(packet.source) &&
    inside(rule.source, packet.source) &&
    inside(rule.destination, packet.destination) &&
    device(rule.from, packet.from) &&
    device(rule.to, packet.to) &&
    (rule.clear === undefined || !packet.ipsec?.[rule.clear]) &&
    (rule.state === undefined || rule.state === packet.state) &&
    (rule.protocol === undefined || rule.protocol === packet.protocol) &&
    ports(rule.sourcePorts) &&
    ports(rule.destinationPorts)
  );
}

const CLIENT = '10.1.0.7';
const PEER = '192.0.2.2';
const SITE = '198.51.100.80';
const fromClient = { hook: 'forward', source: CLIENT, ipsec: { in: true } } as const;
const toClient = { hook: 'forward', destination: CLIENT, ipsec: { out: true } } as const;

describe("a client's packets", () => {
  const middle = relay();
  const exit = relay(
    'exit: { kind: kernel, policy: ["reject *:25/tcp", "accept 0.0.0.0/0", "accept [2001:db8:7::/48]:443"] }',
  );
  const towards = { ...fromClient, destination: PEER, to: 'overlay1' } as const;

  it('go to a peer as IKE or ESP, through its overlay alone', () => {
    expect(middle({ ...towards, protocol: ESP })).toBe('accept');
    expect(middle({ ...towards, protocol: UDP, port: 500 })).toBe('accept');
    expect(middle({ ...towards, protocol: UDP, port: 4500 })).toBe('accept');
    expect(middle({ ...towards, protocol: UDP, port: 53 })).toBe('drop');
    expect(middle({ ...towards, protocol: TCP, port: 500 })).toBe('drop');
    for (const to of ['eth0', 'overlay2']) expect(exit({ ...towards, protocol: ESP, to })).toBe('drop');
  });

  it('go nowhere else from a relay that is no exit', () => {
    for (const destination of [SITE, '10.1.0.8', '10.2.0.1', '127.0.0.1'])
      expect(middle({ ...fromClient, destination, protocol: TCP, port: 80 })).toBe('drop');
  });

  it('leave an exit by its policy, but neither to private addresses nor to clients, nor into an overlay', () => {
    const web = { ...fromClient, destination: SITE, protocol: TCP, port: 80 } as const;
    expect(exit(web)).toBe('accept');
    expect(exit({ ...web, port: 25 })).toBe('drop');
    expect(exit({ ...web, protocol: UDP, port: 25 })).toBe('accept');
    expect(exit({ ...web, protocol: ICMP })).toBe('accept');
    expect(exit({ ...web, protocol: 47 })).toBe('drop');
    expect(exit({ ...web, to: 'overlay1' })).toBe('drop');
    expect(exit({ ...web, state: 'invalid' })).toBe('drop');
    for (const destination of ['10.1.0.8', '10.3.0.1', '192.168.1.1', '169.254.169.254'])
      expect(exit({ ...web, destination })).toBe('drop');
  });

  it('leave an exit by the policy of their family', () => {
    const web = {
      ...fromClient,
      source: 'fd01::7',
      destination: '2001:db8:7::1',
      protocol: TCP,
      port: 443,
    } as const;
    expect(exit(web)).toBe('accept');
    expect(exit({ ...web, port: 80 })).toBe('drop');
    expect(exit({ ...web, destination: '2001:db8:8::1' })).toBe('drop');
    expect(exit({ ...web, destination: 'fe80::1' })).toBe('drop');
  });

  it('have come out of a tunnel, or are not theirs', () => {
    expect(exit({ ...fromClient, destination: SITE, protocol: TCP, port: 80, ipsec: {} })).toBe('drop');
  });

  it('do not reach the router itself', () => {
    expect(exit({ hook: 'input', source: CLIENT, destination: '192.0.2.1', protocol: TCP, port: 22 })).toBe(
      'drop',
    );
  });

  it('leave with an address of the router, and only in clear', () => {
    const leaving = { hook: 'nat', source: CLIENT, destination: SITE } as const;
    expect(exit(leaving)).toEqual({ translate: undefined });
    expect(exit({ ...leaving, to: 'overlay1' })).toBeUndefined();
    expect(exit({ ...leaving, ipsec: { out: true } })).toBeUndefined();
    expect(middle(leaving)).toBeUndefined();
    const napt = relay('exit: { kind: napt, address: { ip4: 192.0.2.99 } }');
    expect(napt(leaving)).toEqual({ translate: '192.0.2.99' });
  });
});

describe('packets for a client', () => {
  const exit = relay('exit: { kind: kernel }');

  it('come from a peer, as IKE or ESP, out of its overlay', () => {
    const answer = { ...toClient, source: PEER, from: 'overlay1' } as const;
    expect(exit({ ...answer, protocol: ESP })).toBe('accept');
    expect(exit({ ...answer, protocol: UDP, port: 500 })).toBe('accept');
    expect(exit({ ...answer, protocol: UDP, port: 53, state: 'established' })).toBe('drop');
    expect(exit({ ...answer, protocol: ESP, from: 'overlay2', state: 'established' })).toBe('drop');
  });

  it('are answers to what it has sent out of the exit', () => {
    const answer = { ...toClient, source: SITE, protocol: TCP } as const;
    expect(exit({ ...answer, state: 'established' })).toBe('accept');
    expect(exit(answer)).toBe('drop');
    expect(relay()({ ...answer, state: 'established' })).toBe('drop');
  });

  it('never go in clear', () => {
    for (const hook of ['forward', 'output'] as const)
      expect(exit({ hook, source: SITE, destination: CLIENT, state: 'established' })).toBe('drop');
    expect(
      exit({ hook: 'output', source: '192.0.2.1', destination: CLIENT, ipsec: { out: true } }),
    ).toBeUndefined();
  });
});

describe('overlays', () => {
  const packet = relay('exit: { kind: kernel }');

  it("bring the IKE and ESP of the peer's clients to the router, and nothing else", () => {
    const request = {
      hook: 'input',
      source: '10.2.0.9',
      destination: '192.0.2.1',
      from: 'overlay1',
    } as const;
    expect(packet({ ...request, protocol: ESP })).toBe('accept');
    expect(packet({ ...request, protocol: UDP, port: 500 })).toBe('accept');
    expect(packet({ ...request, protocol: TCP, port: 22 })).toBe('drop');
    expect(packet({ ...request, protocol: ESP, destination: '192.168.1.1' })).toBe('drop');
    for (const from of ['overlay2', 'eth0']) expect(packet({ ...request, protocol: ESP, from })).toBe('drop');
    expect(packet({ ...request, source: PEER, protocol: UDP, port: 500 })).toBe('drop');
  });

  it('forward nothing of others', () => {
    expect(packet({ hook: 'forward', source: '10.2.0.9', destination: SITE, from: 'overlay1' })).toBe('drop');
    expect(packet({ hook: 'forward', source: SITE, destination: '10.2.0.9', to: 'overlay1' })).toBe('drop');
    expect(packet({ hook: 'forward', source: SITE, destination: PEER, to: 'overlay1' })).toBe('drop');
  });

  it("are the only way to a peer's clients", () => {
    const answer = { hook: 'output', source: '192.0.2.1', destination: '10.2.0.9', protocol: ESP } as const;
    expect(packet({ ...answer, to: 'overlay1' })).toBe('accept');
    for (const to of ['overlay2', 'eth0']) expect(packet({ ...answer, to })).toBe('drop');
  });

  it('leave all other packets to the operator', () => {
    for (const hook of ['forward', 'input', 'output', 'nat'] as const)
      expect(
        packet({ hook, source: '203.0.113.1', destination: SITE, protocol: TCP, port: 22 }),
      ).toBeUndefined();
  });
});
