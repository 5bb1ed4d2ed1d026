import type { Protector } from '../crypto/provider.ts';
import { Reader, WireError } from '../wire/reader.ts';
import { Writer } from '../wire/writer.ts';
import { ExchangeType, NotifyType } from './constants.ts';
import {
  clearForm,
  type EncryptedPayload,
  findEncrypted,
  GENERIC_HEADER,
  openContent,
  sealContent,
} from './encrypted.ts';
import { ProtocolError } from './errors.ts';
import type { Reassembly, ReceivedFragment } from './fragmentation.ts';
import {
  decodeHeader,
  encodeHeader,
  HEADER_LENGTH,
  type HeaderFields,
  type IkeHeader,
  MAJOR_VERSION,
} from './header.ts';
import { decodePayloads, encodePayloads, type Payload } from './payload/index.ts';

/** Never answered, changes nothing. */
export interface Discarded {
  readonly kind: 'discard';
  /** For the log at debug level. */
  readonly reason: string;
}

/** What a message says. */
export interface Understood {
  readonly kind: 'ok';
  /** Its IKE header. */
  readonly header: IkeHeader;
  /** In order; those of a protected message were in its SK payload. */
  readonly payloads: readonly Payload[];
  /** The whole message; of a protected one its clear form, which RFC 9242 3.3.2 authenticates. */
  readonly bytes: Uint8Array;
}

/** How a protected message came. */
interface Arrived {
  /** The octets that its retransmission is known by: its own, or its first fragment's (RFC 7296 2.1, RFC 7383 2.6.1). */
  readonly datagram: Uint8Array;
  readonly fragmented: boolean;
}

/** What a message came to that nothing protects; decided here and nowhere else. */
export type DecodedPlain =
  | Understood
  /** A request which the RFC wants answered nevertheless (RFC 7296 2.5); never kept. */
  | { readonly kind: 'unprotected-error'; readonly header: IkeHeader; readonly error: ProtocolError }
  | Discarded;

/** What a message with an Encrypted payload came to; decided here and nowhere else. */
export type DecodedProtected =
  | (Understood & Arrived)
  /** A fragment of a message of which others are missing: authentic, or not looked at, because its number is here already. */
  | { readonly kind: 'incomplete' }
  /** Authenticated but malformed: a request may be answered with `error`, and the IKE SA ends (RFC 7296 2.21.3). */
  | ({
      readonly kind: 'protected-error';
      readonly header: IkeHeader;
      readonly error: ProtocolError;
    } & Arrived)
  | Discarded;

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
export function decodePlain(received: Uint8Array): DecodedPlain {
  const header = peekHeader(received);
  if (header === undefined) return discard('not an IKE message');
  if (header.majorVersion !== MAJOR_VERSION) {
    if (header.majorVersion < MAJOR_VERSION || header.flags.response) return discard('not IKEv2');
    // RFC 7296 2.5
    const message = `major version ${header.majorVersion}`;
    const error = new ProtocolError(NotifyType.INVALID_MAJOR_VERSION, message);
    return { kind: 'unprotected-error', header, error };
  }
  const bytes = received.slice();
  const payloads = decodeChain(header, header.nextPayload, bytes.subarray(HEADER_LENGTH));
  if (typeof payloads === 'string') return discard(payloads);
  if (!(payloads instanceof ProtocolError)) return { kind: 'ok', header, payloads, bytes };
  if (payloads.notify === NotifyType.INVALID_SYNTAX) return discard(payloads.message);
  return { kind: 'unprotected-error', header, error: payloads };
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
  return sealContent(fields, encodePayloads(payloads), protector, iv);
}

/** A fragment of a message; the first one has what the others lack. */
export interface MessageFragment extends ReceivedFragment {
  readonly opening?: {
    readonly header: IkeHeader;
    readonly datagram: Uint8Array;
    readonly sk: EncryptedPayload;
  };
}

/**
 * Verifies and decrypts HDR, SK {payloads}, or a fragment of it, on a copy. Payloads ahead of SK are not protected and
 * ignored. Never throws.
 * @param reassembly - where the fragments of this message go; absent if there are not to be any
 */
export function decodeProtected(
  received: Uint8Array,
  protector: Protector,
  reassembly?: Reassembly<MessageFragment>,
): DecodedProtected {
  const header = peekHeader(received);
  if (header === undefined) return discard('not an IKE message');
  if (header.majorVersion !== MAJOR_VERSION) return discard('not IKEv2');
  const message = received.slice();
  const sk = findEncrypted(header, message);
  if (typeof sk === 'string') return discard(sk);
  const { numbers } = sk;
  if (numbers !== undefined) {
    if (reassembly?.holds(numbers)) return { kind: 'incomplete' };
    const refusal =
      reassembly === undefined ? 'fragmentation was not negotiated' : reassembly.refusal(numbers);
    if (refusal !== undefined) return discard(refusal);
  }
  const text = openContent(message, sk, protector);
  if (typeof text === 'string') return discard(text);
  if (numbers === undefined) return decodeContent({ header, datagram: received, sk }, [text]);
  const parts = reassembly!.add({
    ...numbers,
    text: text.slice(),
    ...(numbers.number === 1 && { opening: { header, datagram: received.slice(), sk } }),
  });
  if (parts === undefined) return { kind: 'incomplete' };
  return decodeContent(
    parts[0].opening!,
    parts.map((part) => part.text),
  );
}

function decodeContent(
  { header, datagram, sk }: NonNullable<MessageFragment['opening']>,
  content: readonly Uint8Array[],
): DecodedProtected {
  const fragmented = sk.numbers !== undefined;
  const bytes = clearForm(datagram, sk, content);
  const payloads = decodeChain(header, sk.next, bytes.subarray(sk.offset + GENERIC_HEADER));
  if (typeof payloads === 'string') return discard(payloads);
  return payloads instanceof ProtocolError
    ? { kind: 'protected-error', header, error: payloads, datagram, fragmented }
    : { kind: 'ok', header, payloads, bytes, datagram, fragmented };
}

/** The payloads; an error that a request may be answered with; why a response is of no use. */
function decodeChain(
  header: IkeHeader,
  first: number,
  bytes: Uint8Array,
): readonly Payload[] | ProtocolError | string {
  let payloads: Payload[];
  try {
    payloads = decodePayloads(first, bytes);
  } catch (error) {
    // Anything else is a fault of ours and goes on.
    if (!(error instanceof WireError)) throw error;
    return new ProtocolError(NotifyType.INVALID_SYNTAX, error.message);
  }
  for (const payload of payloads) {
    if (payload.kind !== 'UNKNOWN' || !payload.critical) continue;
    const reason = `unknown critical payload of type ${payload.type}`;
    if (header.flags.response) return reason;
    const data = Uint8Array.of(payload.type);
    return new ProtocolError(NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD, reason, data);
  }
  return payloads;
}

function discard(reason: string): Discarded {
  return { kind: 'discard', reason };
}
