import type { Millis } from '../../src/link/clock.ts';
import type { Attachment, Link, LinkHandlers, Origin } from '../../src/link/link.ts';
import { allocatePacket, packetBytes, packetFrom } from '../../src/link/packet.ts';
import { type Address, addressBytes, addressText } from '../../src/wire/address.ts';
import {
  IpProtocol,
  parseIpHeader,
  parseUdpHeader,
  writeIpHeader,
  writeUdpHeader,
} from '../../src/wire/ip.ts';
import type { VirtualClock } from './virtual-clock.ts';

/** What an eavesdropper on one edge sees: whole IP packets. */
export interface SeenPacket {
  readonly at: Millis;
  readonly from: string;
  readonly to: string;
  readonly bytes: Uint8Array;
}

/** What becomes of one packet on one edge: the delays of its copies; none: it is lost. */
export type Fault = (packet: SeenPacket) => readonly Millis[];

/** What becomes of a packet: another one, nothing, or (undefined) it passes as it is. */
export type Middlebox = (bytes: Uint8Array) => Uint8Array | 'dropped' | undefined;

interface Edge {
  readonly ends: readonly [string, string];
  readonly latency: Millis;
  fault: Fault | undefined;
  readonly seen: SeenPacket[];
}

/** Hosts joined by point-to-point edges, with an eavesdropper on every edge; packets take the shortest way. */
export class SimNetwork {
  readonly clock: VirtualClock;
  /** Off for long runs: what passes is not kept. */
  eavesdropping = true;
  readonly #hosts = new Map<string, SimHost>();
  readonly #owners = new Map<Address, string>();
  readonly #edges = new Map<string, Edge>();
  readonly #middleboxes = new Map<string, Middlebox>();
  /** The next host on the way, by where a packet is and where it goes; known until the edges change. */
  readonly #routes = new Map<string, string | undefined>();

  constructor(clock: VirtualClock) {
    this.clock = clock;
  }

  host(name: string, address: Address, options: { readonly mtu?: number } = {}): SimHost {
    const host = new SimHost(this, name, address, options.mtu ?? 1500);
    this.#hosts.set(name, host);
    this.#owners.set(address, name);
    return host;
  }

  /** The host of an address has another one. */
  rename(name: string, from: Address, to: Address): void {
    this.#owners.delete(from);
    this.#owners.set(to, name);
  }

  /** Takes a host off the network: nothing reaches it any more. */
  remove(name: string): void {
    const host = this.#hosts.get(name);
    if (host !== undefined) this.#owners.delete(host.address);
    this.#hosts.delete(name);
  }

  join(a: string, b: string, latency: Millis = 1): void {
    this.#routes.clear();
    this.#edges.set(edgeName(a, b), { ends: [a, b], latency, fault: undefined, seen: [] });
  }

  /** The edge is gone. */
  unjoin(a: string, b: string): void {
    this.#edges.delete(edgeName(a, b));
  }

  setFault(a: string, b: string, fault: Fault | undefined): void {
    this.#edge(a, b).fault = fault;
  }

  /** Has every packet that reaches the host `name` pass through a middlebox there, which owns `address`. */
  middlebox(name: string, address: Address, middlebox: Middlebox): void {
    this.#middleboxes.set(name, middlebox);
    this.#owners.set(address, name);
  }

  /** Everything that crossed an edge, in order. */
  eavesdropper(a: string, b: string): readonly SeenPacket[] {
    return this.#edge(a, b).seen;
  }

  /** Sends an IP packet from a host towards its destination address. */
  transmit(from: string, bytes: Uint8Array): void {
    const header = parseIpHeader(bytes, 0, bytes.length)!;
    const destination = addressText(
      bytes.slice(header.destination, header.family === 4 ? header.destination + 4 : header.payload),
    );
    const owner = this.#owners.get(destination);
    if (owner !== undefined) this.#forward(from, owner, bytes);
  }

  #forward(at: string, target: string, bytes: Uint8Array): void {
    const changed = this.#middleboxes.get(at)?.(bytes);
    if (changed === 'dropped') return;
    if (changed !== undefined) {
      this.transmit(at, changed);
      return;
    }
    if (at === target) {
      this.#hosts.get(at)?.receive(bytes);
      return;
    }
    const route = `${at} ${target}`;
    if (!this.#routes.has(route)) this.#routes.set(route, this.#nextHop(at, target));
    const next = this.#routes.get(route);
    if (next === undefined) return;
    const edge = this.#edge(at, next);
    const packet = { at: this.clock.now(), from: at, to: next, bytes: bytes.slice() };
    if (this.eavesdropping) edge.seen.push(packet);
    for (const extra of edge.fault?.(packet) ?? [0]) {
      this.clock.at(this.clock.now() + edge.latency + extra, () => this.#forward(next, target, bytes));
    }
  }

  #nextHop(from: string, target: string): string | undefined {
    const previous = new Map<string, string>([[target, target]]);
    const queue = [target];
    for (let name = queue.shift(); name !== undefined; name = queue.shift()) {
      for (const { ends } of this.#edges.values()) {
        if (!ends.includes(name)) continue;
        const other = ends[0] === name ? ends[1] : ends[0];
        if (previous.has(other)) continue;
        previous.set(other, name);
        queue.push(other);
      }
    }
    return previous.get(from);
  }

