/** Netlink messages (RFC 3549 2.3, netlink(7)): host byte order, attributes aligned to 4 octets. */

export const LITTLE_ENDIAN = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

export const NetlinkType = { ERROR: 2, DONE: 3 } as const;
export const NetlinkFlag = {
  REQUEST: 1,
  MULTI: 2,
  ACK: 4,
  DUMP: 0x300,
  CAPPED: 0x100,
  ACK_TLVS: 0x200,
} as const;

export const NETLINK_HEADER = 16;
const ATTRIBUTE_HEADER = 4;
/** NLMSGERR_ATTR_MSG: what the kernel says of an error, in words. */
const ERROR_TEXT = 1;

/** A message of a datagram; `body` starts after its header. */
export interface NetlinkMessage {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  readonly body: Uint8Array;
}

/** What the kernel answers to a request: errno, 0 if it was carried out, and its own words if it has any. */
export interface NetlinkAnswer {
  readonly errno: number;
  readonly text?: string;
}

/** Writes one message. The longest of ours, with an SA's keys, stays below 1024 octets. */
export class MessageWriter {
  readonly #bytes = new Uint8Array(1024);
  readonly #view = new DataView(this.#bytes.buffer);
  #length = NETLINK_HEADER;

  constructor(type: number, flags: number, sequence: number) {
    this.#view.setUint16(4, type, LITTLE_ENDIAN);
    this.#view.setUint16(6, flags, LITTLE_ENDIAN);
    this.#view.setUint32(8, sequence, LITTLE_ENDIAN);
  }

  /** Appends a structure of `length` octets, which `write` fills; it is zero before. */
  structure(length: number, write: (view: DataView) => void): this {
    write(new DataView(this.#bytes.buffer, this.#length, length));
    this.#length += length;
    return this;
  }

  /** Appends an attribute of `length` octets. */
  attribute(type: number, length: number, write: (view: DataView) => void): this {
    this.#view.setUint16(this.#length, ATTRIBUTE_HEADER + length, LITTLE_ENDIAN);
    this.#view.setUint16(this.#length + 2, type, LITTLE_ENDIAN);
    this.#length += ATTRIBUTE_HEADER;
    this.structure(length, write);
    this.#length = align(this.#length);
    return this;
  }

  /** The message, a view of the writer's memory. */
  finish(): Uint8Array {
    this.#view.setUint32(0, this.#length, LITTLE_ENDIAN);
    return this.#bytes.subarray(0, this.#length);
  }
}

/** The messages of a datagram, up to the first that is cut off. */
export function parseMessages(datagram: Uint8Array): NetlinkMessage[] {
  const view = viewOf(datagram);
  const messages: NetlinkMessage[] = [];
  for (let at = 0; at + NETLINK_HEADER <= datagram.length; ) {
    const length = view.getUint32(at, LITTLE_ENDIAN);
    if (length < NETLINK_HEADER || at + length > datagram.length) break;
    messages.push({
      type: view.getUint16(at + 4, LITTLE_ENDIAN),
      flags: view.getUint16(at + 6, LITTLE_ENDIAN),
      sequence: view.getUint32(at + 8, LITTLE_ENDIAN),
      body: datagram.subarray(at + NETLINK_HEADER, at + length),
    });
    at += align(length);
  }
  return messages;
}

/** The attributes from `offset` on, up to the first that is cut off. */
export function parseAttributes(body: Uint8Array, offset: number): ReadonlyMap<number, Uint8Array> {
  const view = viewOf(body);
  const attributes = new Map<number, Uint8Array>();
  for (let at = offset; at + ATTRIBUTE_HEADER <= body.length; ) {
    const length = view.getUint16(at, LITTLE_ENDIAN);
    if (length < ATTRIBUTE_HEADER || at + length > body.length) break;
    attributes.set(
      view.getUint16(at + 2, LITTLE_ENDIAN) & 0x3fff,
      body.subarray(at + ATTRIBUTE_HEADER, at + length),
    );
    at += align(length);
  }
  return attributes;
}

/** What an ERROR or DONE message says; undefined for one that is cut off. */
export function parseAnswer({ flags, body }: NetlinkMessage): NetlinkAnswer | undefined {
  if (body.length < 4) return undefined;
  const view = viewOf(body);
  const errno = -view.getInt32(0, LITTLE_ENDIAN);
  if ((flags & NetlinkFlag.ACK_TLVS) === 0 || body.length < 4 + NETLINK_HEADER) return { errno };
  // The request follows, or only its header.
  const request = flags & NetlinkFlag.CAPPED ? NETLINK_HEADER : align(view.getUint32(4, LITTLE_ENDIAN));
  const text = parseAttributes(body, 4 + request).get(ERROR_TEXT);
  return text === undefined ? { errno } : { errno, text: cString(text) };
}

/** The text before the first zero octet. */
export function cString(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return new TextDecoder('latin1').decode(end < 0 ? bytes : bytes.subarray(0, end));
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

function align(length: number): number {
  return (length + 3) & ~3;
}
