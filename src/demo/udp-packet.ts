import { allocatePacket, type Packet } from '../link/packet.ts';
import { type Address, addressBytes } from '../wire/address.ts';
import { IpProtocol, writeIpHeader, writeUdpHeader } from '../wire/ip.ts';

const IP_HEADER = 20;
const UDP_HEADER = 8;

/** A whole IPv4 packet with a UDP datagram in it. */
export function udpPacket(
  header: {
    readonly source: Address;
    readonly sourcePort: number;
    readonly destination: Address | Uint8Array;
    readonly destinationPort: number;
  },
  payload: Uint8Array,
): Packet {
  const packet = allocatePacket(IP_HEADER + UDP_HEADER + payload.length);
  const { buffer, start, end } = packet;
  const source = addressBytes(header.source);
  const destination =
    typeof header.destination === 'string' ? addressBytes(header.destination) : header.destination;
  buffer.set(payload, start + IP_HEADER + UDP_HEADER);
  const { sourcePort, destinationPort } = header;
  writeUdpHeader(buffer, start + IP_HEADER, end, { source, destination, sourcePort, destinationPort });
  writeIpHeader(buffer, start, { source, destination, protocol: IpProtocol.UDP }, end - start - IP_HEADER);
  return packet;
}
