import { type BindOptions, createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import type { Clock, Millis } from '../link/clock.ts';
import { allocatePacket, type Packet } from '../link/packet.ts';
import type { Native } from '../native/native.ts';
import { addressBytes, addressText, type Family } from '../wire/address.ts';
import {
  type IpHeader,
  IpProtocol,
  ipHeaderLength,
  parseIpHeader,
  parseUdpHeader,
  writeIpHeader,
  writeUdpHeader,
} from '../wire/ip.ts';
import { type AddressKey, addressKey, keyOfAddress } from './address-key.ts';
import { DropReason } from './drop-reason.ts';
import { count, type Enter, type Exit, enterNamespace, type ReturnHandler } from './exit.ts';
import { HostAddresses } from './host-addresses.ts';
import { ICMP, icmpChecksumHolds, writeIcmpChecksum } from './icmp.ts';
import { SESSION_TIMEOUT } from './sessions.ts';

/** Each is a file descriptor of the process. */
export const MAX_SOCKETS_PER_CLIENT = 64;
const MAX_SOCKETS = 512;
/** Hosts that one socket may be in touch with. */
const MAX_REMOTES = 256;

export interface SocketExitEnvironment {
  readonly clock: Clock;
  /** For ICMP echo; without it that is refused. */
  readonly native?: Native;
  /** As in `TunEnvironment`. */
  readonly netns?: number;
}

/**
 * Opens the exit that needs no privileges: UDP through ordinary sockets, one for each address and port of a client
 * (endpoint-independent mapping, address-dependent filtering, as in `Napt`), and ICMP echo where net.ipv4.ping_group_range
 * allows it. TCP is refused.
 */
export async function openSocketExit(environment: SocketExitEnvironment): Promise<Exit> {
  const { native, netns, clock } = environment;
  const enter = enterNamespace(native, netns);
  return new SocketExit(environment, enter, await HostAddresses.read(enter, netns, clock));
}

/** A client's address and port (or query id), and the socket that stands for them. */
interface Mapping {
  readonly key: string;
  readonly client: AddressKey;
  readonly address: Uint8Array;
  readonly port: number;
  readonly socket: Socket;
  readonly remotes: Set<AddressKey>;
  readonly timeout: Millis;
  expires: Millis;
  cancelExpiry: () => void;
}

class SocketExit implements Exit {
  readonly kind = 'socket';
  readonly counters: Partial<Record<DropReason, number>> = {};
  readonly #environment: SocketExitEnvironment;
  readonly #clock: Clock;
  readonly #enter: Enter;
  readonly #host: HostAddresses;
  readonly #mappings = new Map<string, Mapping>();
  readonly #perClient = new Map<AddressKey, number>();
  readonly #noPing = new Set<Family>();
  #handler: ReturnHandler | undefined;

  constructor(environment: SocketExitEnvironment, enter: Enter, host: HostAddresses) {
    this.#environment = environment;
    this.#clock = environment.clock;
    this.#enter = enter;
    this.#host = host;
  }

  send(packet: Packet, client: AddressKey): DropReason | undefined {
    const { buffer } = packet;
    const header = parseIpHeader(buffer, packet.start, packet.end);
    if (header === undefined) return DropReason.MALFORMED;
    if (header.payload - header.offset !== ipHeaderLength(header.family)) return DropReason.IP_OPTIONS;
    if (header.fragment) return DropReason.FRAGMENT;
    if (this.#host.isDestination(buffer, header)) return DropReason.OWN_SERVICES;
    if (header.protocol === IpProtocol.UDP) return this.#sendUdp(buffer, header, client);
    if (header.protocol === ICMP[header.family].protocol) return this.#sendEcho(buffer, header, client);
    return header.protocol === IpProtocol.TCP
      ? DropReason.TCP_NEEDS_PRIVILEGES
      : DropReason.UNSUPPORTED_PROTOCOL;
  }

  onReturn(handler: ReturnHandler): void {
    this.#handler = handler;
  }

  releaseClient(client: AddressKey): void {
    for (const mapping of this.#mappings.values()) if (mapping.client === client) this.#remove(mapping);
  }

  async close(): Promise<void> {
    this.#handler = undefined;
    for (const mapping of this.#mappings.values()) this.#remove(mapping);
  }

  #sendUdp(buffer: Uint8Array, header: IpHeader, client: AddressKey): DropReason | undefined {
    const udp = parseUdpHeader(buffer, header);
    if (udp === undefined || udp.destinationPort === 0) return DropReason.MALFORMED;
    const key = mappingKey(header.protocol, client, udp.sourcePort);
    const mapping = this.#mappingFor(buffer, header, client, udp.sourcePort, () => {
      const socket = createSocket({
        type: header.family === 4 ? 'udp4' : 'udp6',
        ipv6Only: header.family === 6,
        lookup: literalLookup,
      });
      socket.on('message', (message, remote) => this.#receiveUdp(key, message, remote));
      socket.on('error', () => this.#removeKey(key));
      try {
        socket.bind(this.#udpBinding(header.family));
      } catch {
        socket.close();
        return DropReason.NOT_SENT;
      }
      return socket;
    });
    if (typeof mapping === 'string') return mapping;
    const payload = buffer.slice(udp.payload, udp.end);
    mapping.socket.send(payload, udp.destinationPort, destinationText(buffer, header), ignoreError);
    return undefined;
  }

  /** Any port; in another namespace on a socket of its own making, for dgram does not bind there (see `Native`). */
  #udpBinding(family: Family): BindOptions {
    const { native, netns } = this.#environment;
    if (native === undefined || netns === undefined) return { port: 0, exclusive: true };
    return { fd: this.#enter(() => native.openUdp(family === 4 ? '0.0.0.0' : '::', 0)) };
  }

  #sendEcho(buffer: Uint8Array, header: IpHeader, client: AddressKey): DropReason | undefined {
    const { family } = header;
    if (header.end - header.payload < 8 || !icmpChecksumHolds(buffer, header)) return DropReason.MALFORMED;
    if (buffer[header.payload] !== ICMP[family].echoRequest) return DropReason.UNSUPPORTED_ICMP;
    const { native } = this.#environment;
    if (native === undefined || this.#noPing.has(family)) return DropReason.ICMP_NOT_PERMITTED;
    const id = (buffer[header.payload + 4] << 8) | buffer[header.payload + 5];
    const key = mappingKey(header.protocol, client, id);
    const mapping = this.#mappingFor(buffer, header, client, id, () => {
      let fd: number;
      try {
        fd = this.#enter(() => native.openPingSocket(family));
      } catch {
        this.#noPing.add(family);
        return DropReason.ICMP_NOT_PERMITTED;
      }
      const socket = createSocket({ type: family === 4 ? 'udp4' : 'udp6', lookup: literalLookup });
      socket.on('message', (message, remote) => this.#receiveEcho(key, family, message, remote));
      socket.on('error', () => this.#removeKey(key));
      socket.bind({ fd });
      return socket;
    });
    if (typeof mapping === 'string') return mapping;
    // the kernel puts its own query id in; the port means nothing to it, but dgram wants one
    const message = buffer.slice(header.payload, header.end);
    mapping.socket.send(message, 1, destinationText(buffer, header), ignoreError);
    return undefined;
  }

  /** The mapping of a client's port, made with `open` if need be, with its destination among its remotes. */
  #mappingFor(
    buffer: Uint8Array,
    header: IpHeader,
    client: AddressKey,
    port: number,
    open: () => Socket | DropReason,
  ): Mapping | DropReason {
    const key = mappingKey(header.protocol, client, port);
    const timeout = header.protocol === IpProtocol.UDP ? SESSION_TIMEOUT.udp : SESSION_TIMEOUT.icmp;
    const expires = this.#clock.now() + timeout;
    let mapping = this.#mappings.get(key);
    if (mapping === undefined) {
      const sockets = this.#perClient.get(client) ?? 0;
      if (sockets >= MAX_SOCKETS_PER_CLIENT || this.#mappings.size >= MAX_SOCKETS)
        return DropReason.NAPT_FULL;
      const socket = open();
      if (typeof socket === 'string') return socket;
      const address = buffer.slice(header.source, header.source + (header.family === 4 ? 4 : 16));
      mapping = {
        key,
        client,
        address,
        port,
        socket,
        remotes: new Set(),
        timeout,
        expires,
        cancelExpiry: () => {},
      };
      this.#mappings.set(key, mapping);
      this.#perClient.set(client, sockets + 1);
      this.#armExpiry(mapping);
    }
    const remote = addressKey(buffer, header.destination, header.family);
    if (!mapping.remotes.has(remote) && mapping.remotes.size >= MAX_REMOTES) return DropReason.NAPT_FULL;
    mapping.remotes.add(remote);
    mapping.expires = expires;
    return mapping;
  }

  #receiveUdp(key: string, message: Uint8Array, remote: RemoteInfo): void {
    const mapping = this.#admitted(key, remote);
    if (mapping === undefined) return;
    const source = addressBytes(remote.address);
    const packet = answer(mapping, source, IpProtocol.UDP, 8 + message.length);
    const start = packet.end - 8 - message.length;
    packet.buffer.set(message, start + 8);
    writeUdpHeader(packet.buffer, start, packet.end, {
      source,
      destination: mapping.address,
      sourcePort: remote.port,
      destinationPort: mapping.port,
    });
    this.#handler?.(packet, mapping.client);
  }

  #receiveEcho(key: string, family: Family, message: Uint8Array, remote: RemoteInfo): void {
    const mapping = this.#admitted(key, remote);
    if (mapping === undefined) return;
    if (message.length < 8 || message[0] !== ICMP[family].echoReply) {
      count(this.counters, DropReason.UNSUPPORTED_ICMP);
      return;
    }
    const packet = answer(mapping, addressBytes(remote.address), ICMP[family].protocol, message.length);
    const { buffer } = packet;
    const header = parseIpHeader(buffer, packet.start, packet.end)!;
    buffer.set(message, header.payload);
    buffer[header.payload + 4] = mapping.port >> 8;
    buffer[header.payload + 5] = mapping.port & 255;
    writeIcmpChecksum(buffer, header);
    this.#handler?.(packet, mapping.client);
  }

  #admitted(key: string, remote: RemoteInfo): Mapping | undefined {
    const mapping = this.#mappings.get(key);
    if (mapping?.remotes.has(keyOfAddress(remote.address))) return mapping;
    count(this.counters, mapping === undefined ? DropReason.NO_MAPPING : DropReason.FILTERED);
    return undefined;
  }

  #armExpiry(mapping: Mapping): void {
    mapping.cancelExpiry = this.#clock.at(mapping.expires, () => {
      if (mapping.expires <= this.#clock.now()) this.#remove(mapping);
      else this.#armExpiry(mapping);
    });
  }

  #removeKey(key: string): void {
    const mapping = this.#mappings.get(key);
    if (mapping !== undefined) this.#remove(mapping);
  }

  #remove(mapping: Mapping): void {
    mapping.cancelExpiry();
    mapping.socket.close();
    this.#mappings.delete(mapping.key);
    const left = (this.#perClient.get(mapping.client) ?? 0) - 1;
    if (left > 0) this.#perClient.set(mapping.client, left);
    else this.#perClient.delete(mapping.client);
  }
}

/** Addresses are literals: nothing to look up, and the socket is bound before `bind` returns. */
function literalLookup(
  address: string,
  _options: unknown,
  done: (error: NodeJS.ErrnoException | null, address: string, family: number) => void,
): void {
  done(null, address, address.includes(':') ? 6 : 4);
}

/** A packet to the client with its IP header written. */
function answer(mapping: Mapping, source: Uint8Array, protocol: number, length: number): Packet {
  const headerLength = ipHeaderLength(source.length === 4 ? 4 : 6);
  const packet = allocatePacket(headerLength + length);
  writeIpHeader(packet.buffer, packet.start, { source, destination: mapping.address, protocol }, length);
  return packet;
}

function mappingKey(protocol: number, client: AddressKey, port: number): string {
  return `${protocol}:${port}:${client}`;
}

function destinationText(buffer: Uint8Array, header: IpHeader): string {
  return addressText(
    buffer.subarray(header.destination, header.destination + (header.family === 4 ? 4 : 16)),
  );
}

/** What cannot be sent is lost, as on any network. */
function ignoreError(): void {}
