import type { Reader } from '../../wire/reader.ts';
import type { Writer } from '../../wire/writer.ts';
import type { KePayload } from './payload.ts';

// RFC 7296 3.4: KE payload = Key Exchange Method, RESERVED, Key Exchange Data.

export function encodeKe(payload: KePayload, out: Writer): void {
  out.u16(payload.method).u16(0).bytes(payload.data);
}

export function decodeKe(body: Reader): KePayload {
  const method = body.u16();
  body.u16();
  return { kind: 'KE', method, data: body.rest() };
}
