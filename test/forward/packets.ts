import { type Packet, packetFrom } from '../../src/link/packet.ts';
import { addressBytes, addressText } from '../../src/wire/address.ts';

/** Packets made and checked without the code under test: checksums by arithmetic modulo 65535. */
export interface Spec {
  readonly source: string;
  readonly destination: string;
  readonly protocol: number;
  readonly payload: Uint8Array;
  readonly ttl?: number;
  readonly tos?: number;
  readonly id?: number;
  readonly df?: boolean;
  readonly moreFragments?: boolean;
  readonly options?: boolean;
}

export const UDP = 17;
export const TCP = 6;
export const ESP = 50;

function words(bytes: Uint8Array): number {
  let sum = 0n;
  for (let i = 0; i < bytes.length; i += 2) sum += BigInt(bytes[i] * 256 + (bytes[i + 1] ?? 0));
  return Number(sum % 65535n);
}

/** The value that makes the sum of all words 0 modulo 65535, never 0 itself. */
function checksum(...parts: Uint8Array[]): number {
  const sum = parts.reduce((total, part) => total + words(part), 0) % 65535;
  return 65535 - sum;
}

function u16(...values: number[]): Uint8Array {
  return Uint8Array.from(values.flatMap((value) => [(value >> 8) & 255, value & 255]));
}

export function joined(...parts: Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

function patched(bytes: Uint8Array, offset: number, value: number): Uint8Array {
  const copy = bytes.slice();
  copy.set(u16(value), offset);
  return copy;
}

function pseudo(source: string, destination: string, protocol: number, length: number): Uint8Array {
  return joined(addressBytes(source), addressBytes(destination), u16(0, protocol, 0, length));
}

export function ip(spec: Spec): Uint8Array {
  const source = addressBytes(spec.source);
  const destination = addressBytes(spec.destination);
  const { ttl = 63, tos = 0, payload } = spec;
  if (source.length === 16) {
    const first = Uint8Array.of(0x60 | (tos >> 4), (tos & 15) << 4, 0x12, 0x34);
    return joined(
      first,
      u16(payload.length),
      Uint8Array.of(spec.protocol, ttl),
      source,
      destination,
      payload,
    );
  }
  const options = spec.options ? Uint8Array.of(1, 1, 1, 0) : new Uint8Array(0);
  const flags = (spec.df === false ? 0 : 0x4000) | (spec.moreFragments ? 0x2000 : 0);
  const header = joined(
    Uint8Array.of(0x45 + options.length / 4, tos),
    u16(20 + options.length + payload.length, spec.id ?? 0, flags),
    Uint8Array.of(ttl, spec.protocol, 0, 0),
    source,
    destination,
    options,
  );
  return joined(patched(header, 10, checksum(header)), payload);
}

type Ends = Pick<Spec, 'source' | 'destination'>;

export function udp(
  spec: Partial<Spec> & Ends & { sport: number; dport: number; data?: Uint8Array; noChecksum?: boolean },
): Uint8Array {
  const data = spec.data ?? Uint8Array.of(1, 2, 3);
  const header = u16(spec.sport, spec.dport, 8 + data.length, 0);
  const sum = checksum(pseudo(spec.source, spec.destination, UDP, 8 + data.length), header, data);
  const payload = joined(patched(header, 6, spec.noChecksum ? 0 : sum), data);
  return ip({ ...spec, protocol: UDP, payload });
}

export const SYN = 2;
export const ACK = 16;
export const RST = 4;
export const FIN = 1;

export function tcp(
  spec: Partial<Spec> &
    Ends & { sport: number; dport: number; flags: number; seq?: number; data?: Uint8Array },
): Uint8Array {
  const data = spec.data ?? new Uint8Array(0);
  const header = joined(
    u16(spec.sport, spec.dport, 0, spec.seq ?? 1, 0, 0),
    Uint8Array.of(0x50, spec.flags),
    u16(8192, 0, 0),
  );
  const sum = checksum(pseudo(spec.source, spec.destination, TCP, 20 + data.length), header, data);
  return ip({ ...spec, protocol: TCP, payload: joined(patched(header, 16, sum), data) });
}

/** An ICMP message of either family with the given type, code and last four octets of its header. */
export function icmp(
  spec: Partial<Spec> & Ends & { type: number; code?: number; rest?: Uint8Array; data?: Uint8Array },
): Uint8Array {
  const six = spec.source.includes(':');
  const message = joined(
    Uint8Array.of(spec.type, spec.code ?? 0, 0, 0),
    spec.rest ?? new Uint8Array(4),
    spec.data ?? new Uint8Array(0),
  );
  const header = six ? pseudo(spec.source, spec.destination, 58, message.length) : new Uint8Array(0);
  return ip({
    ...spec,
    protocol: six ? 58 : 1,
    payload: patched(message, 2, checksum(header, message)),
  });
}

export function echo(
  spec: Partial<Spec> & Ends & { id: number; reply?: boolean; data?: Uint8Array },
): Uint8Array {
  const six = spec.source.includes(':');
  const type = six ? (spec.reply ? 129 : 128) : spec.reply ? 0 : 8;
  return icmp({ ...spec, id: 0, type, rest: u16(spec.id, 7), data: spec.data ?? Uint8Array.of(9, 8, 7) });
}

/** What a test looks at. */
export interface View {
  readonly source: string;
  readonly destination: string;
  readonly protocol: number;
  readonly ttl: number;
  readonly tos: number;
  readonly id: number;
  readonly df: boolean;
  /** Ports; for ICMP the type and the query id. */
  readonly first: number;
  readonly second: number;
  readonly payload: Uint8Array;
  /** Whether the IP header's checksum and the transport's hold. */
  readonly sound: boolean;
}

export function view(packet: Packet | Uint8Array): View {
  const bytes = packet instanceof Uint8Array ? packet : packet.buffer.subarray(packet.start, packet.end);
  const six = bytes[0] >> 4 === 6;
  const headerLength = six ? 40 : (bytes[0] & 15) * 4;
  const payload = bytes.subarray(headerLength);
  const source = addressText(bytes.subarray(six ? 8 : 12, six ? 24 : 16));
  const destination = addressText(bytes.subarray(six ? 24 : 16, six ? 40 : 20));
  const protocol = bytes[six ? 6 : 9];
  const word = (at: number) => payload[at] * 256 + payload[at + 1];
  const echoes = protocol === 1 || protocol === 58;
  const length = six ? bytes[4] * 256 + bytes[5] + 40 : bytes[2] * 256 + bytes[3];
  return {
    source,
    destination,
    protocol,
    ttl: bytes[six ? 7 : 8],
    tos: six ? ((bytes[0] & 15) << 4) | (bytes[1] >> 4) : bytes[1],
    id: six ? 0 : bytes[4] * 256 + bytes[5],
    df: six || (bytes[6] & 0x40) !== 0,
    first: echoes ? payload[0] : word(0),
    second: echoes ? word(4) : word(2),
    payload,
    sound:
      length === bytes.length &&
      (six || words(bytes.subarray(0, headerLength)) === 0) &&
      transportSound(source, destination, protocol, payload),
  };
}

function transportSound(source: string, destination: string, protocol: number, payload: Uint8Array): boolean {
  if (protocol === 1) return words(payload) === 0;
  if (protocol === UDP && payload[6] === 0 && payload[7] === 0) return true;
  return (words(pseudo(source, destination, protocol, payload.length)) + words(payload)) % 65535 === 0;
}

export function packet(bytes: Uint8Array): Packet {
  return packetFrom(bytes);
}
