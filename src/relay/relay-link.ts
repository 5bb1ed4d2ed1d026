import { type Attachment, type Link, LinkError, type LinkHandlers, type Origin } from '../link/link.ts';
import { type Packet, udpPacket } from '../link/packet.ts';
import type { Tunnel } from '../link/sa-store.ts';
import { type Address, addressBytes, addressText, type Family, familyOf } from '../wire/address.ts';
import { concat, equalBytes } from '../wire/bytes.ts';
import {
  type IpHeader,
  IpProtocol,
  ipHeaderLength,
  parseUdpHeader,
  type UdpAddresses,
  type UdpHeader,
  writeIpHeader,
  writeUdpHeader,
} from '../wire/ip.ts';

const UDP_HEADER = 8;
/** RFC 3948 2.2: four zero octets where ESP has its SPI. */
const NON_ESP_MARKER = new Uint8Array(4);
const ENCAPSULATED_PORT = 4500;

/** The host's networks, one link per family. */
export interface HostLinks {
  /** Absent: the relay has no IPv4 address. */
  readonly ip4?: Link;
  /** Absent: the relay has no IPv6 address. */
  readonly ip6?: Link;
}

/**
 * A relay's one link: the host's networks and the overlay tunnels together. What an overlay tunnel carries to our own
 * address enters IKE and ESP here, with the overlay as part of its origin; it never passes through the host's sockets, and
 * its answer leaves through the same overlay.
 */
export class RelayLink implements Link {
  readonly id = 'relay';
  readonly #hosts: HostLinks;
  readonly #overlays = new Map<string, Tunnel>();
  #handlers: LinkHandlers | undefined;

  constructor(hosts: HostLinks) {
    this.#hosts = hosts;
  }

