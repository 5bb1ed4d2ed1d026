import { packetBytes, udpPacket } from '../link/packet.ts';
import { type Address, addressBytes, addressText, familyOf } from '../wire/address.ts';
import { IpProtocol, ipHeaderLength, parseIpHeader, parseUdpHeader } from '../wire/ip.ts';
import type { Telescope } from './telescope.ts';

/** UDP from the address that the exit assigned, without a TUN device and without privileges. */
export interface TelescopeUdp {
  /** The address that the exit assigned. */
  readonly address: Address;
  /** Our port. */
  readonly port: number;
  /** Where datagrams go; until it is set they are dropped. A later handler takes the place of an earlier one. */
  onMessage(
    handler: (message: Uint8Array, from: { readonly address: Address; readonly port: number }) => void,
  ): void;
  /** Sends a datagram; like any other it may get lost. @throws RangeError for an address of another family, or a datagram over the telescope's inner MTU */
  send(message: Uint8Array, to: { readonly address: Address; readonly port: number }): void;
}

/** Opens a UDP port at the inner end of a telescope; it takes all of the telescope's packets for itself. */
export function openUdp(telescope: Telescope, port: number): TelescopeUdp {
  const address = telescope.assigned.ip4 ?? telescope.assigned.ip6!.address;
  const source = addressBytes(address);
  const headerLength = ipHeaderLength(familyOf(address));
  const room = telescope.innerMtu - headerLength - 8;
  return {
    address,
    port,
    onMessage(handler) {
      telescope.tunnel.onPackets((packets) => {
        for (const packet of packets) {
          const bytes = packetBytes(packet);
          const header = parseIpHeader(bytes, 0, bytes.length);
          if (header?.protocol !== IpProtocol.UDP || header.fragment) continue;
          const udp = parseUdpHeader(bytes, header);
          if (udp?.destinationPort !== port) continue;
          const from = addressText(bytes.subarray(header.source, header.source + source.length));
          handler(bytes.slice(udp.payload, udp.end), { address: from, port: udp.sourcePort });
        }
      });
    },
    send(message, to) {
      if (familyOf(to.address) !== familyOf(address)) {
        throw new RangeError(`the telescope carries IPv${familyOf(address)}, not IPv${familyOf(to.address)}`);
      }
      if (message.length > room)
        throw new RangeError(`a datagram of ${message.length} octets exceeds ${room}`);
      const packet = udpPacket(message, {
        source,
        destination: addressBytes(to.address),
        sourcePort: port,
        destinationPort: to.port,
      });
      telescope.tunnel.send([packet]);
    },
  };
}
