import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { stringify } from 'yaml';
import { defaultProvider } from '../../src/crypto/default.ts';
import { RelayProcess } from '../../src/demo/relay-process.ts';
import { ip } from '../../src/host/ip.ts';
import { parseRelayConfig, type RelayConfig } from '../../src/relay/config.ts';
import { encodeKeyFile } from '../../src/relay/key-file.ts';
import { relayKit } from '../../src/stock/relay-kit.ts';
import { prefixText } from '../../src/wire/address.ts';
import { SLOWNESS } from '../guest/slowness.ts';
import { Charon } from './charon.ts';
import { PROGRAM } from './our-client.ts';
import {
  ADDRESSES,
  EXIT_ADDRESSES,
  INSIDE_ADDRESSES,
  POOLS,
  RELAYS,
  type RelayName,
  type World,
} from './world.ts';

/** A router with strongSwan that `ike-telescope relay-config` has configured, or our relay, with either backend. */
export type RelayKind = 'stock' | 'userspace' | 'xfrm';

/** What every client shows that cannot do NULL authentication. */
export const PUBLIC_SHARED_KEY = 'anonymous';

/** Milliseconds until overlays are up; a guest on a busy machine is slow. */
const PATIENCE = 120_000 * SLOWNESS;

/** A relay that runs, and what is known of it in public. */
export interface RunningRelay {
  readonly kind: RelayKind;
  readonly config: RelayConfig;
  /** For path files that lie in the world's directory. */
  readonly pathEntry: object;
  /** Of a stock relay. */
  readonly charon?: Charon;
  /** Of ours. */
  readonly process?: RelayProcess;
}

export type Relays = Readonly<Record<RelayName, RunningRelay>>;

/** The address families that a network has. */
export type Families = readonly ('ip4' | 'ip6')[];

export interface RelaysOptions {
  /** A folder with strongSwan. */
  readonly root: string;
  readonly families: Families;
  readonly ip4Inside?: true;
  /** Of the links. */
  readonly mtu: number;
}

/** Starts A, B and C, each a peer of the others and an exit; their overlay tunnels are up when this resolves. */
export async function startRelays(
  world: World,
  kinds: Readonly<Record<RelayName, RelayKind>>,
  options: RelaysOptions,
): Promise<Relays> {
  const configs = writeConfigs(world, kinds, options);
  if (options.ip4Inside) {
    for (const name of RELAYS)
      await ip(['address', 'add', INSIDE_ADDRESSES[name], 'dev', 'lo'], { netns: world.nodes[name].pid });
  }
  const charons = new Map<RelayName, Charon>();
  for (const name of RELAYS.filter((each) => kinds[each] === 'stock'))
    charons.set(name, await startStockRelay(world, name, configs[name], options.root));
  const ours = new Map(
    RELAYS.filter((name) => kinds[name] !== 'stock').map((name) => [name, startOurRelay(world, name)]),
  );
  for (const [name, charon] of charons) {
    const stockPeers = peersOf(name).filter((peer) => kinds[peer] === 'stock' && name < peer);
    for (const peer of stockPeers) await charon.initiate(overlayName(name, peer));
  }
  await Promise.all([...ours.values()].map((relay) => relay.overlaysUp(RELAYS.length - 1, PATIENCE)));
  return Object.fromEntries(
    RELAYS.map((name) => [
      name,
      {
        kind: kinds[name],
        config: configs[name],
        pathEntry: {
          descriptor: `${name}.yaml`,
          ...(kinds[name] === 'stock' && { publicSharedKey: PUBLIC_SHARED_KEY }),
        },
        charon: charons.get(name),
        process: ours.get(name),
      },
    ]),
  ) as unknown as Relays;
}

/** Runs `ike-telescope relay` with the configuration that is there. */
export function startOurRelay(world: World, name: RelayName): RelayProcess {
  return new RelayProcess(name, world.nodes[name], [
    ...PROGRAM,
    'relay',
    '--config',
    configFile(world, name),
  ]);
}

