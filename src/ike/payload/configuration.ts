import type { ConfigAttribute } from '../../cp/attributes.ts';
import type { Reader } from '../../wire/reader.ts';
import type { Writer } from '../../wire/writer.ts';
import type { ConfigPayload } from './payload.ts';

// RFC 7296 3.15: CP payload = CFG Type, RESERVED, Configuration Attributes.

export function encodeConfig(payload: ConfigPayload, out: Writer): void {
  out.u8(payload.type).zeros(3);
  for (const { type, value } of payload.attributes) out.u16(type).u16(value.length).bytes(value);
}

export function decodeConfig(body: Reader): ConfigPayload {
  const type = body.u8();
  body.bytes(3);
  const attributes: ConfigAttribute[] = [];
  while (body.remaining > 0) {
    // RFC 7296 3.15.1: the first bit is reserved.
    const attribute = body.u16() & 0x7fff;
    attributes.push({ type: attribute, value: body.bytes(body.u16()) });
  }
  return { kind: 'CP', type, attributes };
}
