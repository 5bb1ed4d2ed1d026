import { crossingPaths } from './scenarios/crossing-paths.ts';
import { hostileRelay } from './scenarios/hostile-relay.ts';
import { rekeys } from './scenarios/rekeys.ts';
import { telescopeScenario } from './scenarios/telescope.ts';
import type { World } from './world.ts';

/** What a scenario is run with. */
export interface Means {
  /** A folder with strongSwan. */
  readonly root: string;
  say(text: string): void;
}

/** What a scenario has measured: "download MB/s": 7.1. */
export type Figures = Readonly<Record<string, number | string>>;

export interface Scenario {
  readonly title: string;
  /** The MTU of every link. Default: 1500. */
  readonly linkMtu?: number;
  /** In a world of its own, which is closed afterwards. @throws Error what is not as it should be */
  run(world: World, means: Means): Promise<Figures>;
}

const STOCK = { A: 'stock', B: 'stock', C: 'stock' } as const;

/** By the names that `--only` takes. */
export const SCENARIOS: Readonly<Record<string, Scenario>> = {
  baseline: telescopeScenario("strongSwan's client through three stock strongSwan relays", 'stock', STOCK),
  b: telescopeScenario(
    'our client, user-space backend, through three stock strongSwan relays',
    'userspace',
    STOCK,
  ),
  e: telescopeScenario('mixed relays: A strongSwan, B ours (user space), C strongSwan', 'userspace', {
    ...STOCK,
    B: 'userspace',
  }),
  f: crossingPaths,
  'g-two-layers': telescopeScenario('IPv6 everywhere, two layers on links of 1500', 'userspace', STOCK, {
    family: 'ip6',
    path: ['A', 'B'],
    mtu: 1350,
  }),
  'g-three-layers': telescopeScenario('IPv6 everywhere, three layers on links of 1508', 'userspace', STOCK, {
    family: 'ip6',
    linkMtu: 1508,
    mtu: 1282,
  }),
  h: rekeys,
  i: hostileRelay('stock'),
  'i-userspace': hostileRelay('userspace'),
};
