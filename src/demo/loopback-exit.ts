import { createSocket, type Socket } from 'node:dgram';
import type { AddressKey } from '../forward/address-key.ts';
import { DropReason } from '../forward/drop-reason.ts';
import type { Exit, ReturnHandler } from '../forward/exit.ts';
import { type Packet, udpPacket } from '../link/packet.ts';
import { type Address, addressBytes } from '../wire/address.ts';
import { IpProtocol, parseIpHeader, parseUdpHeader } from '../wire/ip.ts';

/** A UDP service: `address` is what clients call it, `local` where it really is. */
export interface LoopbackService {
  readonly address: Address;
  readonly port: number;
  readonly local: { readonly address: Address; readonly port: number };
}

/**
 * The exit of the loopback demo. Relays let nobody out to loopback addresses, so D goes by a public one, and this exit
 * knows where it is; it carries UDP of one client to D, and nothing else.
 */
export class LoopbackExit implements Exit {
  readonly kind = 'socket';
  readonly counters = {};
  readonly #service: LoopbackService;
  readonly #socket: Socket;
  #client: { readonly key: AddressKey; readonly address: Uint8Array; readonly port: number } | undefined;
  #handler: ReturnHandler | undefined;

  constructor(service: LoopbackService) {
    this.#service = service;
    this.#socket = createSocket('udp4');
    this.#socket.on('message', (message) => this.#receive(message));
  }

  send(packet: Packet, client: AddressKey): DropReason | undefined {
    const header = parseIpHeader(packet.buffer, packet.start, packet.end);
    const udp = header?.protocol === IpProtocol.UDP ? parseUdpHeader(packet.buffer, header) : undefined;
    if (header === undefined || udp?.destinationPort !== this.#service.port) return DropReason.EXIT_POLICY;
    const address = packet.buffer.slice(header.source, header.destination);
    this.#client = { key: client, address, port: udp.sourcePort };
    const { local } = this.#service;
    this.#socket.send(packet.buffer.slice(udp.payload, udp.end), local.port, local.address);
    return undefined;
  }

  onReturn(handler: ReturnHandler): void {
    this.#handler = handler;
  }

  releaseClient(): void {
    this.#client = undefined;
  }

  async close(): Promise<void> {
    this.#handler = undefined;
    this.#socket.close();
  }

  #receive(message: Uint8Array): void {
    if (this.#client === undefined) return;
    const { key, address, port } = this.#client;
    const { address: source, port: sourcePort } = this.#service;
    const packet = udpPacket(message, {
      source: addressBytes(source),
      destination: address,
      sourcePort,
      destinationPort: port,
    });
    this.#handler?.(packet, key);
  }
}
