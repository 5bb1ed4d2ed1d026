/** A frame of a capture file. */
export interface CapturedFrame {
  /** Counted from one, as Wireshark does. */
  readonly number: number;
  /** Nanoseconds since the epoch; undefined if the file does not say. */
  readonly time?: bigint;
  /** What the frame starts with (the LINKTYPE registry). */
  readonly linkType: number;
  readonly bytes: Uint8Array;
}

/** The frames of a capture file, up to the place where it is damaged. */
export interface Capture {
  readonly frames: readonly CapturedFrame[];
  /** What is wrong with the rest of the file. */
  readonly damage?: string;
}

/** A file that is neither pcap nor pcapng. */
export class CaptureFileError extends Error {
  override readonly name = 'CaptureFileError';
}

const NANOS = 1_000_000_000n;

/**
 * Reads a capture file: pcap (draft-ietf-opsawg-pcap; microseconds or nanoseconds) or pcapng (draft-ietf-opsawg-pcapng), of
 * either byte order. The frames are views of `file`.
 * @throws CaptureFileError if it is neither
 */
export function readCapture(file: Uint8Array): Capture {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const magic = file.length >= 4 ? view.getUint32(0) : 0;
  if (magic === SECTION_HEADER) return readPcapng(file, view);
  const format = PCAP_FORMATS[magic];
  if (format !== undefined) return readPcap(file, view, format.little, format.nanos);
  const gzip = magic >>> 16 === 0x1f8b;
  const remedy = gzip ? 'it is compressed; unpack it with gunzip first' : 'save it as pcap or pcapng';
  throw new CaptureFileError(`not a capture file: ${remedy}`);
}

interface PcapFormat {
  readonly little: boolean;
  /** Nanoseconds in a unit of the fraction of a time stamp. */
  readonly nanos: bigint;
}

const PCAP_FORMATS: Readonly<Record<number, PcapFormat>> = {
  2712847316: { little: false, nanos: 1000n },
  3569595041: { little: true, nanos: 1000n },
  2712812621: { little: false, nanos: 1n },
  1295823521: { little: true, nanos: 1n },
};

const PCAP_HEADER = 24;
const PCAP_RECORD = 16;

function readPcap(file: Uint8Array, view: DataView, little: boolean, nanos: bigint): Capture {
  const frames: CapturedFrame[] = [];
  if (file.length < PCAP_HEADER) return { frames, damage: cutOff(file.length) };
  // The upper half of the field says how long a frame check sequence is.
  const linkType = view.getUint32(20, little) & 0xffff;
  let at = PCAP_HEADER;
  while (at < file.length) {
    const start = at + PCAP_RECORD;
    if (start > file.length) return { frames, damage: cutOff(at) };
    const end = start + view.getUint32(at + 8, little);
    if (end > file.length) return { frames, damage: cutOff(at) };
    const seconds = BigInt(view.getUint32(at, little));
    const time = seconds * NANOS + BigInt(view.getUint32(at + 4, little)) * nanos;
    frames.push({ number: frames.length + 1, time, linkType, bytes: file.subarray(start, end) });
    at = end;
  }
  return { frames };
}

function cutOff(at: number): string {
  return `the capture file is cut off or damaged at octet ${at}`;
}

const SECTION_HEADER = 0x0a0d0d0a;
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
const Block = { INTERFACE: 1, OBSOLETE_PACKET: 2, SIMPLE_PACKET: 3, ENHANCED_PACKET: 6 } as const;
const Option = { END: 0, TSRESOL: 9, TSOFFSET: 14 } as const;

/** An interface of a pcapng section. */
interface Interface {
  readonly linkType: number;
  readonly snapLength: number;
  /** Time stamps are in units of 1/resolution seconds after `offset`. */
  readonly resolution: bigint;
  readonly offset: bigint;
}

function readPcapng(file: Uint8Array, view: DataView): Capture {
  const frames: CapturedFrame[] = [];
  let interfaces: Interface[] = [];
  let little = false;
  let at = 0;
  while (at < file.length) {
    if (at + 12 > file.length) return { frames, damage: cutOff(at) };
    const type = view.getUint32(at, little);
    if (type === SECTION_HEADER) {
      little = view.getUint32(at + 8, true) === BYTE_ORDER_MAGIC;
      interfaces = [];
    }
    const length = view.getUint32(at + 4, little);
    if (length < 12 || length % 4 !== 0 || at + length > file.length) return { frames, damage: cutOff(at) };
    const body = new BlockBody(file.subarray(at + 8, at + length - 4), little);
    if (type === Block.INTERFACE) {
      const described = readInterface(body);
      if (described === undefined) return { frames, damage: cutOff(at) };
      interfaces.push(described);
    } else {
      const packet = readPacket(type, body, interfaces);
      if (packet === 'damaged') return { frames, damage: cutOff(at) };
      if (packet !== undefined) frames.push({ number: frames.length + 1, ...packet });
    }
    at += length;
  }
  return { frames };
}

/** The octets of a block between its two lengths. */
class BlockBody {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  readonly #little: boolean;

  constructor(bytes: Uint8Array, little: boolean) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#little = little;
  }

  get length(): number {
    return this.bytes.length;
  }

  u16(at: number): number {
    return this.#view.getUint16(at, this.#little);
  }

  u32(at: number): number {
    return this.#view.getUint32(at, this.#little);
  }

  i64(at: number): bigint {
    return this.#view.getBigInt64(at, this.#little);
  }
}

function readInterface(body: BlockBody): Interface | undefined {
  if (body.length < 8) return undefined;
  let resolution = 1_000_000n;
  let offset = 0n;
  for (let at = 8; at + 4 <= body.length; ) {
    const option = body.u16(at);
    const length = body.u16(at + 2);
    const value = at + 4;
    if (option === Option.END || value + length > body.length) break;
    if (option === Option.TSRESOL && length === 1) {
      const code = body.bytes[value];
      resolution = (code & 0x80 ? 2n : 10n) ** BigInt(code & 0x7f);
    }
    if (option === Option.TSOFFSET && length === 8) offset = body.i64(value);
    at = value + ((length + 3) & ~3);
  }
  return { linkType: body.u16(0), snapLength: body.u32(4), resolution, offset };
}

/** @returns undefined for a block that is no packet */
function readPacket(
  type: number,
  body: BlockBody,
  interfaces: readonly Interface[],
): Omit<CapturedFrame, 'number'> | 'damaged' | undefined {
  if (type === Block.SIMPLE_PACKET) {
    if (body.length < 4 || interfaces.length === 0) return 'damaged';
    const [{ linkType, snapLength }] = interfaces;
    const captured = Math.min(body.u32(0), snapLength || body.length, body.length - 4);
    return { linkType, bytes: body.bytes.subarray(4, 4 + captured) };
  }
  if (type !== Block.ENHANCED_PACKET && type !== Block.OBSOLETE_PACKET) return undefined;
  if (body.length < 20) return 'damaged';
  const interfaceId = type === Block.ENHANCED_PACKET ? body.u32(0) : body.u16(0);
  const from = interfaces[interfaceId];
  const end = 20 + body.u32(12);
  if (from === undefined || end > body.length) return 'damaged';
  const ticks = (BigInt(body.u32(4)) << 32n) | BigInt(body.u32(8));
  const time = from.offset * NANOS + (ticks * NANOS) / from.resolution;
  return { time, linkType: from.linkType, bytes: body.bytes.subarray(20, end) };
}
