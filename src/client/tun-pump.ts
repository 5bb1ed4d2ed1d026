import type { Packet } from '../link/packet.ts';
import type { AssignedAddresses, Tunnel } from '../link/sa-store.ts';
import type { TunDevice } from '../native/native.ts';
import { addressBytes } from '../wire/address.ts';
import { equalBytes } from '../wire/bytes.ts';
import { internetChecksum, parseIpHeader } from '../wire/ip.ts';

/**
 * Carries packets between a TUN device and the innermost tunnel of a telescope, until the device is closed. Only whole
 * packets from an assigned address go in, without DSCP and ECN (T13, T15); every other one is dropped.
 */
export function pumpTun(tun: TunDevice, tunnel: Tunnel, assigned: AssignedAddresses): void {
  const sources = [assigned.ip4, assigned.ip6?.address]
    .filter((address) => address !== undefined)
    .map(addressBytes);
  tunnel.onPackets((packets) => {
    for (const packet of packets) tun.write(packet);
  });
  tun.start((packets) => {
    const entering = packets.filter((packet) => prepareToEnter(packet, sources));
    if (entering.length > 0) tunnel.send(entering);
  });
}

/** Whether a packet may enter the telescope; its TOS or traffic class is zero then. */
function prepareToEnter(packet: Packet, sources: readonly Uint8Array[]): boolean {
  const { buffer } = packet;
  const header = parseIpHeader(buffer, packet.start, packet.end);
  if (header === undefined || header.end !== packet.end || header.fragment) return false;
  const source = buffer.subarray(header.source, header.destination);
  if (!sources.some((address) => equalBytes(address, source))) return false;
  const { offset } = header;
  if (header.family === 6) {
    buffer[offset] &= 0xf0;
    buffer[offset + 1] &= 0x0f;
  } else if (buffer[offset + 1] !== 0) {
    buffer[offset + 1] = 0;
    buffer.fill(0, offset + 10, offset + 12);
    const sum = internetChecksum(buffer, offset, header.payload);
    buffer[offset + 10] = sum >> 8;
    buffer[offset + 11] = sum & 255;
  }
  return true;
}
