import type { Attachment, Link, LinkHandlers, Origin } from '../link/link.ts';
import { type Packet, udpPacket } from '../link/packet.ts';
import type { Tunnel } from '../link/sa-store.ts';
import { type Address, addressBytes, addressText, type Family, familyOf } from '../wire/address.ts';
import { equalBytes } from '../wire/bytes.ts';
import {
  type IpHeader,
  IpProtocol,
  ipHeaderLength,
  parseIpHeader,
  parseUdpHeader,
  writeIpHeader,
} from '../wire/ip.ts';
import { HOP_IKE_PORT, hopOrigin } from './hop-origin.ts';

/**
 * A tunnel as the link of the next hop (S.1): IKE and ESP leave from the address that the relay assigned, and nothing
 * else can. Packets for nobody are dropped.
 */
export class TunnelLink implements Link {
  readonly id: string;
  readonly mtu: number;
  readonly #tunnel: Tunnel;
  readonly #assigned: Address;
  readonly #source: Uint8Array;
  readonly #family: Family;

  /** @param mtu - the largest packet that reaches the next relay: the tunnel's, or its overlay's if that is smaller */
  constructor(tunnel: Tunnel, assigned: Address, mtu: number) {
    this.id = tunnel.policy.id;
    this.mtu = mtu;
    this.#tunnel = tunnel;
    this.#assigned = assigned;
    this.#source = addressBytes(assigned);
    this.#family = familyOf(assigned);
  }

  origin(address: Address): Origin {
    return hopOrigin(this.id, this.#assigned, address);
  }

  async attach(handlers: LinkHandlers): Promise<Attachment> {
    this.#tunnel.onPackets((packets) => {
      for (const packet of packets) this.#deliver(packet, handlers);
    });
    return {
      sendIke: (message, to) => this.#sendIke(message, to),
      sendEsp: (packets, to) => this.#sendEsp(packets, to),
      close: async () => this.#tunnel.onPackets(() => {}),
    };
  }

  #deliver(packet: Packet, handlers: LinkHandlers): void {
    const header = parseIpHeader(packet.buffer, packet.start, packet.end);
    if (header === undefined || header.fragment) return;
    if (
      !equalBytes(
        packet.buffer.subarray(header.destination, header.destination + this.#source.length),
        this.#source,
      )
    )
      return;
    if (header.protocol === IpProtocol.ESP) {
      packet.start = header.payload;
      packet.end = header.end;
      handlers.esp([packet], this.#originOf(packet.buffer, header, 0));
    } else if (header.protocol === IpProtocol.UDP) {
      const udp = parseUdpHeader(packet.buffer, header);
      if (udp?.destinationPort !== HOP_IKE_PORT) return;
      handlers.ike(
        packet.buffer.slice(udp.payload, udp.end),
        this.#originOf(packet.buffer, header, udp.sourcePort),
      );
    }
  }

  #originOf(buffer: Uint8Array, header: IpHeader, port: number): Origin {
    const source = buffer.subarray(header.source, header.source + this.#source.length);
    return hopOrigin(this.id, this.#assigned, addressText(source), port);
  }

  #sendIke(message: Uint8Array, to: Origin): void {
    const packet = udpPacket(message, {
      source: this.#source,
      destination: addressBytes(to.address),
      sourcePort: HOP_IKE_PORT,
      destinationPort: to.port,
    });
    this.#tunnel.send([packet]);
  }

  #sendEsp(packets: readonly Packet[], to: Origin): void {
    const destination = addressBytes(to.address);
    for (const packet of packets) {
      const length = packet.end - packet.start;
      packet.start -= ipHeaderLength(this.#family);
      writeIpHeader(
        packet.buffer,
        packet.start,
        { source: this.#source, destination, protocol: IpProtocol.ESP },
        length,
      );
    }
    this.#tunnel.send(packets);
  }
}
