import { parseFrame } from '../transport/pcap.ts';
import { type Address, addressText } from '../wire/address.ts';
import { hex } from '../wire/bytes.ts';
import { IpProtocol, parseIpHeader } from '../wire/ip.ts';

/** What an observer of a link reads off one Ethernet frame without any key. */
export interface Dissection {
  /** Source and destination of the IP header, or the two protocol addresses of an ARP packet. */
  readonly addresses: readonly Address[];
  /** Of ESP, in UDP or not. */
  readonly spi?: number;
  /** UDP or TCP source and destination port. */
  readonly ports?: readonly [number, number];
  /** ID payloads that are not inside an SK payload: type and data in hex. */
  readonly identities: readonly string[];
  /** Every octet that may carry a leak; together the whole frame but for TCP's counters and checksum. */
  readonly segments: readonly Segment[];
}

/** Octets `start` to `end` (exclusive) of a frame. */
export interface Segment {
  readonly start: number;
  readonly end: number;
  /** Ciphertext, key exchange values, nonces, digests: any four octets turn up in them by chance. */
  readonly random: boolean;
}

const ETHERTYPE_ARP = 0x0806;
const ETHERTYPES_IP: readonly number[] = [0x0800, 0x86dd];

const IKE_PORT = 500;
const NAT_T_PORT = 4500;
const IKE_HEADER = 28;

/** Payload types (RFC 7296 3.2). */
const Payload = { NONE: 0, KE: 34, ID_I: 35, ID_R: 36, NONCE: 40, NOTIFY: 41, SK: 46, SKF: 53 } as const;
/** NAT_DETECTION_SOURCE_IP and NAT_DETECTION_DESTINATION_IP (RFC 7296 3.10.1): their data are SHA-1 digests. */
const NAT_DETECTION = [16388, 16389];

/** Reads a frame. Anything that it does not understand is one clear segment, so that nothing escapes the search. */
export function dissectFrame(bytes: Uint8Array): Dissection {
  const unread = { addresses: [], identities: [], segments: [clear(0, bytes.length)] };
  const frame = parseFrame(bytes);
  if (frame === undefined) return unread;
  if (frame.etherType === ETHERTYPE_ARP && bytes.length >= frame.offset + 28) {
    const addresses = [14, 24].map((at) =>
      addressText(bytes.subarray(frame.offset + at, frame.offset + at + 4)),
    );
    return { ...unread, addresses };
  }
  if (!ETHERTYPES_IP.includes(frame.etherType)) return unread;
  const ip = parseIpHeader(bytes, frame.offset, bytes.length);
  if (ip === undefined) return unread;

  const length = ip.destination - ip.source;
  const addresses = [ip.source, ip.destination].map((at) => addressText(bytes.subarray(at, at + length)));
  const upper = ip.fragment ? {} : dissectUpperLayer(bytes, ip.protocol, ip.payload, ip.end);
  const special = upper.segments ?? [clear(ip.payload, ip.end)];
  const segments = [clear(0, ip.payload), ...special, clear(ip.end, bytes.length)];
  return { identities: [], ...upper, addresses, segments: segments.filter(({ start, end }) => end > start) };
}

type UpperLayer = Partial<Omit<Dissection, 'addresses'>>;

function dissectUpperLayer(bytes: Uint8Array, protocol: number, start: number, end: number): UpperLayer {
  switch (protocol) {
    case IpProtocol.ESP:
      return dissectEsp(bytes, start, end);
    case IpProtocol.UDP:
      return end - start < 8 ? {} : dissectUdp(bytes, start, end);
    case IpProtocol.TCP:
      return end - start < 20
        ? {}
        : { ports: portsAt(bytes, start), segments: tcpSegments(bytes, start, end) };
    default:
      return {};
  }
}

/** RFC 4303 2: the SPI and the sequence number are in clear. */
function dissectEsp(bytes: Uint8Array, start: number, end: number): UpperLayer {
  if (end - start < 8) return {};
  return { spi: uint32(bytes, start), segments: [clear(start, start + 8), random(start + 8, end)] };
}

