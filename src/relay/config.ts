import { readFileSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { z } from 'zod';
import { defaultProvider } from '../crypto/default.ts';
import type { CryptoProvider, SigningKey } from '../crypto/provider.ts';
import { EncryptionTransform } from '../crypto/transforms.ts';
import { parseDescriptor, type RelayDescriptor, signDescriptor } from '../descriptor/descriptor.ts';
import {
  addressOf,
  byFamily,
  operatorName,
  packetSize,
  parsed,
  poolOf,
  relayName,
} from '../descriptor/fields.ts';
import { outerFamily } from '../descriptor/outer-family.ts';
import { checkDisjointPools, fixedRelaySet } from '../descriptor/relay-set.ts';
import { type SourceLimits, sourceLimits } from '../endpoint/half-open.ts';
import { maxInnerPacket } from '../esp/overhead.ts';
import type { EspSuite } from '../link/sa-store.ts';
import {
  type Address,
  addressBytes,
  type Family,
  parseAddress,
  prefixContains,
  prefixText,
} from '../wire/address.ts';
import { ConfigError, parseConfig } from './config-document.ts';
import { checkNameServers, type ExitConfig, exitOf, exitSchema } from './exit-config.ts';
import { decodeKeyFile } from './key-file.ts';

/** What carries a relay's packets: user space, or the kernel. */
export type RelayBackend = 'userspace' | 'xfrm';

/** A checked configuration of a relay. */
export interface RelayConfig {
  /** Our own descriptor: name, key, addresses, pools. */
  readonly own: RelayDescriptor;
  /** The same as signed text, for clients and for other relays. */
  readonly descriptor: string;
  /** Our own key: Ed25519. */
  readonly key: SigningKey;
  /** Name servers that clients are told of. */
  readonly dns: readonly Address[];
  /** The relays that we have overlay tunnels with, and no others. */
  readonly peers: readonly RelayDescriptor[];
  /** Absent: nothing leaves here. */
  readonly exit?: ExitConfig;
  /** What carries the packets. */
  readonly backend: RelayBackend;
  /** UDP port of IKE; the same in the whole network. */
  readonly ikePort: number;
  /** UDP port of IKE and ESP in UDP (RFC 3948); the same in the whole network. */
  readonly encapsulatedPort: number;
  /** Of the host's network, in octets; absent: the interface's. */
  readonly mtu?: number;
  /** All ESP is encapsulated in UDP (RFC 3948): no raw sockets are needed. */
  readonly encapsulatedOnly: boolean;
  /** The shared key that everybody knows, for clients that cannot do NULL authentication. */
  readonly publicSharedKey?: string;
  /** Of the control socket; absent: the usual place. */
  readonly control?: string;
  /** Where metrics are told; absent: nowhere. */
  readonly metrics?: { readonly address: Address; readonly port: number };
  /** Clients at a time. */
  readonly maxClients: number;
  /** IKE SAs that are being set up. */
  readonly maxHalfOpen: number;
  /** How many of them one source may have. */
  readonly maxHalfOpenPer: SourceLimits;
  /** From this many of them on, initiators must return a cookie (RFC 7296 2.6); 0: always. */
  readonly cookieThreshold: number;
  /** From `threshold` of them on, initiators must solve puzzles of `difficulty` zero bits or more (RFC 8019). */
  readonly puzzles: { readonly threshold: number; readonly difficulty: number };
}

/** What overlay tunnels use unless a peer cannot: the first of the Child SA proposals. */
const OVERLAY_SUITE: EspSuite = {
  encryption: EncryptionTransform.AES_GCM_16,
  keyLength: 256,
  integrity: 0,
  esn: true,
};

const DEFAULT_MTU = 1500;
const NEW_KEY = "; make one with 'ike-telescope keygen'";

/** The keys of relay.yaml, each with an example. */
const EXAMPLES = {
  name: 'name: relay-a',
  key: 'key: relay.pem',
  address: 'address: { ip4: 192.0.2.1 }',
  'address.ip4': 'ip4: 192.0.2.1',
  'address.ip6': 'ip6: 2001:db8::1',
  pool: 'pool: { ip4: 10.1.0.0/16 }',
  'pool.ip4': 'ip4: 10.1.0.0/16',
  'pool.ip6': 'ip6: fd00:1::/48',
  dns: 'dns: [9.9.9.9]',
  peers: 'peers: [relay-b.yaml]',
  operator: 'operator: example.org',
  overlayMtu: 'overlayMtu: 1446',
  exit: 'exit: { kind: napt, address: { ip4: 192.0.2.2 } }',
  'exit.kind': 'kind: napt',
  'exit.address': 'address: { ip4: 192.0.2.2 }',
  'exit.address.ip4': 'ip4: 192.0.2.2',
  'exit.address.ip6': 'ip6: 2001:db8::2',
  'exit.policy': 'policy: ["reject *:25/tcp", "accept *"]',
  backend: 'backend: xfrm',
  ikePort: 'ikePort: 500',
  encapsulatedPort: 'encapsulatedPort: 4500',
  mtu: 'mtu: 1500',
  encapsulation: 'encapsulation: udp',
  publicSharedKey: 'publicSharedKey: "anonymous"',
  control: 'control: relay-a.sock',
  metrics: 'metrics: 127.0.0.1:9464',
  maxClients: 'maxClients: 1000',
  maxHalfOpen: 'maxHalfOpen: 1000',
  maxHalfOpenPer: 'maxHalfOpenPer: { address: 62, network: 250, peer: 250, client: 31 }',
  'maxHalfOpenPer.address': 'address: 62',
  'maxHalfOpenPer.network': 'network: 250',
  'maxHalfOpenPer.peer': 'peer: 250',
  'maxHalfOpenPer.client': 'client: 31',
  cookieThreshold: 'cookieThreshold: 100',
  puzzleThreshold: 'puzzleThreshold: 500',
  puzzleDifficulty: 'puzzleDifficulty: 12',
} as const;

const port = z.int().min(1).max(65_535);
const limit = z.int().min(1);
const text = z.string().min(1, 'must not be empty');

function addressAndPort(text: string): NonNullable<RelayConfig['metrics']> {
  const [, ip6, ip4, digits] = /^(?:\[([^\]]*)\]|([^:]*)):(\d{1,5})$/.exec(text) ?? [];
  const number = Number(digits);
  if (digits === undefined || number < 1 || number > 65_535) {
    throw new RangeError(`'${text}' is not an address and a port, such as 127.0.0.1:9464 or [::1]:9464`);
  }
  return { address: parseAddress(ip6 ?? ip4), port: number };
}

