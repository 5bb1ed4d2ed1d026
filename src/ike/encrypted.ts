import type { Protector } from '../crypto/provider.ts';
import { Reader, WireError } from '../wire/reader.ts';
import { Writer } from '../wire/writer.ts';
import { encodeHeader, HEADER_LENGTH, type HeaderFields, type IkeHeader } from './header.ts';
import { decodeGenericHeader, MAX_PAYLOADS } from './payload/generic-header.ts';
import { PayloadType } from './payload/index.ts';

// RFC 7296 3.14: SK = generic header, IV, {payloads, padding, pad length}, ICV.
// RFC 7383 2.5: SKF = generic header, Fragment Number, Total Fragments, and then the same with a part of the payloads.

/** Octets of a generic payload header (RFC 7296 3.2). */
export const GENERIC_HEADER = 4;
const FRAGMENT_NUMBERS = 4;
/** Where Next Payload and Length are in an IKE header. */
const NEXT_PAYLOAD_AT = 16;
const LENGTH_AT = 24;

/** What is encrypted: a payload chain, or a part of one. `first` is the type of its first payload, 0 in later parts. */
export interface Content {
  readonly first: number;
  readonly bytes: Uint8Array;
}

/** Fragment Number, from 1, and Total Fragments (RFC 7383 2.5). */
export interface FragmentNumbers {
  readonly number: number;
  readonly total: number;
}

/** Where the payload that is encrypted is in a received message. */
export interface EncryptedPayload {
  readonly offset: number;
  /** Where the octet is that gives its type. */
  readonly typeAt: number;
  /** The type of the first payload in it. */
  readonly next: number;
  /** Of an SKF payload. */
  readonly numbers?: FragmentNumbers;
}

/**
 * HDR, SK {content}, or HDR, SKF {content} with `numbers`; a puzzle solution goes ahead of it (RFC 8019 7.2.2).
 * @param iv - `protector.ivLength` octets, never used before with its key
 * @throws RangeError for a payload that is longer than its length field can say
 */
export function sealContent(
  fields: HeaderFields,
  { first, bytes }: Content,
  protector: Protector,
  iv: Uint8Array,
  numbers?: FragmentNumbers,
  puzzleSolution?: Uint8Array,
): Uint8Array {
  const { ivLength, icvLength, blockLength } = protector;
  if (iv.length !== ivLength) throw new RangeError(`an IV of ${iv.length} octets, not ${ivLength}`);
  const padLength = blockLength - 1 - (bytes.length % blockLength);
  const ahead = GENERIC_HEADER + (numbers === undefined ? 0 : FRAGMENT_NUMBERS);
  const length = ahead + ivLength + bytes.length + padLength + 1 + icvLength;
  if (length > 0xffff) throw new RangeError(`an SK payload of ${length} octets`);
  const start = HEADER_LENGTH + aheadLength(puzzleSolution);
  const out = new Writer(start + length);
  const type = numbers === undefined ? PayloadType.SK : PayloadType.SKF;
  encodeHeader(fields, puzzleSolution === undefined ? type : PayloadType.PS, start + length, out);
  if (puzzleSolution !== undefined)
    out
      .u8(type)
      .u8(0)
      .u16(start - HEADER_LENGTH)
      .bytes(puzzleSolution);
  out.u8(first).u8(0).u16(length);
  if (numbers !== undefined) out.u16(numbers.number).u16(numbers.total);
  out.bytes(iv).bytes(bytes).zeros(padLength).u8(padLength).zeros(icvLength);
  const message = out.finish();
  const { aad, text, icv } = layout(message, start + ahead, protector);
  protector.seal(aad, iv, text, icv);
  return message;
}

/** The octets of a puzzle solution with its header; 0 if there is none. */
export function aheadLength(puzzleSolution: Uint8Array | undefined): number {
  return puzzleSolution === undefined ? 0 : GENERIC_HEADER + puzzleSolution.length;
}

/** The most octets of content of an SKF payload in a message of `length` octets; may be negative. */
export function fragmentRoom(length: number, { ivLength, icvLength, blockLength }: Protector): number {
  const text = length - HEADER_LENGTH - GENERIC_HEADER - FRAGMENT_NUMBERS - ivLength - icvLength;
  return text - (text % blockLength) - 1;
}

/** The octets of a message with an SK payload of so much content. */
export function sealedLength(content: number, { ivLength, icvLength, blockLength }: Protector): number {
  const text = content + blockLength - (content % blockLength);
  return HEADER_LENGTH + GENERIC_HEADER + ivLength + text + icvLength;
}

