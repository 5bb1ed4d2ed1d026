import { nodeProvider } from '../../src/crypto/node.ts';
import type { AddressKey } from '../../src/forward/address-key.ts';
import type { Exit, ReturnHandler } from '../../src/forward/exit.ts';
import type { Clock } from '../../src/link/clock.ts';
import { type Packet, packetBytes, packetFrom } from '../../src/link/packet.ts';
import type { RelayOptions } from '../../src/relay/relay.ts';
import type { RelayTarget } from '../../src/telescope/relay-target.ts';
import { openTelescope, type Telescope, type TelescopeOptions } from '../../src/telescope/telescope.ts';
import { openUdp } from '../../src/telescope/udp.ts';
import { parseIpHeader } from '../../src/wire/ip.ts';
import type { SimHost } from './sim-network.ts';
import { RelayNetwork, type SimRelay } from './sim-relays.ts';

export const CLIENT = '203.0.113.9';
/** Where the exit's traffic goes, beyond the simulated network. */
export const DESTINATION = '198.51.100.80';

/** An exit whose Internet answers every packet: source and destination, addresses and UDP ports, swapped. */
export class EchoExit implements Exit {
  readonly kind = 'socket';
  readonly counters = {};
  readonly seen: Uint8Array[] = [];
  /** Off for long runs: what was seen is not kept. */
  isRecording = true;
  #handler: ReturnHandler | undefined;

  send(packet: Packet, client: AddressKey): undefined {
    const bytes = packetBytes(packet).slice();
    if (this.isRecording) this.seen.push(bytes);
    const header = parseIpHeader(bytes, 0, bytes.length)!;
    const answer = bytes.slice();
    const length = header.destination - header.source;
    answer.set(bytes.subarray(header.source, header.source + length), header.destination);
    answer.set(bytes.subarray(header.destination, header.destination + length), header.source);
    answer.set(bytes.subarray(header.payload, header.payload + 2), header.payload + 2);
    answer.set(bytes.subarray(header.payload + 2, header.payload + 4), header.payload);
    this.#handler?.(packetFrom(answer), client);
    return undefined;
  }

  onReturn(handler: ReturnHandler): void {
    this.#handler = handler;
  }

  releaseClient(): void {}

  async close(): Promise<void> {}
}

interface WorldOptions {
  readonly relays?: number;
  /** The address pool of a relay, by name; default a /16. */
  readonly pools?: Readonly<Record<string, string>>;
  readonly clientMtu?: number;
  /** One way, on every edge, in milliseconds. */
  readonly latency?: number;
  /** What a relay is started with besides, by its name. */
  readonly relayOptions?: (name: string, clock: Clock) => Partial<RelayOptions>;
}

/** Relays a, b, c, ... in a row, each with an overlay to its neighbours, the last one an exit; a client joined to a. */
export class TelescopeWorld {
  readonly relays: RelayNetwork;
  readonly exit = new EchoExit();
  readonly client: SimHost;
  readonly path: readonly RelayTarget[];

  private constructor({ relays: count = 3, pools = {}, clientMtu = 1500, latency = 5 }: WorldOptions) {
    const names = 'abcdefg'.slice(0, count).split('');
    const relays: SimRelay[] = names.map((name, i) => ({
      name,
      number: i + 1,
      peers: [names[i - 1], names[i + 1]].filter((peer) => peer !== undefined),
      more: i === count - 1 ? 'exit: { kind: sockets }' : '',
      ...(pools[name] !== undefined && { pool: pools[name] }),
    }));
    this.relays = new RelayNetwork(relays, { latency });
    this.client = this.relays.network.host('s', CLIENT, { mtu: clientMtu });
    this.relays.network.join('s', 'a', latency);
    this.path = names.map((name) => this.relays.configs.get(name)!.own);
  }

  /** Every relay is up, and so is every overlay. */
  static async open(options: WorldOptions = {}): Promise<TelescopeWorld> {
    const world = new TelescopeWorld(options);
    const last = world.path[world.path.length - 1].name;
    await Promise.all(
      world.path.map(({ name }) =>
        world.relays.start(name, {
          ...(name === last && { exit: world.exit }),
          ...options.relayOptions?.(name, world.clock),
        }),
      ),
    );
    await world.relays.settle();
    return world;
  }

  get clock() {
    return this.relays.clock;
  }

  options(more: Partial<TelescopeOptions> = {}): TelescopeOptions {
    return { crypto: nodeProvider(), clock: this.clock, ...more };
  }

  /** Builds a telescope; virtual time passes while it is built. */
  build(more: Partial<TelescopeOptions> = {}, path = this.path): Promise<Telescope> {
    return this.clock.until(openTelescope(this.client, path, this.options(more)));
  }

  /** Sends a datagram through the exit and returns what its echo says. */
  async echo(telescope: Telescope, message: string): Promise<string | undefined> {
    let answer: string | undefined;
    const udp = openUdp(telescope, 4_321);
    udp.onMessage((bytes) => {
      answer = new TextDecoder().decode(bytes);
    });
    udp.send(new TextEncoder().encode(message), { address: DESTINATION, port: 7 });
    await this.clock.advance(1_000);
    return answer;
  }

  /** Clients that each relay has, in the order of the path. */
  clients(): number[] {
    return this.path.map(({ name }) => this.relays.relay(name).state().clients.length);
  }
}
