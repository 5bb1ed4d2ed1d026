import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { defaultProvider } from '../crypto/default.ts';
import { ipBatch } from '../host/ip.ts';
import { connectNamespaces, type NetworkNamespace, openNamespace } from '../host/namespace.ts';
import { parseRelayConfig } from '../relay/config.ts';
import { encodeKeyFile } from '../relay/key-file.ts';
import type { Address } from '../wire/address.ts';
import { openTemporaryDirectory } from './janitor.ts';
import { LINKS, type LinkName, RELAYS, type RelayName } from './knowledge.ts';
import { RelayProcess } from './relay-process.ts';

export const NODES = ['S', ...RELAYS, 'D'] as const;
export type NodeName = (typeof NODES)[number];

/**
 * Every address is of a documentation range (RFC 5737), so none is private. No octet of one is a zero, or so small or
 * round that counters and lengths in headers are taken for it. X is the exit's: C's kernel does not own it.
 */
export const ADDRESSES: Readonly<Record<NodeName | 'X', Address>> = {
  S: '198.51.100.66',
  A: '192.0.2.113',
  B: '192.0.2.157',
  C: '192.0.2.211',
  X: '198.51.100.231',
  D: '203.0.113.179',
};

const POOL_NUMBERS: Readonly<Record<RelayName, number>> = { A: 171, B: 187, C: 205 };

export interface TopologyOptions {
  /** The directory of the compiled sources, for the processes that it starts. Default: where this file is. */
  readonly compiled?: string;
  /** Prefix length of the pools. Default 16. */
  readonly poolLength?: number;
  /** Of every link, in octets. Default 1500. */
  readonly mtu?: number;
  /** How C reaches D. Default 'napt'; `false`: it is no exit. */
  readonly exit?: 'napt' | 'kernel' | 'sockets' | false;
  /** The path file pins another key than this relay has. */
  readonly wrongKey?: RelayName;
  /** Further keys of every relay.yaml. */
  readonly relayConfig?: Readonly<Record<string, unknown>>;
}

/** What identifies a relay: its Ed25519 key (32 octets) and the key's id. */
export interface RelayKey {
  readonly relay: RelayName;
  readonly publicKey: Uint8Array;
  readonly keyId: string;
}

/** S - A - B - C - D, each in a network namespace of its own, and the files of the relays and of the client. */
export interface Topology {
  /** Readable by us only; it is removed in the end, however this process ends. */
  readonly directory: string;
  /** A, B and C in this order. */
  readonly pathFile: string;
  readonly namespaces: Readonly<Record<NodeName, NetworkNamespace>>;
  readonly keys: readonly RelayKey[];
  /** The command line of a compiled script: `node('cli/main.js', 'relay', '--help')`. */
  node(script: string, ...args: readonly string[]): readonly string[];
  /**
   * Starts relays and waits until the overlay tunnels between all that have been started are up. Default: all three.
   * @throws RelayProcessError
   */
  startRelays(names?: readonly RelayName[]): Promise<void>;
  /** A relay that was started. */
  relay(name: RelayName): RelayProcess;
  /** Ends every process and removes everything. */
  close(): Promise<void>;
}

/** The interface of `node` on a link: "toB". */
export function interfaceName(node: NodeName, link: LinkName): string {
  return `to${link.split('-').find((end) => end !== node)}`;
}

