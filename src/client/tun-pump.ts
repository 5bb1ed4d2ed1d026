import type { Packet } from '../link/packet.ts';
import type { AssignedAddresses, Tunnel } from '../link/sa-store.ts';
import type { TunDevice } from '../native/native.ts';
import { addressBytes } from '../wire/address.ts';
import { equalBytes } from '../wire/bytes.ts';
import { type IpHeader, IpProtocol, internetChecksum, parseIpHeader } from '../wire/ip.ts';
import { DNS_PORTS } from './traffic-rules.ts';

/** Why a packet is not let in: it is not whole, not from an assigned address, or a query to a name server not assigned. */
type Refusal = 'malformed' | 'source' | 'dns';

/**
 * Carries packets between a TUN device and the innermost tunnel of a telescope, until the device is closed. Only whole
 * packets from an assigned address go in, without DSCP and ECN (T13, T15), and DNS only to the assigned servers: any
 * other would tell the exit whose resolvers the client uses elsewhere.
 * @returns how many packets were not let in, up to date at any time
 */
export function pumpTun(
  tun: TunDevice,
  tunnel: Tunnel,
  assigned: AssignedAddresses,
): { readonly dropped: Readonly<Record<Refusal, number>> } {
  const sources = [assigned.ip4, assigned.ip6?.address]
    .filter((address) => address !== undefined)
    .map(addressBytes);
  const servers = assigned.dns.map(addressBytes);
  const dropped = { malformed: 0, source: 0, dns: 0 };
  tunnel.onPackets((packets) => {
    for (const packet of packets) tun.write(packet);
  });
  tun.start((packets) => {
    const entering = packets.filter((packet) => {
      const refusal = prepareToEnter(packet, sources, servers);
      if (refusal !== undefined) dropped[refusal]++;
      return refusal === undefined;
    });
    if (entering.length > 0) tunnel.send(entering);
  });
  return { dropped };
}

/** Clears TOS or traffic class of a packet, unless it may not enter the telescope. */
function prepareToEnter(
  packet: Packet,
  sources: readonly Uint8Array[],
  servers: readonly Uint8Array[],
): Refusal | undefined {
  const { buffer } = packet;
  const header = parseIpHeader(buffer, packet.start, packet.end);
  if (header === undefined || header.end !== packet.end || header.fragment) return 'malformed';
  const source = buffer.subarray(header.source, header.destination);
  const destination = buffer.subarray(header.destination, header.destination + source.length);
  const isOneOf = (addresses: readonly Uint8Array[], address: Uint8Array) =>
    addresses.some((one) => equalBytes(one, address));
  if (!isOneOf(sources, source)) return 'source';
  if (DNS_PORTS.includes(destinationPort(buffer, header) ?? 0) && !isOneOf(servers, destination))
    return 'dns';
  clearTrafficClass(buffer, header);
  return undefined;
}

/** Of UDP and TCP. */
function destinationPort(buffer: Uint8Array, { protocol, payload }: IpHeader): number | undefined {
  if (protocol !== IpProtocol.UDP && protocol !== IpProtocol.TCP) return undefined;
  return (buffer[payload + 2] << 8) | buffer[payload + 3];
}

function clearTrafficClass(buffer: Uint8Array, { family, offset, payload }: IpHeader): void {
  if (family === 6) {
    buffer[offset] &= 0xf0;
    buffer[offset + 1] &= 0x0f;
  } else if (buffer[offset + 1] !== 0) {
    buffer[offset + 1] = 0;
    buffer.fill(0, offset + 10, offset + 12);
    const sum = internetChecksum(buffer, offset, payload);
    buffer[offset + 10] = sum >> 8;
    buffer[offset + 11] = sum & 255;
  }
}