  get mtu(): number {
    return Math.min(...this.#all().map(({ mtu }) => mtu));
  }

  origin(address: Address, encapsulated: boolean): Origin {
    const family = familyOf(address);
    const host = this.#host(family);
    if (host === undefined)
      throw new LinkError(`this relay has no IPv${family} address to reach an IPv${family} one from`);
    return host.origin(address, encapsulated);
  }

  async attach(handlers: LinkHandlers): Promise<Attachment> {
    this.#handlers = handlers;
    const attachments = new Map<string, Attachment>();
    const close = async () => {
      this.#handlers = undefined;
      await Promise.all([...attachments.values()].map((attachment) => attachment.close()));
    };
    try {
      for (const link of this.#all()) attachments.set(link.id, await link.attach(handlers));
    } catch (error) {
      await close();
      throw error;
    }
    return {
      sendIke: (message, to) => {
        if (to.overlayPeer === undefined) attachments.get(to.linkId)?.sendIke(message, to);
        else this.#overlays.get(to.overlayPeer)?.send([ikePacket(message, to)]);
      },
      sendEsp: (packets, to) => {
        if (to.overlayPeer === undefined) attachments.get(to.linkId)?.sendEsp(packets, to);
        else {
          const overlay = this.#overlays.get(to.overlayPeer);
          if (overlay === undefined) return;
          for (const packet of packets) addOuterHeaders(packet, to);
          overlay.send(packets);
        }
      },
      sendKeepalive: (to) => {
        if (to.overlayPeer === undefined) attachments.get(to.linkId)?.sendKeepalive?.(to);
      },
      close,
    };
  }

  /** Where packets for a peer go from now on; undefined: its overlay is down. */
  setOverlay(peer: string, tunnel: Tunnel | undefined): void {
    if (tunnel === undefined) this.#overlays.delete(peer);
    else this.#overlays.set(peer, tunnel);
  }

  /** The overlay tunnel to a peer, while it is up. */
  overlay(peer: string): Tunnel | undefined {
    return this.#overlays.get(peer);
  }

  /** UDP to our own address out of a peer's overlay: IKE, or ESP in UDP on port 4500. */
  receiveUdp(peer: string, packet: Packet, header: IpHeader): void {
    const udp = parseUdpHeader(packet.buffer, header);
    if (udp === undefined || this.#handlers === undefined) return;
    const encapsulated = udp.destinationPort === ENCAPSULATED_PORT;
    const origin = this.#originOf(peer, packet.buffer, header, udp, encapsulated);
    if (!encapsulated) {
      this.#handlers.ike(packet.buffer.slice(udp.payload, udp.end), origin);
      return;
    }
    const payload = packet.buffer.subarray(udp.payload, udp.end);
    // Keepalives of RFC 3948 2.3 are shorter, too.
    if (payload.length <= NON_ESP_MARKER.length) return;
    if (equalBytes(payload.subarray(0, NON_ESP_MARKER.length), NON_ESP_MARKER)) {
      this.#handlers.ike(payload.slice(NON_ESP_MARKER.length), origin);
      return;
    }
    packet.start = udp.payload;
    packet.end = udp.end;
    this.#handlers.esp([packet], origin);
  }

  /** ESP to our own address out of a peer's overlay, in order; neighbours of one sender are handed on together. */
  receiveEsp(peer: string, packets: readonly { readonly packet: Packet; readonly header: IpHeader }[]): void {
    for (let first = 0; first < packets.length; ) {
      const { packet, header } = packets[first];
      let next = first + 1;
      while (
        next < packets.length &&
        sameAddresses(packet, header, packets[next].packet, packets[next].header)
      )
        next++;
      const origin = this.#originOf(peer, packet.buffer, header, undefined, false);
      const run = packets.slice(first, next).map((entry) => {
        entry.packet.start = entry.header.payload;
        entry.packet.end = entry.header.end;
        return entry.packet;
      });
      this.#handlers?.esp(run, origin);
      first = next;
    }
  }

  #originOf(
    peer: string,
    buffer: Uint8Array,
    header: IpHeader,
    udp: UdpHeader | undefined,
    encapsulated: boolean,
  ): Origin {
    const length = header.destination - header.source;
    return {
      linkId: this.id,
      overlayPeer: peer,
      address: addressText(buffer.subarray(header.source, header.destination)),
      port: udp?.sourcePort ?? 0,
      localAddress: addressText(buffer.subarray(header.destination, header.destination + length)),
      localPort: udp?.destinationPort ?? 0,
      encapsulated,
    };
  }

  #host(family: Family): Link | undefined {
    return family === 4 ? this.#hosts.ip4 : this.#hosts.ip6;
  }

  #all(): readonly Link[] {
    return [this.#hosts.ip4, this.#hosts.ip6].filter((link) => link !== undefined);
  }
}

/** An IKE message as a whole IP packet from our address, for an overlay tunnel. */
function ikePacket(message: Uint8Array, to: Origin): Packet {
  return udpPacket(to.encapsulated ? concat(NON_ESP_MARKER, message) : message, udpAddresses(to));
}

function addOuterHeaders(packet: Packet, to: Origin): void {
  if (to.encapsulated) {
    packet.start -= UDP_HEADER;
    writeUdpHeader(packet.buffer, packet.start, packet.end, udpAddresses(to));
  }
  const length = packet.end - packet.start;
  packet.start -= ipHeaderLength(familyOf(to.address));
  const protocol = to.encapsulated ? IpProtocol.UDP : IpProtocol.ESP;
  const header = { source: to.localAddress, destination: to.address, protocol };
  writeIpHeader(packet.buffer, packet.start, header, length);
}

function udpAddresses({ localAddress, localPort, address, port }: Origin): UdpAddresses {
  return {
    source: addressBytes(localAddress),
    destination: addressBytes(address),
    sourcePort: localPort,
    destinationPort: port,
  };
}

function sameAddresses(a: Packet, aHeader: IpHeader, b: Packet, bHeader: IpHeader): boolean {
  return equalBytes(
    a.buffer.subarray(aHeader.source, aHeader.payload),
    b.buffer.subarray(bHeader.source, bHeader.payload),
  );
}
