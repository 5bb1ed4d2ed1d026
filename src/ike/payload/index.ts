import { Reader, WireError } from '../../wire/reader.ts';
import { Writer } from '../../wire/writer.ts';
import { decodeAuth, encodeAuth } from './authentication.ts';
import { decodeCert, decodeCertReq, encodeCert } from './certificate.ts';
import { decodeConfig, encodeConfig } from './configuration.ts';
import { decodeDelete, encodeDelete } from './delete.ts';
import { decodeGenericHeader, type GenericHeader, MAX_PAYLOADS } from './generic-header.ts';
import { decodeId, encodeId } from './identification.ts';
import { decodeKe, encodeKe } from './key-exchange.ts';
import { decodeNonce, encodeNonce } from './nonce.ts';
import { decodeNotify, encodeNotify } from './notify.ts';
import { type Payload, PayloadType } from './payload.ts';
import { decodePuzzleSolution, encodePuzzleSolution } from './puzzle-solution.ts';
import { decodeSa, encodeSa } from './sa.ts';
import { decodeTs, encodeTs } from './traffic-selectors.ts';
import { decodeVendorId, encodeVendorId } from './vendor-id.ts';

export { idPayload } from './identification.ts';
export { isErrorNotify, notify } from './notify.ts';
export * from './payload.ts';

/**
 * A payload chain (RFC 7296 3.2). `first` is the Next Payload value that leads to it (0 if there is none).
 * @throws RangeError if a payload is longer than its length field can say
 */
export function encodePayloads(payloads: readonly Payload[]): {
  readonly first: number;
  readonly bytes: Uint8Array;
} {
  const out = new Writer(512);
  payloads.forEach((payload, index) => {
    const start = out.length;
    const critical = payload.kind === 'UNKNOWN' && payload.critical;
    out
      .u8(typeAt(payloads, index + 1))
      .u8(critical ? 0x80 : 0)
      .u16(0);
    encodeBody(payload, out);
    const length = out.length - start;
    if (length > 0xffff) throw new RangeError(`a ${payload.kind} payload of ${length} octets`);
    out.patchU16(start + 2, length);
  });
  return { first: typeAt(payloads, 0), bytes: out.finish() };
}

/**
 * Decodes a whole payload chain. What it returns are views of `bytes`. Unknown payload types are kept with their
 * critical bit, which is not looked at for known types (RFC 7296 2.5).
 * @throws WireError if it is malformed, has an SK or SKF payload in it, or more than 100 payloads
 */
export function decodePayloads(first: number, bytes: Uint8Array): Payload[] {
  const reader = new Reader(bytes, 'payloads');
  const payloads: Payload[] = [];
  for (let type = first; type !== PayloadType.NONE; ) {
    if (payloads.length === MAX_PAYLOADS) throw new WireError(`more than ${MAX_PAYLOADS} payloads`);
    const header = decodeGenericHeader(type, reader);
    const payload = decodeBody(type, header);
    header.body.expectEnd();
    payloads.push(payload);
    type = header.next;
  }
  reader.expectEnd();
  return payloads;
}

function typeAt(payloads: readonly Payload[], index: number): number {
  const payload = payloads[index];
  if (payload === undefined) return PayloadType.NONE;
  return payload.kind === 'UNKNOWN' ? payload.type : PayloadType[payload.kind];
}

function encodeBody(payload: Payload, out: Writer): void {
  switch (payload.kind) {
    case 'SA':
      encodeSa(payload, out);
      break;
    case 'KE':
      encodeKe(payload, out);
      break;
    case 'IDi':
    case 'IDr':
      encodeId(payload, out);
      break;
    case 'CERT':
    case 'CERTREQ':
      encodeCert(payload, out);
      break;
    case 'AUTH':
      encodeAuth(payload, out);
      break;
    case 'NONCE':
      encodeNonce(payload, out);
      break;
    case 'NOTIFY':
      encodeNotify(payload, out);
      break;
    case 'DELETE':
      encodeDelete(payload, out);
      break;
    case 'VENDOR_ID':
      encodeVendorId(payload, out);
      break;
    case 'TSi':
    case 'TSr':
      encodeTs(payload, out);
      break;
    case 'CP':
      encodeConfig(payload, out);
      break;
    case 'PS':
      encodePuzzleSolution(payload, out);
      break;
    case 'UNKNOWN':
      out.bytes(payload.data);
  }
}

function decodeBody(type: number, { body, critical }: GenericHeader): Payload {
  switch (type) {
    case PayloadType.SA:
      return decodeSa(body);
    case PayloadType.KE:
      return decodeKe(body);
    case PayloadType.IDi:
      return decodeId('IDi', body);
    case PayloadType.IDr:
      return decodeId('IDr', body);
    case PayloadType.CERT:
      return decodeCert(body);
    case PayloadType.CERTREQ:
      return decodeCertReq(body);
    case PayloadType.AUTH:
      return decodeAuth(body);
    case PayloadType.NONCE:
      return decodeNonce(body);
    case PayloadType.NOTIFY:
      return decodeNotify(body);
    case PayloadType.DELETE:
      return decodeDelete(body);
    case PayloadType.VENDOR_ID:
      return decodeVendorId(body);
    case PayloadType.TSi:
      return decodeTs('TSi', body);
    case PayloadType.TSr:
      return decodeTs('TSr', body);
    case PayloadType.CP:
      return decodeConfig(body);
    case PayloadType.PS:
      return decodePuzzleSolution(body);
    case PayloadType.SK:
    case PayloadType.SKF:
      throw new WireError('an encrypted payload where none may be');
    case PayloadType.EAP:
      // Defined by RFC 7296, so its critical bit means nothing even though we do not interpret it.
      return { kind: 'UNKNOWN', type, critical: false, data: body.rest() };
    default:
      return { kind: 'UNKNOWN', type, critical, data: body.rest() };
  }
}
