import type { Reader } from '../../wire/reader.ts';
import type { Writer } from '../../wire/writer.ts';
import type { CertPayload, CertReqPayload } from './payload.ts';

// RFC 7296 3.6: CERT payload = Cert Encoding, Certificate Data.
// RFC 7296 3.7: CERTREQ payload = Cert Encoding, Certification Authority.

export function encodeCert(payload: CertPayload | CertReqPayload, out: Writer): void {
  out.u8(payload.encoding).bytes(payload.data);
}

export function decodeCert(body: Reader): CertPayload {
  return { kind: 'CERT', encoding: body.u8(), data: body.rest() };
}

export function decodeCertReq(body: Reader): CertReqPayload {
  return { kind: 'CERTREQ', encoding: body.u8(), data: body.rest() };
}
