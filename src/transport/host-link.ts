import type { RemoteInfo } from 'node:dgram';
import { type Attachment, type Link, LinkError, type LinkHandlers, type Origin } from '../link/link.ts';
import { packetBytes, packetFrom } from '../link/packet.ts';
import type { Native, RawEspSocket } from '../native/native.ts';
import { type Address, anyAddress, familyOf } from '../wire/address.ts';
import { concat } from '../wire/bytes.ts';
import { watchRoute } from './route-watch.ts';
import { openUdpSocket, type UdpSocket } from './udp-socket.ts';

/** RFC 3948 2.2: four zero octets where ESP has its SPI. */
const NON_ESP_MARKER = new Uint8Array(4);

/** RFC 3948 2.3. */
const NAT_KEEPALIVE = Uint8Array.of(0xff);

/** Sockets that a process in another network namespace has opened and this one inherited, as file descriptors. */
export interface InheritedSockets {
  readonly ike: number;
  readonly encapsulated: number;
  /** Not needed by a link that is `encapsulatedOnly`, or without ESP. */
  readonly rawEsp?: number;
  /** For a link that is `towards` somebody. */
  readonly route?: number;
}

/** How the host's network is used. */
export interface HostLinkOptions {
  /** Default 'host'. */
  readonly id?: string;
  /** Our address: every packet comes from it, unless the link is `towards` somebody. */
  readonly address: Address;
  /** Our address is the one that the host's routes choose towards this one, now and later: it may change. */
  readonly towards?: Address;
  /** The largest IP packet that the network carries (`interfaceMtu`). */
  readonly mtu: number;
  /**
   * For plain ESP; not needed by a link that is `encapsulatedOnly`.
   * @internal
   */
  readonly native?: Native;
  /** Our UDP port of IKE. Default 500; 0 is the kernel's choice. */
  readonly ikePort?: number;
  /** Our UDP port of IKE and ESP in UDP (RFC 3948). Default 4500; 0 is the kernel's choice. */
  readonly encapsulatedPort?: number;
  /** Their UDP port of IKE at peers that we address first. Default 500. */
  readonly peerIkePort?: number;
  /** Their UDP port of IKE and ESP in UDP at peers that we address first. Default 4500. */
  readonly peerEncapsulatedPort?: number;
  /** No plain ESP (no koffi, or no CAP_NET_RAW): peers are to be made to use UDP. */
  readonly encapsulatedOnly?: boolean;
  /**
   * ESP is the kernel's, plain and in UDP: the link carries IKE only. Needs `native`.
   * @internal
   */
  readonly kernelEsp?: boolean;
  /** @internal */
  readonly sockets?: InheritedSockets;
}

/** What a host link has lost or ignored, in datagrams or packets. */
export interface HostLinkCounters {
  /** The system refused to send: too big, no route, no buffer. */
  sendFailures: number;
  /** RFC 3948 keepalives received. */
  keepalives: number;
  /** Datagrams too short to be anything. */
  malformed: number;
}

/** The host's network as a Link: UDP on two ports, and IP protocol 50. */
export class HostLink implements Link {
  /** As given. */
  readonly id: string;
  /** As given. */
  readonly mtu: number;
  /** It carries no plain ESP: what is built over it has to be `encapsulated`. */
  readonly encapsulatedOnly: boolean;
  /** What was lost or ignored until now. */
  readonly counters: Readonly<HostLinkCounters>;
  readonly #options: HostLinkOptions;
  /** Bound ports, once attached. */
  readonly #ports: { ike: number; encapsulated: number };
  #address: Address;
  #onMoved: () => void = () => {};
  readonly #counters: HostLinkCounters = { sendFailures: 0, keepalives: 0, malformed: 0 };

  /** Opens nothing yet. */
  constructor(options: HostLinkOptions) {
    this.#options = options;
    this.#address = options.address;
    this.id = options.id ?? 'host';
    this.mtu = options.mtu;
    this.encapsulatedOnly = options.encapsulatedOnly ?? false;
    this.#ports = { ike: options.ikePort ?? 500, encapsulated: options.encapsulatedPort ?? 4500 };
    this.counters = this.#counters;
  }