function dissectUdp(bytes: Uint8Array, start: number, end: number): UpperLayer {
  const ports = portsAt(bytes, start);
  const payload = start + 8;
  const header = clear(start, payload);
  let inside: UpperLayer = {};
  if (ports.includes(NAT_T_PORT) && end - payload > 4) {
    // RFC 3948 2.2: four zero octets where ESP has its SPI.
    const marked = uint32(bytes, payload) === 0;
    inside = marked ? dissectIke(bytes, payload + 4, end) : dissectEsp(bytes, payload, end);
    if (marked && inside.segments)
      inside = { ...inside, segments: [clear(payload, payload + 4), ...inside.segments] };
  } else if (ports.includes(IKE_PORT)) {
    inside = dissectIke(bytes, payload, end);
  }
  return { ...inside, ports, segments: [header, ...(inside.segments ?? [clear(payload, end)])] };
}

/** The payloads in clear of an IKE message (RFC 7296 3.1, 3.2), up to the first SK payload. */
function dissectIke(bytes: Uint8Array, start: number, end: number): UpperLayer {
  if (end - start < IKE_HEADER) return {};
  const identities: string[] = [];
  const segments: Segment[] = [random(start, start + 16), clear(start + 16, start + IKE_HEADER)];
  let type = bytes[start + 16];
  let at = start + IKE_HEADER;
  while (type !== Payload.NONE && at + 4 <= end) {
    const body = at + 4;
    const next = at + word(bytes, at + 2);
    if (next < body || next > end) break;
    if (type === Payload.ID_I || type === Payload.ID_R) {
      identities.push(`${bytes[body]}:${hex(bytes.subarray(body + 4, next))}`);
    }
    const randomFrom = Math.min(randomOffset(bytes, type, body), next);
    segments.push(clear(at, randomFrom), random(randomFrom, next));
    if (type === Payload.SK || type === Payload.SKF) type = Payload.NONE;
    else type = bytes[at];
    at = next;
  }
  segments.push(clear(at, end));
  return { identities, segments };
}

/** Where the octets of a payload's body begin that are random by design; past its end if none are. */
function randomOffset(bytes: Uint8Array, type: number, body: number): number {
  switch (type) {
    case Payload.SK:
    case Payload.NONCE:
      return body;
    case Payload.SKF:
    case Payload.KE:
      return body + 4;
    case Payload.NOTIFY:
      return NAT_DETECTION.includes(word(bytes, body + 2)) ? body + 4 : bytes.length;
    default:
      return bytes.length;
  }
}

/** A TCP segment without its counters: sequence and acknowledgment number, checksum, time stamps (RFC 7323 3.2). */
function tcpSegments(bytes: Uint8Array, start: number, end: number): Segment[] {
  const data = Math.min(start + (bytes[start + 12] >> 4) * 4, end);
  const segments = [clear(start, start + 4), clear(start + 12, start + 16)];
  let from = start + 18;
  for (let at = start + 20; at < data && bytes[at] !== 0; ) {
    const length = bytes[at] === 1 ? 1 : bytes[at + 1];
    if (length === 0 || at + length > data) break;
    if (bytes[at] === 8 && length === 10) {
      segments.push(clear(from, at + 2));
      from = at + 10;
    }
    at += length;
  }
  return [...segments, clear(from, end)];
}

function clear(start: number, end: number): Segment {
  return { start, end, random: false };
}

function random(start: number, end: number): Segment {
  return { start, end, random: true };
}

function portsAt(bytes: Uint8Array, start: number): readonly [number, number] {
  return [word(bytes, start), word(bytes, start + 2)];
}

function word(bytes: Uint8Array, at: number): number {
  return (bytes[at] << 8) | bytes[at + 1];
}

function uint32(bytes: Uint8Array, at: number): number {
  return ((bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]) >>> 0;
}