const schema = z.strictObject({
  name: relayName,
  operator: operatorName.optional(),
  key: text,
  address: byFamily(addressOf),
  pool: byFamily(poolOf),
  dns: z.array(parsed(parseAddress)).max(8).default([]),
  peers: z.array(text).default([]),
  overlayMtu: packetSize.optional(),
  exit: exitSchema.optional(),
  backend: z.enum(['userspace', 'xfrm'], 'must be userspace or xfrm').default('userspace'),
  ikePort: port.default(500),
  encapsulatedPort: port.default(4500),
  mtu: packetSize.optional(),
  encapsulation: z.literal('udp', 'can only be udp; leave the key out for plain ESP').optional(),
  publicSharedKey: text.optional(),
  control: text.max(100).optional(),
  metrics: parsed(addressAndPort).optional(),
  maxClients: limit.default(1000),
  maxHalfOpen: limit.default(1000),
  maxHalfOpenPer: z
    .strictObject({
      address: limit.optional(),
      network: limit.optional(),
      peer: limit.optional(),
      client: limit.optional(),
    })
    .default({}),
  cookieThreshold: z.int().min(0).optional(),
  puzzleThreshold: z.int().min(0).optional(),
  puzzleDifficulty: z
    .int()
    .refine(
      (bits) => bits === 0 || (bits >= 8 && bits <= 28),
      'must be 0, which leaves it to the initiator, or 8 to 28 bits',
    )
    .default(12),
});

/**
 * Reads relay.yaml; `key` and `peers` name files relative to it. @throws ConfigError, DescriptorError naming the file, the
 * key and the remedy
 */
export function loadRelayConfig(file: string, crypto: CryptoProvider = defaultProvider()): RelayConfig {
  const read = (name: string, content: FileContent) => {
    const path = resolve(dirname(file), name);
    if (content === 'key') requirePrivate(path);
    return readFileSync(path, 'utf8');
  };
  let content: string;
  try {
    content = readFileSync(file, 'utf8');
  } catch (cause) {
    throw new ConfigError(`${file}: cannot be read: ${(cause as Error).message}`);
  }
  return parseRelayConfig(content, file, read, crypto);
}

/** @throws ConfigError if the file of a private key is open to others than its owner */
export function requirePrivate(path: string): void {
  const mode = statSync(path).mode & 0o777;
  if ((mode & 0o077) === 0) return;
  throw new ConfigError(`others than its owner may use it (mode ${mode.toString(8)}): chmod 600 ${path}`);
}

/** What a file that relay.yaml names holds. */
type FileContent = 'key' | 'descriptor';

/**
 * `loadRelayConfig` for a text.
 * @param where - the file's name, for error messages
 * @param read - the text of a file, by the name that the configuration gives it; what it throws is reported
 */
