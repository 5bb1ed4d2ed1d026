import type { Millis } from '../link/clock.ts';
import type { Packet } from '../link/packet.ts';
import { type Address, addressBytes, type Family } from '../wire/address.ts';
import { type IpHeader, IpProtocol, ipHeaderLength, parseIpHeader } from '../wire/ip.ts';
import { type AddressKey, addressKey } from './address-key.ts';
import { DropReason } from './drop-reason.ts';
import { ICMP, icmpChecksumHolds, parseQuoted, type QuotedPacket, writeIcmpChecksum } from './icmp.ts';
import { amendChecksum, amendUdpChecksum, normaliseHeader, replaceOctets, replaceU16 } from './rewrite.ts';
import { isLowPort, type Mapping, type Session, SessionTable, type TimeoutClass } from './sessions.ts';

/** An inbound packet that now carries a client's address, or the reason why it does not. */
export type Inbound = { readonly client: AddressKey } | { readonly drop: DropReason };

/** Where a transport keeps the numbers that tell sessions apart; offsets from its header. */
interface Transport {
  readonly protocol: number;
  readonly length: number;
  /** The sender's and the receiver's port, or twice the query id. */
  readonly source: number;
  readonly destination: number;
  readonly checksum: number;
  /** Whether the checksum covers the IP addresses. */
  readonly pseudoHeader: boolean;
}

const UDP: Transport = {
  protocol: IpProtocol.UDP,
  length: 8,
  source: 0,
  destination: 2,
  checksum: 6,
  pseudoHeader: true,
};
const TCP: Transport = {
  protocol: IpProtocol.TCP,
  length: 20,
  source: 0,
  destination: 2,
  checksum: 16,
  pseudoHeader: true,
};
const ECHO = {
  4: { protocol: ICMP[4].protocol, length: 8, source: 4, destination: 4, checksum: 2, pseudoHeader: false },
  6: { protocol: ICMP[6].protocol, length: 8, source: 4, destination: 4, checksum: 2, pseudoHeader: true },
} as const;

/** Random ports that are tried before a packet is dropped: it must not cost more the fewer are free. */
const PORT_PROBES = 64;

/** What has been seen of a TCP connection that a client opened: anything inbound, the end from either side. */
const TcpSeen = { IN: 1, FIN_OUT: 2, FIN_IN: 4, RST: 8 } as const;
const BOTH_FINS = TcpSeen.FIN_OUT | TcpSeen.FIN_IN;
const FLAG_FIN = 1;
const FLAG_SYN = 2;
const FLAG_RST = 4;
const FLAG_ACK = 16;

/**
 * The exit's network address and port translation (K5, K6, K17; RFC 3022, 4787, 5382, 5508), for one exit address and so
 * for one family; over IPv6 it is the same thing (nobody gets an address that outlives the telescope).
 *
 * Mapping is endpoint-independent. Filtering is address-dependent for UDP and ICMP (RFC 4787 REQ-8 where stringency
 * matters more than transparency) and address and port-dependent for TCP. The port is kept if it is free, else
 * another random one is taken (K17). Clients are isolated, so there is no hairpinning (against RFC 4787 REQ-9), and
 * fragments are not translated (against REQ-14): the telescope's MTU is the same for everybody.
 */
export class Napt {
  readonly #exit: Uint8Array;
  readonly #exitKey: AddressKey;
  readonly #family: Family;
  readonly #random: (length: number) => Uint8Array;
  readonly #table = new SessionTable();

  constructor(exitAddress: Address, random: (length: number) => Uint8Array) {
    this.#exit = addressBytes(exitAddress);
    this.#family = this.#exit.length === 4 ? 4 : 6;
    this.#exitKey = addressKey(this.#exit, 0, this.#family);
    this.#random = random;
  }

  /** When `expire` has something to do, at the earliest; undefined while there is no session. */
  get nextExpiry(): Millis | undefined {
    return this.#table.nextExpiry;
  }

  /** Removes idle sessions. */
  expire(now: Millis): void {
    this.#table.expire(now);
  }

  /** Ends all sessions of a client that is gone. */
  release(client: AddressKey): void {
    this.#table.release(client);
  }

