import { utf8 } from '../wire/bytes.ts';

/** What a captured frame starts with (the LINKTYPE registry): an Ethernet header, or an IP header. */
export const LinkType = { ETHERNET: 1, RAW_IP: 101 } as const;
export type LinkType = (typeof LinkType)[keyof typeof LinkType];

export interface PcapInterface {
  readonly name: string;
  readonly linkType: LinkType;
}

export interface PcapFrame {
  /** Index in the list of interfaces. */
  readonly interface: number;
  /** Microseconds since the epoch. */
  readonly micros: number;
  readonly bytes: Uint8Array;
}

const SECTION_HEADER = 0x0a0d0d0a;
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
const INTERFACE_DESCRIPTION = 1;
const ENHANCED_PACKET = 6;
const OPTION_IF_NAME = 2;

/** A pcapng file (draft-ietf-opsawg-pcapng) with these interfaces and frames, in this order. */
export function pcapngFile(interfaces: readonly PcapInterface[], frames: readonly PcapFrame[]): Uint8Array {
  const blocks = [
    block(SECTION_HEADER, 16, (view) => {
      view.setUint32(0, BYTE_ORDER_MAGIC);
      view.setUint16(4, 1);
      view.setBigInt64(8, -1n); // section length not given
    }),
    ...interfaces.map(interfaceBlock),
    ...frames.map(frameBlock),
  ];
  const file = new Uint8Array(blocks.reduce((length, bytes) => length + bytes.length, 0));
  let offset = 0;
  for (const bytes of blocks) {
    file.set(bytes, offset);
    offset += bytes.length;
  }
  return file;
}

function interfaceBlock({ name, linkType }: PcapInterface): Uint8Array {
  const text = utf8(name);
  const optionEnd = 12 + padded(text.length);
  return block(INTERFACE_DESCRIPTION, optionEnd + 4, (view, bytes) => {
    view.setUint16(0, linkType);
    view.setUint16(8, OPTION_IF_NAME);
    view.setUint16(10, text.length);
    bytes.set(text, 12);
  });
}

function frameBlock(frame: PcapFrame): Uint8Array {
  const { length } = frame.bytes;
  return block(ENHANCED_PACKET, 20 + padded(length), (view, bytes) => {
    view.setUint32(0, frame.interface);
    view.setUint32(4, Math.floor(frame.micros / 2 ** 32));
    view.setUint32(8, frame.micros >>> 0);
    view.setUint32(12, length);
    view.setUint32(16, length);
    bytes.set(frame.bytes, 20);
  });
}

/** A block: its type and length, a body of `length` octets (a multiple of four), its length again. */
function block(type: number, length: number, write: (view: DataView, bytes: Uint8Array) => void): Uint8Array {
  const bytes = new Uint8Array(length + 12);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type);
  view.setUint32(4, bytes.length);
  view.setUint32(bytes.length - 4, bytes.length);
  write(new DataView(bytes.buffer, 8, length), bytes.subarray(8));
  return bytes;
}

function padded(length: number): number {
  return (length + 3) & ~3;
}

const ETHERNET_HEADER = 14;
const VLAN_TAG = 0x8100;

/** The type of an Ethernet frame's content (0x0800 IPv4, 0x86dd IPv6) and where it starts. Undefined if it is too short. */
export function parseFrame(
  bytes: Uint8Array,
): { readonly etherType: number; readonly offset: number } | undefined {
  let offset = ETHERNET_HEADER;
  while (bytes.length >= offset) {
    const etherType = (bytes[offset - 2] << 8) | bytes[offset - 1];
    if (etherType !== VLAN_TAG) return { etherType, offset };
    offset += 4;
  }
  return undefined;
}
