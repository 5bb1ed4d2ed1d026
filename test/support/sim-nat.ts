import type { Clock, Millis } from '../../src/link/clock.ts';
import { type Address, addressBytes, addressText } from '../../src/wire/address.ts';
import { concat } from '../../src/wire/bytes.ts';
import {
  IpProtocol,
  parseIpHeader,
  parseUdpHeader,
  writeIpHeader,
  writeUdpHeader,
} from '../../src/wire/ip.ts';
import type { SimNetwork } from './sim-network.ts';

interface Mapping {
  readonly inside: Address;
  readonly port: number;
  readonly publicPort: number;
  used: Millis;
}

/** A NAT for UDP over IPv4, on a node of a simulated network between its inside hosts and everybody else. */
export class SimNat {
  readonly address: Address;
  readonly #clock: Clock;
  readonly #isInside: (address: Address) => boolean;
  readonly #timeout: Millis;
  #mappings: Mapping[] = [];
  #nextPort = 40_001;

  /** @param timeout - a mapping without a packet from inside is forgotten after that */
  constructor(
    network: SimNetwork,
    name: string,
    address: Address,
    isInside: (address: Address) => boolean,
    timeout: Millis,
  ) {
    this.address = address;
    this.#clock = network.clock;
    this.#isInside = isInside;
    this.#timeout = timeout;
    network.middlebox(name, address, (bytes) => this.#translate(bytes));
  }

  /** Public ports of the mappings that there are. */
  get ports(): number[] {
    this.#expire();
    return this.#mappings.map(({ publicPort }) => publicPort);
  }

  /** Forgets everything, as a NAT does that starts anew. */
  reboot(): void {
    this.#mappings = [];
  }

  #translate(bytes: Uint8Array): Uint8Array | 'dropped' | undefined {
    this.#expire();
    const header = parseIpHeader(bytes, 0, bytes.length)!;
    const source = addressText(bytes.subarray(header.source, header.destination));
    const destination = addressText(bytes.subarray(header.destination, header.destination + 4));
    if (!this.#isInside(source) && destination !== this.address) return undefined;
    const udp = header.protocol === IpProtocol.UDP ? parseUdpHeader(bytes, header) : undefined;
    if (udp === undefined) return 'dropped';
    const payload = bytes.subarray(udp.payload, udp.end);
    if (destination === this.address) {
      const mapping = this.#mappings.find(({ publicPort }) => publicPort === udp.destinationPort);
      if (mapping === undefined) return 'dropped';
      return datagram(payload, source, udp.sourcePort, mapping.inside, mapping.port);
    }
    let mapping = this.#mappings.find(({ inside, port }) => inside === source && port === udp.sourcePort);
    if (mapping === undefined) {
      mapping = { inside: source, port: udp.sourcePort, publicPort: this.#nextPort++, used: 0 };
      this.#mappings.push(mapping);
    }
    mapping.used = this.#clock.now();
    return datagram(payload, this.address, mapping.publicPort, destination, udp.destinationPort);
  }

  #expire(): void {
    const oldest = this.#clock.now() - this.#timeout;
    this.#mappings = this.#mappings.filter(({ used }) => used >= oldest);
  }
}

function datagram(
  payload: Uint8Array,
  from: Address,
  sourcePort: number,
  to: Address,
  destinationPort: number,
): Uint8Array {
  const packet = concat(new Uint8Array(28), payload);
  const ends = { source: addressBytes(from), destination: addressBytes(to) };
  writeUdpHeader(packet, 20, packet.length, { ...ends, sourcePort, destinationPort });
  writeIpHeader(packet, 0, { ...ends, protocol: IpProtocol.UDP }, packet.length - 20);
  return packet;
}