  /** A peer on its IKE port, or on that of ESP in UDP. */
  origin(address: Address, encapsulated: boolean): Origin {
    const { peerIkePort = 500, peerEncapsulatedPort = 4500 } = this.#options;
    const port = encapsulated ? peerEncapsulatedPort : peerIkePort;
    return this.#received(
      address,
      port,
      encapsulated ? this.#ports.encapsulated : this.#ports.ike,
      encapsulated,
    );
  }

  /** Calls back when the address `towards` somebody has changed; at most one handler. */
  onMoved(handler: () => void): () => void {
    this.#onMoved = handler;
    return () => {
      this.#onMoved = () => {};
    };
  }

  /** Opens the sockets, and starts delivery. @throws LinkError naming the port and the remedy */
  async attach(handlers: LinkHandlers): Promise<Attachment> {
    const { sockets, towards } = this.#options;
    const address = this.#boundAddress;
    const opened: { close(): unknown }[] = [];
    const close = async () => {
      await Promise.all(opened.splice(0).map((socket) => socket.close()));
    };
    try {
      const ike = await openUdpSocket(
        { address, port: this.#ports.ike, fd: this.#prepare(this.#ports.ike, sockets?.ike) },
        (message, source) =>
          handlers.ike(plainBytes(message), this.#received(source.address, source.port, ike.port, false)),
      );
      opened.push(ike);
      const encapsulatedFd = this.#prepare(this.#ports.encapsulated, sockets?.encapsulated);
      const encapsulated = await openUdpSocket(
        { address, port: this.#ports.encapsulated, fd: encapsulatedFd },
        (datagram, source) =>
          this.#receiveEncapsulated(plainBytes(datagram), source, encapsulated.port, handlers),
      );
      opened.push(encapsulated);
      this.#ports.ike = ike.port;
      this.#ports.encapsulated = encapsulated.port;
      if (this.#options.kernelEsp) this.#native.takeEspInUdp(encapsulatedFd!);
      const raw = this.encapsulatedOnly || this.#options.kernelEsp ? undefined : this.#openRawEsp();
      if (raw !== undefined) opened.push(raw);
      if (towards !== undefined) {
        const stop = watchRoute(towards, sockets?.route, (found) => this.#take(found));
        opened.push({ close: stop });
      }
      raw?.start((packets, source) => handlers.esp(packets, this.#received(source, 0, 0, false)));
      return {
        sendIke: (message, to) =>
          to.encapsulated
            ? this.#send(encapsulated, concat(NON_ESP_MARKER, message), to)
            : this.#send(ike, message, to),
        sendEsp: (packets, to) => {
          for (const packet of packets) {
            if (to.encapsulated) this.#send(encapsulated, packetBytes(packet), to);
            else if (!raw?.send(packet, to.address)) this.#counters.sendFailures++;
          }
        },
        sendKeepalive: (to) => this.#send(encapsulated, NAT_KEEPALIVE, to),
        close,
      };
    } catch (error) {
      await close();
      throw error;
    }
  }

  /** Where sockets are bound: with an address that may change, the system chooses the source of each packet. */
  get #boundAddress(): Address {
    const { address, towards } = this.#options;
    return towards === undefined ? address : anyAddress(familyOf(address));
  }

  /** The host's routes have us send from `address`. */
  #take(address: Address): void {
    if (address === this.#address) return;
    this.#address = address;
    this.#onMoved();
  }

  get #native(): Native {
    const { native } = this.#options;
    if (native !== undefined) return native;
    throw new LinkError(
      'plain ESP (IP protocol 50) needs the optional package koffi; without it use ESP in UDP only',
    );
  }

  /** The fd of a UDP socket beside the kernel's ESP, with headers like those of ESP; undefined: none is asked for. */
  #prepare(port: number, inherited: number | undefined): number | undefined {
    if (!this.#options.kernelEsp) return inherited;
    const address = this.#boundAddress;
    const fd = inherited ?? this.#native.openUdp(address, port);
    this.#native.setConstantHeader(fd, familyOf(address));
    return fd;
  }

  #openRawEsp(): RawEspSocket {
    const { sockets } = this.#options;
    const native = this.#native;
    const address = this.#boundAddress;
    try {
      return sockets?.rawEsp === undefined
        ? native.openRawEsp(address)
        : native.adoptRawEsp(sockets.rawEsp, familyOf(address));
    } catch (error) {
      throw new LinkError((error as Error).message, { cause: error });
    }
  }

  /** RFC 3948 2: a keepalive, IKE behind the non-ESP marker, or ESP. */
  #receiveEncapsulated(
    datagram: Uint8Array,
    source: RemoteInfo,
    localPort: number,
    handlers: LinkHandlers,
  ): void {
    if (datagram.length === 1 && datagram[0] === NAT_KEEPALIVE[0]) {
      this.#counters.keepalives++;
      return;
    }
    if (datagram.length <= NON_ESP_MARKER.length) {
      this.#counters.malformed++;
      return;
    }
    const origin = this.#received(source.address, source.port, localPort, true);
    const isIke = NON_ESP_MARKER.every((octet, i) => datagram[i] === octet);
    if (isIke) handlers.ike(datagram.subarray(NON_ESP_MARKER.length), origin);
    else handlers.esp([packetFrom(datagram)], origin);
  }

  #received(address: Address, port: number, localPort: number, encapsulated: boolean): Origin {
    return { linkId: this.id, address, port, localAddress: this.#address, localPort, encapsulated };
  }

  #send(socket: UdpSocket, datagram: Uint8Array, to: Origin): void {
    socket.send(datagram, to.address, to.port).catch(() => {
      this.#counters.sendFailures++;
    });
  }
}

/** The same octets as a plain Uint8Array, whose `slice` copies. */
function plainBytes(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
