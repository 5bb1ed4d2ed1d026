import { ICMP, parseQuoted } from '../forward/icmp.ts';
import { type Packet, packetFrom } from '../link/packet.ts';
import { type Address, addressBytes, type Family, familyOf } from '../wire/address.ts';
import { equalBytes } from '../wire/bytes.ts';
import {
  IpProtocol,
  internetChecksum,
  ipHeaderLength,
  OUTER_TTL,
  parseIpHeader,
  pseudoHeaderSum,
  writeIpHeader,
  writeUdpHeader,
} from '../wire/ip.ts';

/** What a packet asks for an answer with. */
export type Question = 'icmp' | 'udp' | 'tcp';

/** Fields of a packet's IP header that a relay could copy or change. */
export interface HeaderFields {
  /** DSCP and ECN. */
  readonly trafficClass?: number;
  readonly ttl?: number;
}

const PORT = 51_820;
/** UDP's and TCP's echo service; where there is none, its absence is an answer as well. */
const ECHO_PORT = 7;
const SYN = 0x02;

/** A packet that almost every host answers: an echo request, a datagram to a port that hardly anybody has, a SYN. */
export function questionPacket(
  kind: Question,
  ends: { readonly source: Address; readonly destination: Address },
  number: number,
  { trafficClass = 0, ttl = OUTER_TTL }: HeaderFields = {},
): Packet {
  const family = familyOf(ends.source);
  const [source, destination] = [addressBytes(ends.source), addressBytes(ends.destination)];
  const start = ipHeaderLength(family);
  const bytes = new Uint8Array(start + { icmp: 16, udp: 16, tcp: 20 }[kind]);
  const protocol = protocolOf(kind, family);
  writeIpHeader(bytes, 0, { source, destination, protocol }, bytes.length - start);
  setFields(bytes, family, trafficClass, ttl);
  switch (kind) {
    case 'icmp':
      bytes.set([ICMP[family].echoRequest, 0, 0, 0, PORT >> 8, PORT & 255, number >> 8, number & 255], start);
      putChecksum(
        bytes,
        start,
        start + 2,
        family === 4 ? 0 : pseudoHeaderSum(source, destination, protocol, 16),
      );
      break;
    case 'udp':
      writeUdpHeader(bytes, start, bytes.length, {
        source,
        destination,
        sourcePort: PORT + number,
        destinationPort: ECHO_PORT,
      });
      break;
    case 'tcp': {
      const port = PORT + number;
      bytes.set([port >> 8, port & 255, 0, ECHO_PORT], start);
      bytes.set([0x50, SYN, 0xff, 0xff], start + 12);
      putChecksum(bytes, start, start + 16, pseudoHeaderSum(source, destination, protocol, 20));
    }
  }
  return packetFrom(bytes);
}

/** An answer to a question: of what kind, and its header. */
export interface Reply {
  /** An ICMP error that names the question came from a host other than the one that was asked, perhaps. */
  readonly kind: 'answer' | 'icmp-error';
  readonly from: Uint8Array;
  readonly trafficClass: number;
}

/** What a packet that came out of the tunnel says to question `number` of a kind; undefined if it is not about that. */
export function replyTo(
  kind: Question,
  destination: Address,
  number: number,
  bytes: Uint8Array,
): Reply | undefined {
  const header = parseIpHeader(bytes, 0, bytes.length);
  if (header === undefined || header.fragment) return undefined;
  const { family, payload, source, end } = header;
  const from = bytes.slice(source, header.destination);
  const trafficClass = family === 4 ? bytes[1] : ((bytes[0] & 15) << 4) | (bytes[1] >> 4);
  const { protocol: icmp, errors } = ICMP[family];
  if (header.protocol === icmp && errors.includes(bytes[payload])) {
    const about = parseQuoted(bytes, payload, end, family);
    const isAbout =
      about?.protocol === protocolOf(kind, family) &&
      isQuestion(kind, number, bytes.subarray(about.payload, about.end));
    return isAbout ? { kind: 'icmp-error', from, trafficClass } : undefined;
  }
  const transport = bytes.subarray(payload, end);
  const isAnswer =
    header.protocol === protocolOf(kind, family) &&
    equalBytes(from, addressBytes(destination)) &&
    isReply(kind, number, family, transport);
  return isAnswer ? { kind: 'answer', from, trafficClass } : undefined;
}

function protocolOf(kind: Question, family: Family): number {
  return { icmp: ICMP[family].protocol, udp: IpProtocol.UDP, tcp: IpProtocol.TCP }[kind];
}

function setFields(bytes: Uint8Array, family: Family, trafficClass: number, ttl: number): void {
  if (family === 6) {
    bytes[0] |= trafficClass >> 4;
    bytes[1] |= (trafficClass & 15) << 4;
    bytes[7] = ttl;
    return;
  }
  bytes[1] = trafficClass;
  bytes[8] = ttl;
  bytes.fill(0, 10, 12);
  const sum = internetChecksum(bytes, 0, 20);
  bytes.set([sum >> 8, sum & 255], 10);
}

function putChecksum(bytes: Uint8Array, start: number, at: number, initial: number): void {
  const sum = internetChecksum(bytes, start, bytes.length, initial);
  bytes.set([sum >> 8, sum & 255], at);
}

function isQuestion(kind: Question, number: number, transport: Uint8Array): boolean {
  return kind === 'icmp' ? u16(transport, 6) === number : u16(transport, 0) === PORT + number;
}

function isReply(kind: Question, number: number, family: Family, transport: Uint8Array): boolean {
  if (kind !== 'icmp') return u16(transport, 0) === ECHO_PORT && u16(transport, 2) === PORT + number;
  return (
    transport[0] === ICMP[family].echoReply && u16(transport, 4) === PORT && u16(transport, 6) === number
  );
}

function u16(bytes: Uint8Array, at: number): number {
  return (bytes[at] << 8) | bytes[at + 1];
}