  #edge(a: string, b: string): Edge {
    const edge = this.#edges.get(edgeName(a, b));
    if (edge === undefined) throw new Error(`no edge between ${a} and ${b}`);
    return edge;
  }
}

function edgeName(a: string, b: string): string {
  return [a, b].sort().join('-');
}

/** A host as a Link: IKE on 500, ESP plain or in UDP on 4500. */
export class SimHost implements Link {
  readonly id: string;
  readonly mtu: number;
  readonly #network: SimNetwork;
  readonly #name: string;
  #address: Address;
  #onMoved: () => void = () => {};
  #handlers: LinkHandlers | undefined;

  constructor(network: SimNetwork, name: string, address: Address, mtu: number) {
    this.id = `sim-${name}`;
    this.mtu = mtu;
    this.#address = address;
    this.#network = network;
    this.#name = name;
  }

  get address(): Address {
    return this.#address;
  }

  /** Has another address from now on, and no longer the one before. */
  move(address: Address): void {
    this.#network.rename(this.#name, this.#address, address);
    this.#address = address;
    this.#onMoved();
  }

  onMoved(handler: () => void): () => void {
    this.#onMoved = handler;
    return () => {
      this.#onMoved = () => {};
    };
  }

  origin(address: Address, encapsulated: boolean): Origin {
    const port = encapsulated ? 4500 : 500;
    return { linkId: this.id, address, port, localAddress: this.address, localPort: port, encapsulated };
  }

  async attach(handlers: LinkHandlers): Promise<Attachment> {
    this.#handlers = handlers;
    return {
      sendIke: (message, to) => {
        const marker = to.encapsulated ? 4 : 0;
        this.#sendUdp(to, marker + message.length, (buffer, at) => buffer.set(message, at + marker));
      },
      sendEsp: (packets, to) => {
        for (const packet of packets) {
          const bytes = packetBytes(packet);
          if (to.encapsulated) this.#sendUdp(to, bytes.length, (buffer, at) => buffer.set(bytes, at));
          else this.#sendIp(to.address, IpProtocol.ESP, bytes.length, (buffer, at) => buffer.set(bytes, at));
        }
      },
      sendKeepalive: (to) => this.#sendUdp(to, 1, (buffer, at) => buffer.set([0xff], at)),
      close: async () => {
        this.#handlers = undefined;
      },
    };
  }

  receive(bytes: Uint8Array): void {
    const header = parseIpHeader(bytes, 0, bytes.length);
    if (header === undefined || this.#handlers === undefined) return;
    const address = addressText(bytes.subarray(header.source, header.destination));
    if (header.protocol === IpProtocol.ESP) {
      const origin = { ...this.origin(address, false), port: 0, localPort: 0 };
      this.#handlers.esp([packetFrom(bytes.subarray(header.payload, header.end))], origin);
      return;
    }
    const udp = parseUdpHeader(bytes, header);
    if (udp === undefined) return;
    const payload = bytes.slice(udp.payload, udp.end);
    const encapsulated = udp.destinationPort === 4500;
    const origin = { ...this.origin(address, encapsulated), port: udp.sourcePort };
    if (!encapsulated) this.#handlers.ike(payload, origin);
    else if (payload.length === 1 && payload[0] === 0xff) return;
    else if (payload.length > 4 && payload.subarray(0, 4).every((octet) => octet === 0)) {
      this.#handlers.ike(payload.subarray(4), origin);
    } else this.#handlers.esp([packetFrom(payload)], origin);
  }

  #sendUdp(to: Origin, length: number, fill: (buffer: Uint8Array, at: number) => void): void {
    this.#sendIp(to.address, IpProtocol.UDP, length + 8, (buffer, at) => {
      fill(buffer, at + 8);
      writeUdpHeader(buffer, at, at + 8 + length, {
        source: addressBytes(this.address),
        destination: addressBytes(to.address),
        sourcePort: to.localPort,
        destinationPort: to.port,
      });
    });
  }

  #sendIp(
    destination: Address,
    protocol: number,
    length: number,
    fill: (buffer: Uint8Array, at: number) => void,
  ): void {
    const headerLength = this.address.includes(':') ? 40 : 20;
    const packet = allocatePacket(headerLength + length);
    fill(packet.buffer, packet.start + headerLength);
    writeIpHeader(packet.buffer, packet.start, { source: this.address, destination, protocol }, length);
    if (headerLength + length > this.mtu) return;
    this.#network.transmit(this.#name, packetBytes(packet).slice());
  }
}