/** Finds the SK or SKF payload, which must be the last one; payloads ahead of it are passed over. Or why there is none. */
export function findEncrypted(header: IkeHeader, message: Uint8Array): EncryptedPayload | string {
  const reader = new Reader(message, 'payloads');
  reader.bytes(HEADER_LENGTH);
  try {
    let type = header.nextPayload;
    let typeAt = NEXT_PAYLOAD_AT;
    for (let count = 0; count < MAX_PAYLOADS && type !== PayloadType.NONE; count++) {
      const { offset } = reader;
      const { next, body } = decodeGenericHeader(type, reader);
      if (type === PayloadType.SK || type === PayloadType.SKF) {
        reader.expectEnd();
        const place = { offset, typeAt, next };
        if (type === PayloadType.SK) return place;
        return { ...place, numbers: { number: body.u16(), total: body.u16() } };
      }
      type = next;
      typeAt = offset;
    }
    return 'no SK payload';
  } catch (error) {
    if (error instanceof WireError) return error.message;
    throw error;
  }
}

/** The body of a payload of `wanted` type ahead of the one that is encrypted; undefined if there is none. */
export function payloadAhead(message: Uint8Array, wanted: number): Uint8Array | undefined {
  const reader = new Reader(message, 'payloads');
  try {
    let type = reader.bytes(HEADER_LENGTH)[NEXT_PAYLOAD_AT];
    while (type !== PayloadType.NONE && type !== PayloadType.SK && type !== PayloadType.SKF) {
      const { next, body } = decodeGenericHeader(type, reader);
      if (type === wanted) return body.rest();
      type = next;
    }
    return undefined;
  } catch (error) {
    if (error instanceof WireError) return undefined;
    throw error;
  }
}

/** Verifies and decrypts in place. The content, as a view of the message, or why there is none. */
export function openContent(
  message: Uint8Array,
  { offset, numbers }: EncryptedPayload,
  protector: Protector,
): Uint8Array | string {
  const ahead = GENERIC_HEADER + (numbers === undefined ? 0 : FRAGMENT_NUMBERS);
  const { aad, iv, text, icv } = layout(message, offset + ahead, protector);
  if (text.length < 1 || text.length % protector.blockLength !== 0) return 'SK payload too short';
  if (!protector.open(aad, iv, text, icv)) return 'wrong ICV';
  const end = text.length - 1 - text[text.length - 1];
  return end < 0 ? 'pad length beyond the SK payload' : text.subarray(0, end);
}

/** HDR, SK {content} as if it were not encrypted, as `clearForm` makes it of a message that was received. */
export function clearMessage(fields: HeaderFields, { first, bytes }: Content): Uint8Array {
  const length = GENERIC_HEADER + bytes.length;
  const out = new Writer(HEADER_LENGTH + length);
  encodeHeader(fields, PayloadType.SK, HEADER_LENGTH + length, out);
  return out.u8(first).u8(0).u16(length).bytes(bytes).finish();
}

/**
 * A message as if it had been neither encrypted nor fragmented: from the IKE header to SK's generic header, with lengths to
 * match, and the content. What RFC 9242 3.3.2 authenticates.
 * @param message - received; of several fragments the first one
 */
export function clearForm(
  message: Uint8Array,
  { offset, typeAt }: EncryptedPayload,
  content: readonly Uint8Array[],
): Uint8Array {
  const end = offset + GENERIC_HEADER;
  const length = content.reduce((sum, part) => sum + part.length, end);
  const out = new Writer(length).bytes(message.subarray(0, end));
  for (const part of content) out.bytes(part);
  const clear = out.finish();
  clear[typeAt] = PayloadType.SK;
  const view = new DataView(clear.buffer);
  view.setUint32(LENGTH_AT, length);
  view.setUint16(offset + 2, length - offset);
  return clear;
}

/** The parts of a message whose IV starts at `ivStart`. RFC 5282 5.1, RFC 7383 2.5: `aad` is all that is ahead of it. */
function layout(message: Uint8Array, ivStart: number, { ivLength, icvLength }: Protector) {
  const textStart = ivStart + ivLength;
  const textEnd = Math.max(textStart, message.length - icvLength);
  return {
    aad: message.subarray(0, ivStart),
    iv: message.subarray(ivStart, textStart),
    text: message.subarray(textStart, textEnd),
    icv: message.subarray(textEnd),
  };
}
