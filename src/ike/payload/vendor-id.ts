import type { Reader } from '../../wire/reader.ts';
import type { Writer } from '../../wire/writer.ts';
import type { VendorIdPayload } from './payload.ts';

// RFC 7296 3.12: Vendor ID payload = VID.

export function encodeVendorId(payload: VendorIdPayload, out: Writer): void {
  out.bytes(payload.data);
}

export function decodeVendorId(body: Reader): VendorIdPayload {
  return { kind: 'VENDOR_ID', data: body.rest() };
}
