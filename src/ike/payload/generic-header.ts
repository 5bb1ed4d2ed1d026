import { type Reader, WireError } from '../../wire/reader.ts';

/** More payloads than this in one message are refused: no exchange needs a fifth of them. */
export const MAX_PAYLOADS = 100;

// RFC 7296 3.2: generic payload header = Next Payload, C, RESERVED, Payload Length.

export interface GenericHeader {
  /** Type of the payload after this one; of an SK payload: type of the first payload inside it. */
  readonly next: number;
  readonly critical: boolean;
  readonly body: Reader;
}

/** Reads a generic payload header and steps over its body. @throws WireError if the length does not fit */
export function decodeGenericHeader(type: number, reader: Reader): GenericHeader {
  const next = reader.u8();
  const critical = (reader.u8() & 0x80) !== 0;
  const length = reader.u16();
  if (length < 4) throw new WireError(`payload of type ${type}: length ${length}`);
  return { next, critical, body: reader.sub(length - 4, `payload of type ${type}`) };
}
