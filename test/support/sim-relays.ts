import { nodeProvider } from '../../src/crypto/node.ts';
import type { SigningKey } from '../../src/crypto/provider.ts';
import type { Clock, Millis } from '../../src/link/clock.ts';
import { parseRelayConfig, type RelayConfig } from '../../src/relay/config.ts';
import { encodeKeyFile } from '../../src/relay/key-file.ts';
import { Relay, type RelayOptions } from '../../src/relay/relay.ts';
import type { Address } from '../../src/wire/address.ts';
import { ed25519Key } from './signing-keys.ts';
import { type SimHost, SimNetwork } from './sim-network.ts';
import { VirtualClock } from './virtual-clock.ts';

/** What a test says of a relay; the rest follows from its number n: 192.0.2.n, pool 10.n.0.0/16. */
export interface SimRelay {
  readonly name: string;
  readonly number: number;
  readonly address?: Address;
  /** Names of the relays whose descriptors it lists. */
  readonly peers?: readonly string[];
  readonly pool?: string;
  /** Further lines of relay.yaml. */
  readonly more?: string;
}

export const relayAddress = (number: number) => `192.0.2.${number}`;

const crypto = nodeProvider();

/** Ed25519 keys in the order of their SPKI: relays that get them in order know who wins a tie. */
export function sortedKeys(count: number): readonly SigningKey[] {
  const keys = Array.from({ length: count }, (_, i) => ed25519Key(crypto, i + 1));
  return keys.sort((a, b) => Buffer.compare(a.publicKey, b.publicKey));
}

/** The configurations of relays that list each other; `keys` are theirs, in the same order. */
export function relayConfigs(
  relays: readonly SimRelay[],
  keys: readonly SigningKey[] = sortedKeys(relays.length),
): ReadonlyMap<string, RelayConfig> {
  const files = new Map(keys.map((key, i) => [`${relays[i].name}.pem`, encodeKeyFile(key)]));
  const read = (name: string) => {
    const text = files.get(name);
    if (text === undefined) throw new Error('no such file');
    return text;
  };
  const load = (relay: SimRelay, peers: readonly string[]) =>
    parseRelayConfig(relayYaml(relay, peers), `${relay.name}/relay.yaml`, read, crypto);
  for (const relay of relays) files.set(`${relay.name}.yaml`, load(relay, []).descriptor);
  return new Map(relays.map((relay) => [relay.name, load(relay, relay.peers ?? [])]));
}

export function relayYaml(
  { name, number, address, pool, more = '' }: SimRelay,
  peers: readonly string[],
): string {
  return [
    `name: ${name}`,
    `key: ${name}.pem`,
    `address: { ip4: ${address ?? relayAddress(number)} }`,
    `pool: { ip4: ${pool ?? `10.${number}.0.0/16`} }`,
    `peers: [${peers.map((peer) => `${peer}.yaml`).join(', ')}]`,
    more,
  ].join('\n');
}

/** A clock that a crash stops: no timer of the process fires any more. */
class MortalClock implements Clock {
  readonly #clock: Clock;
  #dead = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  now(): Millis {
    return this.#clock.now();
  }

  at(at: Millis, callback: () => void): () => void {
    return this.#clock.at(at, () => {
      if (!this.#dead) callback();
    });
  }

  stop(): void {
    this.#dead = true;
  }
}

interface RelayNetworkOptions {
  readonly configs?: ReadonlyMap<string, RelayConfig>;
  /** Between two relays, one way, in milliseconds. */
  readonly latency?: Millis;
}

/** Relays on hosts of a simulated network, by name; every relay has a direct way to every other. */
export class RelayNetwork {
  readonly clock: VirtualClock;
  readonly network: SimNetwork;
  readonly configs: ReadonlyMap<string, RelayConfig>;
  readonly #relays: readonly SimRelay[];
  readonly #running = new Map<string, { readonly relay: Relay; readonly clock: MortalClock }>();

  constructor(
    relays: readonly SimRelay[],
    { configs = relayConfigs(relays), latency = 5 }: RelayNetworkOptions = {},
  ) {
    this.clock = new VirtualClock();
    this.network = new SimNetwork(this.clock);
    this.configs = configs;
    this.#relays = relays;
    relays.forEach(({ name }, i) => {
      for (const other of relays.slice(i + 1)) this.network.join(name, other.name, latency);
    });
  }

  relay(name: string): Relay {
    return this.#running.get(name)!.relay;
  }

  /** Starts a relay, or starts it again. */
  async start(name: string, options: Partial<RelayOptions> = {}): Promise<Relay> {
    const { number } = this.#relays.find((relay) => relay.name === name)!;
    const clock = new MortalClock(this.clock);
    const relay = await Relay.open({
      config: this.configs.get(name)!,
      crypto,
      clock,
      links: { ip4: this.network.host(name, relayAddress(number)) },
      ...options,
    });
    this.#running.set(name, { relay, clock });
    return relay;
  }

  /** The relay's process is gone from one moment to the next; its host stays. */
  crash(name: string): void {
    this.#running.get(name)!.clock.stop();
    this.network.host(name, this.configs.get(name)!.own.addresses.ip4!);
    this.#running.delete(name);
  }

  /** Starts every relay at once and waits for the overlays. */
  async startAll(): Promise<void> {
    await Promise.all(this.#relays.map(({ name }) => this.start(name)));
    await this.settle();
  }

  /** Waits until every overlay has been up, and for what is superfluous to be closed. */
  async settle(): Promise<void> {
    await this.clock.until(Promise.all([...this.#running.values()].map(({ relay }) => relay.ready)), 60_000);
    await this.clock.advance(5_000);
  }

  /** A client's host, with a way to each of the relays named. */
  client(name: string, address: Address, relays: readonly string[]): SimHost {
    const host = this.network.host(name, address);
    for (const relay of relays) this.network.join(name, relay);
    return host;
  }
}