/** Opens the namespaces, joins them, and writes the files; no relay is started yet. @throws CommandError */
export async function openTopology(options: TopologyOptions = {}): Promise<Topology> {
  const closers: (() => Promise<void>)[] = [];
  const close = async () => {
    for (const closer of closers.splice(0).reverse()) await closer();
  };
  try {
    const directory = await openTemporaryDirectory();
    closers.push(() => directory.close());
    const opened = await Promise.allSettled(NODES.map(() => openNamespace()));
    for (const result of opened) if (result.status === 'fulfilled') closers.push(() => result.value.close());
    const namespaces = Object.fromEntries(
      opened.map((result, index) => {
        if (result.status === 'rejected') throw result.reason;
        return [NODES[index], result.value];
      }),
    ) as Record<NodeName, NetworkNamespace>;
    await connectNodes(namespaces, options.mtu);
    const { pathFile, keys } = await writeFiles(directory.path, options);

    const { compiled = fileURLToPath(new URL('..', import.meta.url)) } = options;
    const node = (script: string, ...args: readonly string[]) => [
      process.execPath,
      join(compiled, script),
      ...args,
    ];
    const running = new Map<RelayName, RelayProcess>();
    return {
      directory: directory.path,
      pathFile,
      namespaces,
      keys,
      node,
      async startRelays(names = RELAYS) {
        for (const name of names) {
          const line = node('cli/main.js', 'relay', '--config', join(directory.path, `relay-${name}.yaml`));
          running.set(name, new RelayProcess(name, namespaces[name], line));
        }
        await Promise.all(
          [...running].map(([name, relay]) =>
            relay.overlaysUp(neighboursOf(name).filter((neighbour) => running.has(neighbour)).length),
          ),
        );
      },
      relay(name) {
        const relay = running.get(name);
        if (relay === undefined) throw new RangeError(`relay ${name} was not started`);
        return relay;
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/**
 * A node has one address, on all its links, and routes to its neighbours only; D has one more, to the exit address, and C
 * forwards: an administrator's part.
 */
async function connectNodes(
  namespaces: Readonly<Record<NodeName, NetworkNamespace>>,
  mtu?: number,
): Promise<void> {
  const { C, D } = namespaces;
  const quiet = 'f=/proc/sys/net/ipv6/conf/default/disable_ipv6; test ! -e $f || echo 1 > $f';
  await Promise.all(NODES.map((node) => namespaces[node].exec(['sh', '-c', quiet])));
  for (const link of LINKS) {
    const [a, b] = link.split('-') as [NodeName, NodeName];
    await connectNamespaces(namespaces[a], namespaces[b], {
      aName: interfaceName(a, link),
      bName: interfaceName(b, link),
      mtu,
    });
  }
  await Promise.all(
    NODES.map((node) => {
      const links = LINKS.filter((link) => link.split('-').includes(node));
      const lines = links.flatMap((link) => {
        const device = interfaceName(node, link);
        const neighbour = ADDRESSES[device.slice(2) as NodeName];
        return [
          `address add ${ADDRESSES[node]}/32 dev ${device}`,
          `route add ${neighbour} dev ${device} scope link src ${ADDRESSES[node]}`,
        ];
      });
      return ipBatch(lines, { netns: namespaces[node].pid });
    }),
  );
  await ipBatch([`route add ${ADDRESSES.X} via ${ADDRESSES.C} dev toC`], { netns: D.pid });
  await C.exec(['sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward']);
}

/** Writes keys, descriptors, relay.yaml files and the path. */
async function writeFiles(
  directory: string,
  options: TopologyOptions,
): Promise<Pick<Topology, 'pathFile' | 'keys'>> {
  const crypto = defaultProvider();
  const write = (name: string, text: string) => writeFile(join(directory, name), text, { mode: 0o600 });
  const newKey = () => encodeKeyFile(crypto.signatures.generate('ed25519'));
  const entries = RELAYS.map((name) => {
    const pem = newKey();
    const content = relayYaml(name, options);
    const parse = (key: string) =>
      parseRelayConfig(stringify({ ...content, peers: [] }), `relay-${name}.yaml`, () => key, crypto);
    const { own, descriptor: published } = parse(pem);
    const pinned = options.wrongKey === name ? parse(newKey()).descriptor : published;
    return { name, pem, content, own, published, pinned };
  });
  await Promise.all(
    entries.flatMap(({ name, pem, content, published, pinned }) => [
      write(`${name}.pem`, pem),
      write(`relay-${name}.yaml`, stringify(content)),
      write(`${name}.yaml`, published),
      write(`pinned-${name}.yaml`, pinned),
    ]),
  );
  await write(
    'path.yaml',
    stringify({ relays: RELAYS.map((name) => ({ descriptor: `pinned-${name}.yaml` })) }),
  );
  return {
    pathFile: join(directory, 'path.yaml'),
    keys: entries.map(({ name, own }) => ({
      relay: name,
      publicKey: own.publicKey.subarray(-32),
      keyId: own.keyId,
    })),
  };
}

function relayYaml(name: RelayName, options: TopologyOptions): Record<string, unknown> {
  const { exit = 'napt', mtu, poolLength = 16 } = options;
  const address = exit === 'napt' ? { address: { ip4: ADDRESSES.X } } : {};
  const { dns, ...more } = options.relayConfig ?? {};
  const isExit = name === 'C' && exit !== false;
  return {
    name,
    key: `${name}.pem`,
    control: `${name}.sock`,
    address: { ip4: ADDRESSES[name] },
    pool: { ip4: `10.${POOL_NUMBERS[name]}.0.0/${poolLength}` },
    peers: neighboursOf(name).map((neighbour) => `${neighbour}.yaml`),
    ...(isExit && { exit: { kind: exit, ...address }, ...(dns !== undefined && { dns }) }),
    ...(mtu !== undefined && { mtu }),
    ...more,
  };
}

/** The relays that it has a link and an overlay tunnel to. */
function neighboursOf(name: RelayName): RelayName[] {
  const index = RELAYS.indexOf(name);
  return RELAYS.filter((_, other) => Math.abs(other - index) === 1);
}
