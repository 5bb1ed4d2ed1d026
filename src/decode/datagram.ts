import { type Address, addressText } from '../wire/address.ts';
import { IpProtocol, parseIpHeader } from '../wire/ip.ts';

/** One end of a datagram. */
export interface UdpEnd {
  readonly address: Address;
  readonly port: number;
}

/** A UDP datagram in a captured frame. */
export interface UdpDatagram {
  readonly source: UdpEnd;
  readonly destination: UdpEnd;
  /** A view of the frame; what is there of it if `error` is set. */
  readonly payload: Uint8Array;
  /** Why the datagram is not whole. */
  readonly error?: string;
}

/** Values of the LINKTYPE registry, and those of DLT_RAW and DLT_LOOP that some systems write instead. */
const LinkType = {
  NULL: 0,
  ETHERNET: 1,
  DLT_RAW: 12,
  DLT_RAW_OPENBSD: 14,
  RAW: 101,
  LOOP: 108,
  LINUX_SLL: 113,
  IPV4: 228,
  IPV6: 229,
  LINUX_SLL2: 276,
} as const;

const VLAN_TAGS: readonly number[] = [0x8100, 0x88a8, 0x9100];
const ETHERTYPES_IP: readonly number[] = [0x0800, 0x86dd];

/** IPv6 extension headers that may be ahead of UDP (RFC 8200 4): hop-by-hop options, routing, destination options. */
const IPV6_OPTIONS: readonly number[] = [0, 43, 60];
const IPV6_FRAGMENT = 44;

/**
 * The UDP datagram in a frame; undefined if there is none. Checksums are not looked at: a machine that captures what it
 * sends often sees them before its network card has computed them.
 */
export function udpDatagram(linkType: number, frame: Uint8Array): UdpDatagram | undefined {
  const start = ipOffset(linkType, frame);
  if (start === undefined) return undefined;
  const ip = parseIpHeader(frame, start, frame.length);
  if (ip === undefined) return cutOffDatagram(frame, start);
  const length = ip.destination - ip.source;
  const addresses = {
    source: addressText(frame.subarray(ip.source, ip.source + length)),
    destination: addressText(frame.subarray(ip.destination, ip.destination + length)),
  };
  if (ip.family === 4) {
    if (ip.protocol !== IpProtocol.UDP) return undefined;
    const later = (((frame[start + 6] & 0x1f) << 8) | frame[start + 7]) !== 0;
    if (later) return undefined;
    return udp(frame, ip.payload, ip.end, addresses, ip.fragment);
  }
  const upper = ipv6UpperLayer(frame, ip.protocol, ip.payload, ip.end);
  return upper && udp(frame, upper.offset, ip.end, addresses, upper.fragment);
}

/** Whether the datagram belongs to one of these ports. */
export function hasPort({ source, destination }: UdpDatagram, port: number): boolean {
  return source.port === port || destination.port === port;
}

/** Where the IP header starts; undefined if the frame has none. */
function ipOffset(linkType: number, frame: Uint8Array): number | undefined {
  switch (linkType) {
    case LinkType.ETHERNET:
      return etherPayload(frame, 12, 14);
    case LinkType.LINUX_SLL:
      return etherPayload(frame, 14, 16);
    case LinkType.LINUX_SLL2:
      return etherPayload(frame, 0, 20);
    case LinkType.NULL:
    case LinkType.LOOP:
      // An address family, whose numbers differ from system to system: the IP version tells as much.
      return 4;
    case LinkType.DLT_RAW:
    case LinkType.DLT_RAW_OPENBSD:
    case LinkType.RAW:
    case LinkType.IPV4:
    case LinkType.IPV6:
      return 0;
    default:
      return undefined;
  }
}

/** Steps over VLAN tags. @param typeAt - where the EtherType is; `offset`: where what it names starts */
function etherPayload(frame: Uint8Array, typeAt: number, offset: number): number | undefined {
  let type = u16(frame, typeAt);
  let start = offset;
  while (VLAN_TAGS.includes(type) && start + 4 <= frame.length) {
    type = u16(frame, start + 2);
    start += 4;
  }
  return ETHERTYPES_IP.includes(type) ? start : undefined;
}

function ipv6UpperLayer(
  frame: Uint8Array,
  first: number,
  payload: number,
  end: number,
): { readonly offset: number; readonly fragment: boolean } | undefined {
  let next = first;
  let offset = payload;
  let fragment = false;
  while (offset + 8 <= end) {
    if (next === IpProtocol.UDP) return { offset, fragment };
    if (next === IPV6_FRAGMENT) {
      if (u16(frame, offset + 2) >> 3 !== 0) return undefined;
      fragment ||= (frame[offset + 3] & 1) !== 0;
    } else if (!IPV6_OPTIONS.includes(next)) return undefined;
    const length = next === IPV6_FRAGMENT ? 8 : (frame[offset + 1] + 1) * 8;
    next = frame[offset];
    offset += length;
  }
  return undefined;
}

function udp(
  frame: Uint8Array,
  start: number,
  end: number,
  addresses: { readonly source: Address; readonly destination: Address },
  fragment: boolean,
): UdpDatagram | undefined {
  if (end - start < 8) return undefined;
  const length = u16(frame, start + 4);
  const whole = length >= 8 && start + length <= end;
  const datagram = {
    source: { address: addresses.source, port: u16(frame, start) },
    destination: { address: addresses.destination, port: u16(frame, start + 2) },
    payload: frame.subarray(start + 8, whole ? start + length : end),
  };
  if (fragment) {
    return { ...datagram, error: 'the first of several IP fragments, which are not put together' };
  }
  return whole
    ? datagram
    : { ...datagram, error: `UDP length ${length}, but ${end - start} octets are there` };
}

/** A datagram of which the capture has the IP and UDP headers, but not the end. */
function cutOffDatagram(frame: Uint8Array, start: number): UdpDatagram | undefined {
  const copy = frame.slice();
  const version = frame.length - start >= 40 ? frame[start] >> 4 : 0;
  const available = frame.length - start;
  // The same packet with the length that it has here.
  if (version === 4) {
    if (u16(frame, start + 2) <= available) return undefined;
    new DataView(copy.buffer).setUint16(start + 2, available);
  } else if (version === 6) {
    if (u16(frame, start + 4) + 40 <= available) return undefined;
    new DataView(copy.buffer).setUint16(start + 4, available - 40);
  } else return undefined;
  const datagram = udpDatagram(LinkType.RAW, copy.subarray(start));
  return (
    datagram && { ...datagram, error: `the capture has only the first ${available} octets of the packet` }
  );
}

function u16(bytes: Uint8Array, at: number): number {
  return (bytes[at] << 8) | bytes[at + 1];
}
