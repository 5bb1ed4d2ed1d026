import { type Reader, WireError } from '../../wire/reader.ts';
import type { Writer } from '../../wire/writer.ts';
import type { NoncePayload } from './payload.ts';

// RFC 7296 3.9: Nonce payload = Nonce Data, 16 to 256 octets.

export function encodeNonce(payload: NoncePayload, out: Writer): void {
  out.bytes(payload.data);
}

export function decodeNonce(body: Reader): NoncePayload {
  const data = body.rest();
  if (data.length < 16 || data.length > 256) throw new WireError(`a nonce of ${data.length} octets`);
  return { kind: 'NONCE', data };
}
