import { writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from '../../src/host/command.ts';
import { ipBatch } from '../../src/host/ip.ts';
import { type NetworkNamespace, openNamespace } from '../../src/host/namespace.ts';
import type { Address } from '../../src/wire/address.ts';
import { within } from '../support/namespaces.ts';

/** Two clients, three relays, and a server. */
export const NODES = ['S', 'T', 'A', 'B', 'C', 'D'] as const;
export type NodeName = (typeof NODES)[number];

export const RELAYS = ['A', 'B', 'C'] as const;
export type RelayName = (typeof RELAYS)[number];

/** Of documentation ranges (RFC 5737, RFC 3849). No octets of an IPv4 address turn up elsewhere: see `Captures`. */
export const ADDRESSES: Readonly<Record<NodeName, { readonly ip4: Address; readonly ip6: Address }>> = {
  S: { ip4: '198.51.100.66', ip6: '2001:db8:5ca1:ab1e::66' },
  T: { ip4: '198.51.100.77', ip6: '2001:db8:7ca1:ab1e::77' },
  A: { ip4: '192.0.2.113', ip6: '2001:db8:a::113' },
  B: { ip4: '192.0.2.157', ip6: '2001:db8:b::157' },
  C: { ip4: '192.0.2.211', ip6: '2001:db8:c::211' },
  D: { ip4: '203.0.113.179', ip6: '2001:db8:d::179' },
};

/** Of each relay, for an IPv6 Internet: known inside of tunnels only. */
export const INSIDE_ADDRESSES: Readonly<Record<RelayName, Address>> = {
  A: '10.219.0.113',
  B: '10.219.0.157',
  C: '10.219.0.211',
};

/** A second address of each relay, routed to it and not its own, for an exit that does NAPT by itself. */
export const EXIT_ADDRESSES: Readonly<Record<RelayName, Address>> = {
  A: '198.51.100.213',
  B: '198.51.100.221',
  C: '198.51.100.231',
};

/** What each relay assigns addresses from. */
export const POOLS: Readonly<Record<RelayName, { readonly ip4: string; readonly ip6: string }>> = {
  A: { ip4: '10.171.0.0/16', ip6: 'fd0a:171::/64' },
  B: { ip4: '10.187.0.0/16', ip6: 'fd0b:187::/64' },
  C: { ip4: '10.205.0.0/16', ip6: 'fd0c:205::/64' },
};

const PRIVATE = { 4: ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16'], 6: ['fc00::/7'] } as const;

/** The router's address on every link. */
const GATEWAY = { 4: '169.254.0.1', 6: 'fe80::1' } as const;

/** What the router has counted since it was opened; on an Internet that keeps its promises it is nothing. */
export interface Offences {
  /** Packets with a private address, which it has dropped. */
  readonly private: number;
  readonly fragments: number;
}

/** Nodes on links of their own to a router, "the Internet", each in a network namespace. */
export interface World {
  readonly router: NetworkNamespace;
  readonly nodes: Readonly<Record<NodeName, NetworkNamespace>>;
  /** For files; it goes with the world. */
  readonly directory: string;
  offences(): Promise<Offences>;
  close(): Promise<void>;
}

/** @param mtu - of every link @throws CommandError */
export async function openWorld(mtu = 1500): Promise<World> {
  const directory = await mkdtemp(join(tmpdir(), 'kernel-'));
  const opened: NetworkNamespace[] = [];
  const close = async () => {
    await Promise.all(opened.splice(0).map((namespace) => namespace.close()));
    await rm(directory, { recursive: true, force: true });
  };
  const open = async (forwards: boolean) => {
    const namespace = await openNamespace();
    opened.push(namespace);
    prepare(namespace, forwards);
    return namespace;
  };
  try {
    const router = await open(true);
    await count(router);
    const nodes = {} as Record<NodeName, NetworkNamespace>;
    for (const name of NODES) nodes[name] = await open(RELAYS.some((relay) => relay === name));
    await ipBatch(routerCommands(nodes, mtu), { netns: router.pid });
    for (const name of NODES) await ipBatch(nodeCommands(name), { netns: nodes[name].pid });
    return { router, nodes, directory, offences: () => offences(router), close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Before there is a device in it. */
export function prepare(namespace: NetworkNamespace, forwards: boolean): void {
  within(namespace, () => {
    for (const name of ['all', 'default']) {
      set(`ipv4/conf/${name}/rp_filter`, 0);
      set(`ipv4/conf/${name}/send_redirects`, 0);
      set(`ipv6/conf/${name}/accept_dad`, 0);
      set(`ipv6/conf/${name}/accept_ra`, 0); // nobody asks for routers now and then
      set(`ipv6/conf/${name}/forwarding`, forwards ? 1 : 0);
    }
    set('ipv4/ip_forward', forwards ? 1 : 0);
  });
}

function set(name: string, value: number): void {
  writeFileSync(`/proc/sys/net/${name}`, String(value));
}

/** Packets on the wire are no larger than the MTU: what TCP hands to a device in one piece would be cut behind the captures. */
const ONE_BY_ONE = 'gso_max_segs 1 gso_max_size 1500';

function routerCommands(nodes: World['nodes'], mtu: number): string[] {
  const links = NODES.flatMap((name) => {
    const device = `to${name}`;
    const { ip4, ip6 } = ADDRESSES[name];
    return [
      `link add ${device} mtu ${mtu} type veth peer name eth0 mtu ${mtu} netns ${nodes[name].pid}`,
      `link set ${device} up ${ONE_BY_ONE}`,
      `address add ${GATEWAY[4]}/32 dev ${device}`,
      `address add ${GATEWAY[6]}/64 dev ${device} nodad`,
      `route add ${ip4} dev ${device}`,
      `route add ${ip6} dev ${device}`,
    ];
  });
  const exits = RELAYS.map(
    (name) => `route add ${EXIT_ADDRESSES[name]} via ${ADDRESSES[name].ip4} dev to${name} onlink`,
  );
  return [...links, ...exits];
}

function nodeCommands(name: NodeName): string[] {
  return [
    `link set eth0 up ${ONE_BY_ONE}`,
    `address add ${ADDRESSES[name].ip4}/32 dev eth0`,
    ...routesOf(name),
  ];
}

/** What a node's device loses when it is down, for `ip`. */
export function routesOf(name: NodeName): string[] {
  const { ip4, ip6 } = ADDRESSES[name];
  return [
    `address add ${ip6}/128 dev eth0 nodad`,
    `route add ${GATEWAY[4]} dev eth0`,
    `route add default via ${GATEWAY[4]} dev eth0 src ${ip4}`,
    `route add ::/0 via ${GATEWAY[6]} dev eth0 src ${ip6}`,
  ];
}

const CHAINS = ['private', 'fragments'] as const;

/** Rules that count offences. Nothing in the router puts fragments together. */
async function count(router: NetworkNamespace): Promise<void> {
  const rules = (family: 4 | 6) => [
    '*filter',
    ...CHAINS.map((chain) => `:${chain} - [0:0]`),
    '-A private -j DROP',
    ...PRIVATE[family].flatMap((block) =>
      ['-s', '-d'].flatMap((side) =>
        ['FORWARD', 'INPUT'].map((chain) => `-A ${chain} ${side} ${block} -j private`),
      ),
    ),
    family === 4 ? '-A FORWARD -f -j fragments' : '-A FORWARD -m frag -j fragments',
    '-A fragments -j RETURN',
    'COMMIT',
  ];
  await restore(router, 'iptables-legacy-restore', rules(4));
  await restore(router, 'ip6tables-legacy-restore', rules(6));
}

async function restore(router: NetworkNamespace, program: string, lines: readonly string[]): Promise<void> {
  await run([program, '-w'], { netns: router.pid, input: `${lines.join('\n')}\n` });
}

async function offences(router: NetworkNamespace): Promise<Offences> {
  const counted = { private: 0, fragments: 0 };
  for (const program of ['iptables-legacy-save', 'ip6tables-legacy-save']) {
    const { stdout } = await router.exec([program, '-c', '-t', 'filter']);
    for (const chain of CHAINS) {
      const rule = new RegExp(`^\\[(\\d+):\\d+\\] -A ${chain} `, 'm').exec(stdout);
      if (rule === null) throw new Error(`${program} does not list the rule of ${chain}: ${stdout}`);
      counted[chain] += Number(rule[1]);
    }
  }
  return counted;
}