export function parseRelayConfig(
  content: string,
  where: string,
  read: (name: string, content: FileContent) => string,
  crypto: CryptoProvider,
): RelayConfig {
  const document = parseConfig(content, where, schema, EXAMPLES);
  const { value } = document;
  const readAt = <T>(
    path: readonly PropertyKey[],
    name: string,
    content: FileContent,
    parse: (text: string) => T,
  ): T => {
    let text: string;
    try {
      text = read(name, content);
    } catch (cause) {
      const remedy = content === 'key' && !(cause instanceof ConfigError) ? NEW_KEY : '';
      throw document.error(path, `'${name}': ${(cause as Error).message}${remedy}`);
    }
    try {
      return parse(text);
    } catch (cause) {
      const { message } = cause as Error;
      throw document.error(path, content === 'key' ? `'${name}': ${message}${NEW_KEY}` : message);
    }
  };
  const key = readAt(['key'], value.key, 'key', (pem) => decodeKeyFile(pem, crypto));
  const peers = value.peers.map((name, index) =>
    readAt(['peers', index], name, 'descriptor', (descriptor) => parseDescriptor(descriptor, crypto, name)),
  );

  const encapsulatedOnly = value.encapsulation === 'udp';
  const families = peers.map((peer) => outerFamily(value.address, peer.addresses));
  peers.forEach((peer, index) => {
    if (families[index] === undefined) {
      throw document.error(
        ['peers', index],
        `relay '${peer.name}' has no address of a family that this relay has`,
      );
    }
  });
  const mtus = [outerFamily(value.address), ...families].map((family) =>
    overlayMtuOf(value.mtu ?? DEFAULT_MTU, family as Family, encapsulatedOnly),
  );
  for (const family of ['ip4', 'ip6'] as const) {
    const [pool, address] = [value.pool[family], value.address[family]];
    if (pool !== undefined && address !== undefined && prefixContains(pool, addressBytes(address))) {
      throw document.error(
        ['pool', family],
        `${prefixText(pool)} contains the relay's own address, ${address}: choose another block`,
      );
    }
  }
  const descriptor = signDescriptor(
    {
      name: value.name,
      operator: value.operator,
      addresses: value.address,
      pools: value.pool,
      overlayMtu: value.overlayMtu ?? Math.min(...mtus),
      exit: value.exit !== undefined,
      exitPolicy: value.exit?.policy,
    },
    key,
    crypto,
  );
  const own = parseDescriptor(descriptor, crypto, where);
  const refusePeer = (index: number, problem: string) => document.error(['peers', index], problem);
  fixedRelaySet(peers, refusePeer);
  const self = peers.findIndex(({ keyId }) => keyId === own.keyId);
  if (self >= 0) {
    throw refusePeer(self, `relay '${own.name}' cannot be a peer of its own; take it off the list`);
  }
  checkDisjointPools(own, peers, refusePeer);
  checkNameServers(value.dns, value.exit !== undefined, document.error);
  if (value.ikePort === value.encapsulatedPort) {
    throw document.error(['encapsulatedPort'], `is ${value.ikePort}, as ikePort is: they need a port each`);
  }
  return {
    own,
    descriptor,
    key,
    dns: value.dns,
    peers,
    exit: value.exit && exitOf(value.exit, [own, ...peers], document.error),
    backend: value.backend,
    ikePort: value.ikePort,
    encapsulatedPort: value.encapsulatedPort,
    mtu: value.mtu,
    encapsulatedOnly,
    publicSharedKey: value.publicSharedKey,
    control: value.control && resolve(dirname(where), value.control),
    metrics: value.metrics,
    maxClients: value.maxClients,
    ...halfOpenOf(value, document.error),
  };
}

function halfOpenOf(
  { maxHalfOpen, maxHalfOpenPer, puzzleDifficulty, ...thresholds }: z.infer<typeof schema>,
  error: (path: readonly PropertyKey[], message: string) => ConfigError,
): Pick<RelayConfig, 'maxHalfOpen' | 'maxHalfOpenPer' | 'cookieThreshold' | 'puzzles'> {
  for (const source of ['address', 'network', 'peer', 'client'] as const) {
    const given = maxHalfOpenPer[source];
    if (given === undefined || given <= maxHalfOpen) continue;
    throw error(['maxHalfOpenPer', source], `${given} are more than all: maxHalfOpen is ${maxHalfOpen}`);
  }
  for (const key of ['cookieThreshold', 'puzzleThreshold'] as const) {
    const given = thresholds[key];
    if (given === undefined || given <= maxHalfOpen) continue;
    throw error([key], `${given} is never reached: maxHalfOpen is ${maxHalfOpen}`);
  }
  const {
    cookieThreshold = Math.min(100, Math.floor(maxHalfOpen / 8)),
    puzzleThreshold = Math.max(cookieThreshold, Math.floor(maxHalfOpen / 2)),
  } = thresholds;
  if (puzzleThreshold < cookieThreshold) {
    throw error(
      ['puzzleThreshold'],
      `${puzzleThreshold} is below the cookieThreshold of ${cookieThreshold}: puzzles come with cookies`,
    );
  }
  return {
    maxHalfOpen,
    maxHalfOpenPer: sourceLimits(maxHalfOpen, maxHalfOpenPer),
    cookieThreshold,
    puzzles: { threshold: puzzleThreshold, difficulty: puzzleDifficulty },
  };
}

/** The largest packet that an overlay tunnel carries over a network of `mtu`, in octets. */
export function overlayMtuOf(mtu: number, family: Family, encapsulated: boolean): number {
  return maxInnerPacket(mtu, OVERLAY_SUITE, { family, encapsulated });
}
