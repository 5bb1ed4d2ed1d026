import { type IpHeader, IpProtocol } from '../../wire/ip.ts';
import type { TrafficSelector } from '../../wire/traffic-selector.ts';

/** Which end of a packet a list of selectors speaks of. */
type End = 'source' | 'destination';

/** Whether one of `selectors` covers the packet's address, protocol and port at `end` (RFC 4301 4.4.1.1). */
export function selectorsCover(
  selectors: readonly TrafficSelector[],
  buffer: Uint8Array,
  packet: IpHeader,
  end: End,
): boolean {
  for (const selector of selectors) {
    if (
      selector.family === packet.family &&
      (selector.protocol === 0 || selector.protocol === packet.protocol) &&
      inRange(selector, buffer, packet[end]) &&
      portCovered(selector, buffer, packet, end)
    ) {
      return true;
    }
  }
  return false;
}

function inRange(selector: TrafficSelector, buffer: Uint8Array, offset: number): boolean {
  const { startAddress, endAddress } = selector;
  return compareAt(buffer, offset, startAddress) >= 0 && compareAt(buffer, offset, endAddress) <= 0;
}

function compareAt(buffer: Uint8Array, offset: number, address: Uint8Array): number {
  for (let i = 0; i < address.length; i++) {
    const difference = buffer[offset + i] - address[i];
    if (difference !== 0) return difference;
  }
  return 0;
}

function portCovered(selector: TrafficSelector, buffer: Uint8Array, packet: IpHeader, end: End): boolean {
  if (selector.startPort === 0 && selector.endPort === 65535) return true;
  if (packet.protocol !== IpProtocol.TCP && packet.protocol !== IpProtocol.UDP) return false;
  const at = packet.payload + (end === 'source' ? 0 : 2);
  if (packet.fragment || at + 2 > packet.end) return false;
  const port = (buffer[at] << 8) | buffer[at + 1];
  return selector.startPort <= port && port <= selector.endPort;
}
