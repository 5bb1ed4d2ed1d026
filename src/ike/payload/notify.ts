import type { Reader } from '../../wire/reader.ts';
import type { Writer } from '../../wire/writer.ts';
import { type NotifyPayload, ProtocolId } from './payload.ts';

// RFC 7296 3.10: Notify payload = Protocol ID, SPI Size, Notify Message Type, SPI, Notification Data.

const EMPTY = new Uint8Array(0);

/** A notify. Protocol and SPI go with INVALID_SELECTORS, REKEY_SA and CHILD_SA_NOT_FOUND only (RFC 7296 3.10). */
export function notify(
  type: number,
  data: Uint8Array = EMPTY,
  protocol: number = ProtocolId.NONE,
  spi: Uint8Array = EMPTY,
): NotifyPayload {
  return { kind: 'NOTIFY', protocol, spi, type, data };
}

/** Whether it reports an error: message types below 16384 (RFC 7296 3.10.1). */
export function isErrorNotify(payload: NotifyPayload): boolean {
  return payload.type < 16384;
}

export function encodeNotify(payload: NotifyPayload, out: Writer): void {
  out.u8(payload.protocol).u8(payload.spi.length).u16(payload.type).bytes(payload.spi).bytes(payload.data);
}

export function decodeNotify(body: Reader): NotifyPayload {
  const protocol = body.u8();
  const spiSize = body.u8();
  const type = body.u16();
  const spi = body.bytes(spiSize);
  return { kind: 'NOTIFY', protocol, spi, type, data: body.rest() };
}
