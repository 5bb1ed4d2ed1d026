import type { Reader } from '../../wire/reader.ts';
import type { Writer } from '../../wire/writer.ts';
import type { AuthPayload } from './payload.ts';

// RFC 7296 3.8: AUTH payload = Auth Method, RESERVED, Authentication Data.

export function encodeAuth(payload: AuthPayload, out: Writer): void {
  out.u8(payload.method).zeros(3).bytes(payload.data);
}

export function decodeAuth(body: Reader): AuthPayload {
  const method = body.u8();
  body.bytes(3);
  return { kind: 'AUTH', method, data: body.rest() };
}
