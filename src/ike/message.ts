import type { Protector } from '../crypto/provider.ts';
import { Reader, WireError } from '../wire/reader.ts';
import { Writer } from '../wire/writer.ts';
import { ExchangeType, NotifyType } from './constants.ts';
import { ProtocolError } from './errors.ts';
import {
  decodeHeader,
  encodeHeader,
  HEADER_LENGTH,
  type HeaderFields,
  type IkeHeader,
  MAJOR_VERSION,
} from './header.ts';
import { decodeGenericHeader, MAX_PAYLOADS } from './payload/generic-header.ts';
import { decodePayloads, encodePayloads, type Payload, PayloadType } from './payload/index.ts';

/** What a received message came to; decided here and nowhere else. */
export type Decoded =
  | { readonly kind: 'ok'; readonly header: IkeHeader; readonly payloads: readonly Payload[] }
  /** Authenticated but malformed: a request may be answered with `error`, and the IKE SA ends (RFC 7296 2.21.3). */
  | { readonly kind: 'protected-error'; readonly header: IkeHeader; readonly error: ProtocolError }
  /** A request that nothing protects, which the RFC wants answered nevertheless (RFC 7296 2.5); never kept. */
  | { readonly kind: 'unprotected-error'; readonly header: IkeHeader; readonly error: ProtocolError }
  /** Never answered, changes nothing. `reason` is for the log at debug level. */
  | { readonly kind: 'discard'; readonly reason: string };

/**
 * The header of a datagram's message; undefined if it is not plausible: shorter than a header, a length other than the
 * datagram's, or an initiator's SPI of zero (RFC 7296 3.1) other than in a notification outside of any IKE SA (1.5). The
 * version may be any.
 */
export function peekHeader(bytes: Uint8Array): IkeHeader | undefined {
  if (bytes.length < HEADER_LENGTH) return undefined;
  const header = decodeHeader(new Reader(bytes, 'IKE header'));
  if (header.length !== bytes.length) return undefined;
  const isNameless = header.spiI.every((octet) => octet === 0);
  return isNameless && header.exchangeType !== ExchangeType.INFORMATIONAL ? undefined : header;
}

/** An unprotected message: IKE_SA_INIT, or a notify where there is no IKE SA. */
export function encodePlain(fields: HeaderFields, payloads: readonly Payload[]): Uint8Array {
  const { first, bytes } = encodePayloads(payloads);
  const length = HEADER_LENGTH + bytes.length;
  const out = new Writer(length);
  encodeHeader(fields, first, length, out);
  return out.bytes(bytes).finish();
}

/** Decodes an unprotected message. Never throws; the input may be reused afterwards. */
export function decodePlain(received: Uint8Array): Decoded {
  const header = peekHeader(received);
  if (header === undefined) return discard('not an IKE message');
  if (header.majorVersion !== MAJOR_VERSION) {
    if (header.majorVersion < MAJOR_VERSION || header.flags.response) return discard('not IKEv2');
    // RFC 7296 2.5
    const message = `major version ${header.majorVersion}`;
    const error = new ProtocolError(NotifyType.INVALID_MAJOR_VERSION, message);
    return { kind: 'unprotected-error', header, error };
  }
  return decodeChain(header, header.nextPayload, received.slice(HEADER_LENGTH), 'unprotected-error');
}

/**
 * HDR, SK {payloads} (RFC 7296 3.14).
 * @param iv - `protector.ivLength` octets, never used before with its key
 */
export function encodeProtected(
  fields: HeaderFields,
  payloads: readonly Payload[],
  protector: Protector,
  iv: Uint8Array,
): Uint8Array {
  const { ivLength, icvLength, blockLength } = protector;
  const { first, bytes } = encodePayloads(payloads);
  const padLength = blockLength - 1 - (bytes.length % blockLength);
  const textLength = bytes.length + padLength + 1;
  const skLength = 4 + ivLength + textLength + icvLength;
  if (iv.length !== ivLength) throw new RangeError(`an IV of ${iv.length} octets, not ${ivLength}`);
  if (skLength > 0xffff) throw new RangeError(`an SK payload of ${skLength} octets`);
  const out = new Writer(HEADER_LENGTH + skLength);
  encodeHeader(fields, PayloadType.SK, HEADER_LENGTH + skLength, out);
  out.u8(first).u8(0).u16(skLength);
  out.bytes(iv).bytes(bytes).zeros(padLength).u8(padLength).zeros(icvLength);
  const message = out.finish();
  const { aad, text, icv } = layout(message, HEADER_LENGTH, protector);
  protector.seal(aad, iv, text, icv);
  return message;
}

