import { concat } from '../../wire/bytes.ts';
import { Reader } from '../../wire/reader.ts';
import type { Writer } from '../../wire/writer.ts';
import type { Identity } from '../config.ts';
import type { IdPayload } from './payload.ts';

// RFC 7296 3.5: IDi, IDr payload = ID Type, RESERVED, Identification Data.

/** The payload that states `identity`. */
export function idPayload<Kind extends IdPayload['kind']>(kind: Kind, identity: Identity): IdPayload<Kind> {
  const { type, data } = identity;
  return { kind, type, data, body: concat(Uint8Array.of(type, 0, 0, 0), data) };
}

export function encodeId(payload: IdPayload, out: Writer): void {
  out.bytes(payload.body);
}

export function decodeId<Kind extends IdPayload['kind']>(kind: Kind, reader: Reader): IdPayload<Kind> {
  const body = reader.rest();
  const fields = new Reader(body, `${kind} payload`);
  const type = fields.u8();
  fields.bytes(3);
  return { kind, type, data: fields.rest(), body };
}