/** The entry of a path file for a relay as its own author of a path would describe it, without a descriptor. */
export function unsignedHop({ config: { own } }: RunningRelay): object {
  return {
    stock: {
      name: own.name,
      publicKey: Buffer.from(own.publicKey).toString('base64'),
      addresses: own.addresses,
      pools: Object.fromEntries(
        Object.entries(own.pools).map(([family, pool]) => [family, prefixText(pool)]),
      ),
      publicSharedKey: PUBLIC_SHARED_KEY,
    },
  };
}

/** What the overlay of a stock relay is called in its daemon. */
export function overlayName(name: RelayName, peer: RelayName): string {
  return `ike-telescope-overlay${peersOf(name).indexOf(peer) + 1}`;
}

function peersOf(name: RelayName): RelayName[] {
  return RELAYS.filter((peer) => peer !== name);
}

function configFile({ directory }: World, name: RelayName): string {
  return join(directory, `relay-${name}.yaml`);
}

/** Writes keys, descriptors and relay.yaml files. */
function writeConfigs(
  world: World,
  kinds: Readonly<Record<RelayName, RelayKind>>,
  options: RelaysOptions,
): Readonly<Record<RelayName, RelayConfig>> {
  const crypto = defaultProvider();
  const write = (name: string, text: string) =>
    writeFileSync(join(world.directory, name), text, { mode: 0o600 });
  const parse = (name: RelayName, content: object, read: (name: string) => string) =>
    parseRelayConfig(stringify(content), `relay-${name}.yaml`, read, crypto);
  for (const name of RELAYS) {
    const pem = encodeKeyFile(crypto.signatures.generate('ed25519'));
    write(`${name}.pem`, pem);
    write(
      `${name}.yaml`,
      parse(name, { ...relayYaml(name, kinds[name], options), peers: [] }, () => pem).descriptor,
    );
  }
  return Object.fromEntries(
    RELAYS.map((name) => {
      const content = relayYaml(name, kinds[name], options);
      write(`relay-${name}.yaml`, stringify(content));
      return [name, parse(name, content, (file) => readFileSync(join(world.directory, file), 'utf8'))];
    }),
  ) as Record<RelayName, RelayConfig>;
}

function relayYaml(name: RelayName, kind: RelayKind, { families, ip4Inside, mtu }: RelaysOptions): object {
  const pick = <T>(of: Readonly<Record<'ip4' | 'ip6', T>>, ip4: T) => ({
    ...Object.fromEntries(families.map((family) => [family, of[family]])),
    ...(ip4Inside && { ip4 }),
  });
  const exit =
    kind === 'userspace' ? { kind: 'napt', address: { ip4: EXIT_ADDRESSES[name] } } : { kind: 'kernel' };
  return {
    name,
    key: `${name}.pem`,
    address: pick(ADDRESSES[name], INSIDE_ADDRESSES[name]),
    pool: pick(POOLS[name], POOLS[name].ip4),
    peers: peersOf(name).map((peer) => `${peer}.yaml`),
    publicSharedKey: PUBLIC_SHARED_KEY,
    exit,
    mtu,
    ...(kind === 'xfrm' && { backend: 'xfrm' }),
  };
}

/** A router that has the files of `ike-telescope relay-config`, and none of our software. @throws CommandError, DaemonError */
async function startStockRelay(
  world: World,
  name: RelayName,
  config: RelayConfig,
  root: string,
): Promise<Charon> {
  const namespace = world.nodes[name];
  const etc = join(world.directory, `etc-${name}`);
  for (const { path, mode, text } of relayKit(config, {
    daemon: { name: 'strongswan' },
    firewall: 'iptables',
    where: configFile(world, name),
  })) {
    mkdirSync(join(etc, dirname(path)), { recursive: true });
    writeFileSync(join(etc, path), text, { mode });
  }
  const legacy = ['IPTABLES=iptables-legacy', 'IP6TABLES=ip6tables-legacy'];
  await namespace.exec(['env', ...legacy, join(etc, 'ike-telescope-network'), 'up']);
  return Charon.start({ root, namespace, etc });
}