  /** Rewrites a client's packet in place to come from the exit address. Undefined if it may go. */
  outbound(packet: Packet, client: AddressKey, now: Millis): DropReason | undefined {
    this.#table.expire(now);
    const { buffer } = packet;
    const header = this.#parse(packet);
    if (typeof header === 'string') return header;
    if (addressKey(buffer, header.destination, header.family) === this.#exitKey) return DropReason.HAIRPIN;
    const transport = this.#transportOf(buffer, header, ICMP[header.family].echoRequest);
    if (transport === 'error') return this.#outboundError(buffer, header, client);
    if (typeof transport === 'string') return transport;

    const port = readU16(buffer, header.payload + transport.source);
    const session = this.#outboundSession(buffer, header, transport, client, port, now);
    if (session === undefined) return DropReason.NAPT_FULL;
    if (transport === TCP) seeOutbound(session, buffer[header.payload + 13]);
    this.#table.refresh(session, timeoutOf(transport, session), now);

    const address = replaceOctets(buffer, header.source, this.#exit);
    this.#finish(buffer, header, transport, transport.source, session.mapping.exitPort, address);
    return undefined;
  }

  /** Rewrites a packet from outside in place to go to the client that its port belongs to. */
  inbound(packet: Packet, now: Millis): Inbound {
    this.#table.expire(now);
    const { buffer } = packet;
    const header = this.#parse(packet);
    if (typeof header === 'string') return { drop: header };
    if (addressKey(buffer, header.destination, header.family) !== this.#exitKey) {
      return { drop: DropReason.NOT_FOR_US };
    }
    const transport = this.#transportOf(buffer, header, ICMP[header.family].echoReply);
    if (transport === 'error') return this.#inboundError(buffer, header);
    if (typeof transport === 'string') return { drop: transport };

    const exitPort = readU16(buffer, header.payload + transport.destination);
    const mapping = this.#table.mappingAt(transport.protocol, exitPort);
    if (mapping === undefined) return { drop: DropReason.NO_MAPPING };
    const remotePort = readU16(buffer, header.payload + transport.source);
    const session = mapping.sessions.get(
      remoteKey(transport, buffer, header.source, header.family, remotePort),
    );
    if (session === undefined) return { drop: DropReason.FILTERED };
    if (transport === TCP) {
      seeInbound(session, buffer[header.payload + 13]);
      // only the client's packets lengthen a connection's life, but its end may be seen from either side
      if (timeoutOf(TCP, session) === 'transitory' && session.timeout === 'established') {
        this.#table.refresh(session, 'transitory', now);
      }
    }

    const address = replaceOctets(buffer, header.destination, mapping.client.address);
    this.#finish(buffer, header, transport, transport.destination, mapping.port, address);
    return { client: mapping.client.key };
  }

  /** The header, with `packet` cut to its length; or why it cannot be translated. */
  #parse(packet: Packet): IpHeader | DropReason {
    const header = parseIpHeader(packet.buffer, packet.start, packet.end);
    if (header === undefined || header.family !== this.#family) return DropReason.MALFORMED;
    if (header.payload - header.offset !== ipHeaderLength(header.family)) return DropReason.IP_OPTIONS;
    if (header.fragment) return DropReason.FRAGMENT;
    packet.end = header.end;
    return header;
  }

  #transportOf(buffer: Uint8Array, header: IpHeader, echo: number): Transport | 'error' | DropReason {
    const transport = this.#byProtocol(header.protocol);
    if (transport === undefined) return DropReason.UNSUPPORTED_PROTOCOL;
    if (header.end - header.payload < transport.length) return DropReason.MALFORMED;
    if (transport !== UDP && transport !== TCP) {
      const type = buffer[header.payload];
      if (ICMP[header.family].errors.includes(type)) return 'error';
      return type === echo ? transport : DropReason.UNSUPPORTED_ICMP;
    }
    if (readU16(buffer, header.payload) === 0 || readU16(buffer, header.payload + 2) === 0) {
      return DropReason.MALFORMED;
    }
    return transport;
  }

  #byProtocol(protocol: number): Transport | undefined {
    if (protocol === IpProtocol.TCP) return TCP;
    if (protocol === IpProtocol.UDP) return UDP;
    return protocol === ECHO[this.#family].protocol ? ECHO[this.#family] : undefined;
  }

  /** The session of a client's packet, opened if need be; undefined if there is no room or no port for it. */
  #outboundSession(
    buffer: Uint8Array,
    header: IpHeader,
    transport: Transport,
    client: AddressKey,
    port: number,
    now: Millis,
  ): Session | undefined {
    const remotePort = readU16(buffer, header.payload + transport.destination);
    const key = remoteKey(transport, buffer, header.destination, header.family, remotePort);
    let mapping = this.#table.mapping(transport.protocol, client, port);
    const session = mapping?.sessions.get(key);
    if (session !== undefined) return session;
    if (!this.#table.hasRoom(client)) return undefined;
    if (mapping === undefined) {
      if (isLowPort(transport.protocol, port) && !this.#table.hasLowPort(client)) return undefined;
      const exitPort = this.#freePort(transport, port);
      if (exitPort === undefined) return undefined;
      const address = buffer.subarray(header.source, header.source + this.#exit.length);
      mapping = this.#table.addMapping(transport.protocol, client, address, port, exitPort);
    }
    return this.#table.open(mapping, key, openingTimeout(transport), now);
  }

  /**
   * The wanted port, or a random free one of the same range (RFC 4787 REQ-3: below 1024, or from 1024 on); undefined if
   * none was found soon.
   */
  #freePort(transport: Transport, wanted: number): number | undefined {
    const taken = (port: number) => this.#table.mappingAt(transport.protocol, port) !== undefined;
    if (!taken(wanted)) return wanted;
    const [low, high] = transport === UDP || transport === TCP ? portRange(wanted) : [0, 65_536];
    const random = this.#random(2 * PORT_PROBES);
    for (let i = 0; i < PORT_PROBES; i++) {
      const port = low + (readU16(random, 2 * i) % (high - low));
      if (!taken(port)) return port;
    }
    return undefined;
  }

  /** Writes the port and every checksum after an address was replaced (`address`: what that changed). */
  #finish(
    buffer: Uint8Array,
    header: IpHeader,
    transport: Transport,
    portOffset: number,
    port: number,
    address: number,
  ): void {
    const delta = replaceU16(buffer, header.payload + portOffset, port);
    amendTransport(buffer, header.payload, header.end, transport, delta, address);
    normaliseHeader(buffer, header, this.#random);
  }

  /** RFC 5508 REQ-4: an error about a client's packet, which it quotes as it left the exit. Refreshes nothing (REQ-6). */
  #inboundError(buffer: Uint8Array, header: IpHeader): Inbound {
    const quoted = parseQuoted(buffer, header.payload, header.end, header.family);
    if (quoted === undefined || !icmpChecksumHolds(buffer, header)) return { drop: DropReason.MALFORMED };
    if (addressKey(buffer, quoted.source, header.family) !== this.#exitKey) {
      return { drop: DropReason.NO_MAPPING };
    }
    const transport = this.#quotedTransport(buffer, quoted, ICMP[header.family].echoRequest);
    if (transport === undefined) return { drop: DropReason.UNSUPPORTED_PROTOCOL };
    const exitPort = readU16(buffer, quoted.payload + transport.source);
    const mapping = this.#table.mappingAt(transport.protocol, exitPort);
    if (mapping === undefined) return { drop: DropReason.NO_MAPPING };
    const remotePort = readU16(buffer, quoted.payload + transport.destination);
    const key = remoteKey(transport, buffer, quoted.destination, header.family, remotePort);
    if (!mapping.sessions.has(key)) return { drop: DropReason.FILTERED };

    const { address } = mapping.client;
    rewriteQuoted(buffer, quoted, transport, quoted.source, address, transport.source, mapping.port);
    buffer.set(address, header.destination);
    writeIcmpChecksum(buffer, header);
    normaliseHeader(buffer, header, this.#random);
    return { client: mapping.client.key };
  }

  /** RFC 5508 REQ-5: a client's error about a packet that it was sent, which it quotes as it received it. */
  #outboundError(buffer: Uint8Array, header: IpHeader, client: AddressKey): DropReason | undefined {
    const { family } = header;
    const quoted = parseQuoted(buffer, header.payload, header.end, family);
    if (quoted === undefined || !icmpChecksumHolds(buffer, header)) return DropReason.MALFORMED;
    const transport = this.#quotedTransport(buffer, quoted, ICMP[family].echoReply);
    if (transport === undefined) return DropReason.UNSUPPORTED_PROTOCOL;
    const mapping = this.#quotedMapping(buffer, header, quoted, transport, client);
    if (mapping === undefined) return DropReason.NO_MAPPING;

    rewriteQuoted(
      buffer,
      quoted,
      transport,
      quoted.destination,
      this.#exit,
      transport.destination,
      mapping.exitPort,
    );
    buffer.set(this.#exit, header.source);
    writeIcmpChecksum(buffer, header);
    normaliseHeader(buffer, header, this.#random);
    return undefined;
  }

  /** The mapping that the quoted packet came in by, if it was to this client and the error goes to its sender. */
  #quotedMapping(
    buffer: Uint8Array,
    header: IpHeader,
    quoted: QuotedPacket,
    transport: Transport,
    client: AddressKey,
  ): Mapping | undefined {
    const { family } = header;
    const port = readU16(buffer, quoted.payload + transport.destination);
    const mapping = this.#table.mapping(transport.protocol, client, port);
    const sender = addressKey(buffer, quoted.source, family);
    if (mapping === undefined || addressKey(buffer, quoted.destination, family) !== client) return undefined;
    if (addressKey(buffer, header.destination, family) !== sender) return undefined;
    const remotePort = readU16(buffer, quoted.payload + transport.source);
    const key = remoteKey(transport, buffer, quoted.source, family, remotePort);
    return mapping.sessions.has(key) ? mapping : undefined;
  }

  #quotedTransport(buffer: Uint8Array, quoted: QuotedPacket, echo: number): Transport | undefined {
    const transport = this.#byProtocol(quoted.protocol);
    if (transport === UDP || transport === TCP) return transport;
    return buffer[quoted.payload] === echo ? transport : undefined;
  }
}

/** Puts an address and a port into a quoted packet, with those of its checksums that were quoted (RFC 5508 4.2). */
function rewriteQuoted(
  buffer: Uint8Array,
  quoted: QuotedPacket,
  transport: Transport,
  addressOffset: number,
  address: Uint8Array,
  portOffset: number,
  port: number,
): void {
  const addressDelta = replaceOctets(buffer, addressOffset, address);
  if (address.length === 4) amendChecksum(buffer, quoted.offset + 10, addressDelta);
  const portDelta = replaceU16(buffer, quoted.payload + portOffset, port);
  amendTransport(buffer, quoted.payload, quoted.end, transport, portDelta, addressDelta);
}

function amendTransport(
  buffer: Uint8Array,
  start: number,
  end: number,
  transport: Transport,
  portDelta: number,
  addressDelta: number,
): void {
  const at = start + transport.checksum;
  if (at + 2 > end) return;
  const delta = transport.pseudoHeader ? portDelta + addressDelta : portDelta;
  if (transport === UDP) amendUdpChecksum(buffer, at, delta);
  else amendChecksum(buffer, at, delta);
}

/** What a session is with: a host for UDP and ICMP, a host and port for TCP. */
function remoteKey(
  transport: Transport,
  buffer: Uint8Array,
  offset: number,
  family: Family,
  port: number,
): number | string {
  const address = addressKey(buffer, offset, family);
  if (transport !== TCP) return address;
  return typeof address === 'number' ? address * 65_536 + port : address + String.fromCharCode(port);
}

function portRange(port: number): readonly [number, number] {
  return port < 1024 ? [1, 1024] : [1024, 65_536];
}

function openingTimeout(transport: Transport): TimeoutClass {
  if (transport === UDP) return 'udp';
  return transport === TCP ? 'transitory' : 'icmp';
}

function timeoutOf(transport: Transport, session: Session): TimeoutClass {
  if (transport !== TCP) return openingTimeout(transport);
  const { seen } = session;
  if ((seen & TcpSeen.RST) !== 0 || (seen & BOTH_FINS) === BOTH_FINS) return 'transitory';
  return (seen & TcpSeen.IN) !== 0 ? 'established' : 'transitory';
}

function seeOutbound(session: Session, flags: number): void {
  if ((flags & (FLAG_SYN | FLAG_ACK)) === FLAG_SYN) session.seen = 0;
  if (flags & FLAG_FIN) session.seen |= TcpSeen.FIN_OUT;
  if (flags & FLAG_RST) session.seen |= TcpSeen.RST;
}

function seeInbound(session: Session, flags: number): void {
  session.seen |= TcpSeen.IN;
  if (flags & FLAG_FIN) session.seen |= TcpSeen.FIN_IN;
  if (flags & FLAG_RST) session.seen |= TcpSeen.RST;
}

function readU16(buffer: Uint8Array, offset: number): number {
  return (buffer[offset] << 8) | buffer[offset + 1];
}