/**
 * Verifies and decrypts HDR, SK {payloads}, on a copy. Payloads ahead of SK are not protected and ignored. Never throws.
 */
export function decodeProtected(received: Uint8Array, protector: Protector): Decoded {
  const header = peekHeader(received);
  if (header === undefined) return discard('not an IKE message');
  if (header.majorVersion !== MAJOR_VERSION) return discard('not IKEv2');
  const message = received.slice();
  const sk = findEncryptedPayload(header, message);
  if (typeof sk === 'string') return discard(sk);
  const { aad, iv, text, icv } = layout(message, sk.offset, protector);
  if (text.length < 1 || text.length % protector.blockLength !== 0) return discard('SK payload too short');
  if (!protector.open(aad, iv, text, icv)) return discard('wrong ICV');
  const end = text.length - 1 - text[text.length - 1];
  if (end < 0) return discard('pad length beyond the SK payload');
  return decodeChain(header, sk.next, text.subarray(0, end), 'protected-error');
}

/** The parts of a message whose SK payload starts at `offset` and is the last one. RFC 5282 5.1: what `aad` covers. */
function layout(message: Uint8Array, offset: number, { ivLength, icvLength }: Protector) {
  const ivStart = offset + 4;
  const textStart = ivStart + ivLength;
  const textEnd = Math.max(textStart, message.length - icvLength);
  return {
    aad: message.subarray(0, ivStart),
    iv: message.subarray(ivStart, textStart),
    text: message.subarray(textStart, textEnd),
    icv: message.subarray(textEnd),
  };
}

/** Where the SK payload starts, and the type of the first payload in it; or why there is none. */
function findEncryptedPayload(
  header: IkeHeader,
  message: Uint8Array,
): { readonly offset: number; readonly next: number } | string {
  const reader = new Reader(message, 'payloads');
  reader.bytes(HEADER_LENGTH);
  try {
    let type = header.nextPayload;
    for (let count = 0; count < MAX_PAYLOADS && type !== PayloadType.NONE; count++) {
      if (type === PayloadType.SKF) return 'fragmentation was not negotiated';
      const offset = reader.offset;
      const { next } = decodeGenericHeader(type, reader);
      if (type === PayloadType.SK) {
        reader.expectEnd();
        return { offset, next };
      }
      type = next;
    }
    return 'no SK payload';
  } catch (error) {
    return wireErrorText(error);
  }
}

function decodeChain(
  header: IkeHeader,
  first: number,
  bytes: Uint8Array,
  errorKind: 'protected-error' | 'unprotected-error',
): Decoded {
  let payloads: Payload[];
  try {
    payloads = decodePayloads(first, bytes);
  } catch (error) {
    const reason = wireErrorText(error);
    if (errorKind === 'unprotected-error') return discard(reason);
    return { kind: errorKind, header, error: new ProtocolError(NotifyType.INVALID_SYNTAX, reason) };
  }
  for (const payload of payloads) {
    if (payload.kind !== 'UNKNOWN' || !payload.critical) continue;
    const reason = `unknown critical payload of type ${payload.type}`;
    if (header.flags.response) return discard(reason);
    const data = Uint8Array.of(payload.type);
    const error = new ProtocolError(NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD, reason, data);
    return { kind: errorKind, header, error };
  }
  return { kind: 'ok', header, payloads };
}

function discard(reason: string): Decoded {
  return { kind: 'discard', reason };
}

/** The text of a WireError; anything else is a fault of ours and goes on. */
function wireErrorText(error: unknown): string {
  if (error instanceof WireError) return error.message;
  throw error;
}
