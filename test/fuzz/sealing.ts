import type { Protector } from '../../src/crypto/provider.ts';
import { encodeHeader, HEADER_LENGTH, type HeaderFields } from '../../src/ike/header.ts';
import { PayloadType } from '../../src/ike/payload/index.ts';
import { Writer } from '../../src/wire/writer.ts';

/** What is in an SK or SKF payload, octet for octet: the plaintext ahead of the padding, and what is said of it. */
export interface Plaintext {
  /** Next Payload of the SK payload. */
  readonly first: number;
  readonly bytes: Uint8Array;
  /** Pad Length, whether true or not; undefined: as it should be. */
  readonly padLength?: number;
  /** RFC 7383 2.5: makes it an SKF payload. */
  readonly fragment?: { readonly number: number; readonly total: number };
}

/** HDR, SK {anything} or HDR, SKF {anything}, sealed as only an owner of the keys can. */
export function sealPlaintext(
  fields: HeaderFields,
  { first, bytes, padLength, fragment }: Plaintext,
  protector: Protector,
  iv: Uint8Array,
): Uint8Array {
  const { ivLength, icvLength, blockLength } = protector;
  const own = blockLength - 1 - (bytes.length % blockLength);
  const textLength = bytes.length + own + 1;
  const headLength = fragment === undefined ? 4 : 8;
  const length = headLength + ivLength + textLength + icvLength;
  const out = new Writer(HEADER_LENGTH + length);
  const type = fragment === undefined ? PayloadType.SK : PayloadType.SKF;
  encodeHeader(fields, type, HEADER_LENGTH + length, out);
  out.u8(first).u8(0).u16(length);
  if (fragment !== undefined) out.u16(fragment.number).u16(fragment.total);
  out
    .bytes(iv.subarray(0, ivLength))
    .bytes(bytes)
    .zeros(own)
    .u8(padLength ?? own)
    .zeros(icvLength);
  const message = out.finish();
  const text = HEADER_LENGTH + headLength + ivLength;
  protector.seal(
    message.subarray(0, text - ivLength),
    message.subarray(text - ivLength, text),
    message.subarray(text, text + textLength),
    message.subarray(text + textLength),
  );
  return message;
}
