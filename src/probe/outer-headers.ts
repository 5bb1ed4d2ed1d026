import { type Address, addressBytes } from '../wire/address.ts';
import { equalBytes } from '../wire/bytes.ts';
import { IpProtocol, parseIpHeader, parseUdpHeader } from '../wire/ip.ts';

/** Calls back with each IP packet that reaches this host, from its outermost header on; the result ends that. */
export type WatchPackets = (handler: (packet: Uint8Array) => void) => () => void;

/** What the outermost header of a packet of the responder's says. */
interface OuterHeader {
  readonly trafficClass: number;
  readonly ttl: number;
  readonly isEsp: boolean;
}

/** The headers of all packets that come from one address. */
export class OuterHeaders {
  readonly stop: () => void;
  #seen: OuterHeader[] = [];

  constructor(watch: WatchPackets, address: Address) {
    const source = addressBytes(address);
    this.stop = watch((packet) => {
      const header = parseIpHeader(packet, 0, packet.length);
      if (header === undefined) return;
      if (!equalBytes(packet.subarray(header.source, header.source + source.length), source)) return;
      this.#seen.push({
        trafficClass: header.family === 4 ? packet[1] : ((packet[0] & 15) << 4) | (packet[1] >> 4),
        ttl: packet[header.family === 4 ? 8 : 7],
        isEsp: header.protocol === IpProtocol.ESP || isEspInUdp(packet),
      });
    });
  }

  /** How many packets have been seen. */
  get count(): number {
    return this.#seen.length;
  }

  /** The different TTLs. */
  get ttls(): readonly number[] {
    return [...new Set(this.#seen.map(({ ttl }) => ttl))];
  }

  /** DSCP and ECN of ESP packets after the first `count` packets. */
  trafficClasses(count: number): readonly number[] {
    return this.#seen
      .slice(count)
      .filter(({ isEsp }) => isEsp)
      .map(({ trafficClass }) => trafficClass);
  }
}

/** RFC 3948 2.2: on port 4500, what does not start with four zero octets. */
function isEspInUdp(packet: Uint8Array): boolean {
  const header = parseIpHeader(packet, 0, packet.length);
  const udp = header?.protocol === IpProtocol.UDP ? parseUdpHeader(packet, header) : undefined;
  if (udp?.sourcePort !== 4500) return false;
  return packet.subarray(udp.payload, udp.payload + 4).some((octet) => octet !== 0);
}
