import { concat } from '../wire/bytes.ts';
import { WireError } from '../wire/reader.ts';

/** Identifier octets of the ASN.1 types that keys, algorithms and certificates are made of (X.690 8.1.2). */
export const DerTag = {
  BOOLEAN: 0x01,
  INTEGER: 0x02,
  BIT_STRING: 0x03,
  OCTET_STRING: 0x04,
  NULL: 0x05,
  OID: 0x06,
  SEQUENCE: 0x30,
} as const;

/** One DER element; both are views. */
export interface DerElement {
  readonly tag: number;
  readonly content: Uint8Array;
  /** The whole of it, with its header. */
  readonly bytes: Uint8Array;
}

/** One element. @param parts - its content @throws RangeError if that has 64 kB or more */
export function encodeDer(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const content = concat(...parts);
  const { length } = content;
  if (length > 0xffff) throw new RangeError(`a DER element of ${length} octets`);
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 255];
  return concat(Uint8Array.of(tag, ...size), content);
}

/**
 * The elements that `bytes` is made of, one after the other; those inside of them are not looked at.
 * @throws WireError for tags of several octets, and for lengths that are not in their shortest form or go too far
 */
export function decodeDer(bytes: Uint8Array): DerElement[] {
  const elements: DerElement[] = [];
  for (let at = 0; at < bytes.length; ) {
    const element = elementAt(bytes, at);
    elements.push(element);
    at += element.bytes.length;
  }
  return elements;
}

/** The content of `element`. @throws WireError if there is none, or one of another tag */
export function derContent(element: DerElement | undefined, tag: number): Uint8Array {
  if (element?.tag !== tag) throw new WireError(`DER: tag ${element?.tag}, not ${tag}`);
  return element.content;
}

/** The elements in the one element that `bytes` is. @throws WireError if it is anything else */
export function decodeDerSequence(bytes: Uint8Array): DerElement[] {
  const elements = decodeDer(bytes);
  if (elements.length !== 1) throw new WireError(`DER: ${elements.length} elements, not one`);
  return decodeDer(derContent(elements[0], DerTag.SEQUENCE));
}

/**
 * A positive INTEGER, big-endian without leading zeros (X.690 8.3.2).
 * @throws WireError if it is zero, negative or not in its shortest form
 */
export function positiveInteger(element: DerElement | undefined): Uint8Array {
  const content = derContent(element, DerTag.INTEGER);
  const [first = 0, second = 0] = content;
  if (first >= 0x80 || (first === 0 && second < 0x80)) throw new WireError('DER: not a positive integer');
  return first === 0 ? content.subarray(1) : content;
}

function elementAt(bytes: Uint8Array, at: number): DerElement {
  const tag = bytes[at];
  const first = bytes[at + 1];
  if (first === undefined || (tag & 0x1f) === 0x1f) throw new WireError('DER: not a header');
  const octets = first < 0x80 ? 0 : first - 0x80;
  const start = at + 2 + octets;
  if (octets > 2 || start > bytes.length) throw new WireError('DER: a length that cannot be');
  const length = octets === 0 ? first : octets === 1 ? bytes[at + 2] : (bytes[at + 2] << 8) | bytes[at + 3];
  const least = [0, 0x80, 0x100][octets];
  if (first === 0x80 || length < least || start + length > bytes.length) {
    throw new WireError('DER: a length that cannot be');
  }
  return { tag, content: bytes.subarray(start, start + length), bytes: bytes.subarray(at, start + length) };
}
