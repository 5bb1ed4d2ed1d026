import type { Network, NetworkSpec } from './network.ts';
import { backend } from './scenarios/backend.ts';
import { behindNat } from './scenarios/behind-nat.ts';
import { crossingPaths } from './scenarios/crossing-paths.ts';
import { hostileRelay } from './scenarios/hostile-relay.ts';
import { killedHops } from './scenarios/killed-hops.ts';
import { rates } from './scenarios/rates.ts';
import { rekeys } from './scenarios/rekeys.ts';
import { relayClose } from './scenarios/relay-close.ts';
import { relayGuards } from './scenarios/relay-guards.ts';
import { telescope } from './scenarios/telescope.ts';

/** What a scenario is run with. */
export interface Stage extends Pick<Network, 'world' | 'relays'> {
  /** A folder with strongSwan. */
  readonly root: string;
  say(text: string): void;
}

/** What a scenario has measured: "download MB/s": 7.1. */
export type Figures = Readonly<Record<string, number | string>>;

export interface Scenario {
  readonly title: string;
  readonly network: NetworkSpec;
  /** @throws Error what is not as it should be; the network is not used again then */
  run(stage: Stage): Promise<Figures>;
}

/** What is to be seen without a network. */
export interface PlainScenario {
  readonly title: string;
  readonly network?: undefined;
  /** @throws Error what is not as it should be */
  run(): Promise<Figures>;
}

const STOCK = network({ A: 'stock', B: 'stock', C: 'stock' });
const MIXED = network({ A: 'stock', B: 'userspace', C: 'stock' });
const OURS = network({ A: 'xfrm', B: 'xfrm', C: 'xfrm' });
const KERNEL_MIXED = network({ A: 'stock', B: 'xfrm', C: 'stock' });
const IP6 = { ...STOCK, families: ['ip6'] } as const;
const IP4_IN_IP6 = { ...IP6, ip4Inside: true } as const;
const LARGER_IP6 = { ...IP6, mtu: 1508 };

function network(kinds: NetworkSpec['kinds']): NetworkSpec {
  return { kinds, families: ['ip4'], mtu: 1500 };
}

/** By the names that `--only` takes. */
export const SCENARIOS: Readonly<Record<string, Scenario | PlainScenario>> = {
  backend,
  baseline: telescope("strongSwan's client through three stock strongSwan relays", STOCK, 'stock'),
  a: telescope('our client, kernel backend, through three stock strongSwan relays', STOCK, 'xfrm'),
  b: telescope('our client, user-space backend, through three stock strongSwan relays', STOCK, 'userspace'),
  rates: rates(STOCK, OURS),
  f: crossingPaths(STOCK, 'xfrm'),
  'f-userspace': crossingPaths(STOCK, 'userspace'),
  h: rekeys(STOCK, 'xfrm'),
  'h-userspace': rekeys(STOCK, 'userspace'),
  i: hostileRelay('a hostile A injects into the overlay to B, a stock relay', STOCK),
  c: telescope("strongSwan's client through three of our relays, kernel backend", OURS, 'stock'),
  d: telescope('our client through three of our relays, kernel backends', OURS, 'xfrm'),
  e: telescope(
    'mixed relays: A strongSwan, B ours (kernel), C strongSwan; our client (kernel)',
    KERNEL_MIXED,
    'xfrm',
  ),
  nat: behindNat('our client (kernel) behind a NAT, at our relays with the kernel', OURS, 'xfrm'),
  'nat-stock': behindNat('our client (kernel) behind a NAT, at a stock relay', STOCK, 'xfrm'),
  killed: killedHops(
    'SAs of each hop are deleted, at our relays and in the client: nothing goes in clear',
    OURS,
    'xfrm',
  ),
  'i-xfrm': hostileRelay(
    'a hostile A injects into the overlay to B, our relay with the kernel',
    KERNEL_MIXED,
  ),
  'relay-close': relayClose(KERNEL_MIXED),
  'e-userspace': telescope(
    'mixed relays: A strongSwan, B ours (user space), C strongSwan',
    MIXED,
    'userspace',
  ),
  'i-userspace': hostileRelay('a hostile A injects into the overlay to B, our relay in user space', MIXED),
  g: telescope('an IPv6 Internet, IPv4 between relays, and an IPv6 address at the end', IP4_IN_IP6, 'xfrm', {
    mtu: 1314,
  }),
  'g-two-layers': telescope('IPv6 everywhere, two layers on links of 1500', IP6, 'xfrm', {
    path: ['A', 'B'],
    mtu: 1350,
  }),
  'g-three-layers': telescope('IPv6 everywhere, three layers on links of 1508', LARGER_IP6, 'xfrm', {
    mtu: 1282,
  }),
  'relay-guards': relayGuards(OURS),
};

/**
 * Scenarios for one guest kernel each, which has one CPU; those of one network are next to each other. The others are variants, with our
 * user-space data plane or a NAT, which run if they are named: all would take longer than the lane may.
 */
export const GUESTS: readonly (readonly string[])[] = [
  [
    'rates',
    'baseline',
    'a',
    'b',
    'f',
    'nat-stock',
    'h',
    'i',
    'g',
    'g-two-layers',
    'g-three-layers',
    'e',
    'i-xfrm',
    'relay-close',
  ],
  ['backend', 'c', 'd', 'killed', 'relay-guards'],
];
