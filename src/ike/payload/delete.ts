import { type Reader, WireError } from '../../wire/reader.ts';
import type { Writer } from '../../wire/writer.ts';
import { type DeletePayload, ProtocolId } from './payload.ts';

// RFC 7296 3.11: Delete payload = Protocol ID, SPI Size, Num of SPIs, SPIs (none for the IKE SA itself).

export function encodeDelete(payload: DeletePayload, out: Writer): void {
  out.u8(payload.protocol).u8(spiSizeOf(payload.protocol)).u16(payload.spis.length);
  for (const spi of payload.spis) out.bytes(spi);
}

export function decodeDelete(body: Reader): DeletePayload {
  const protocol = body.u8();
  const spiSize = body.u8();
  const count = body.u16();
  const expected = spiSizeOf(protocol);
  if (spiSize !== expected) throw new WireError(`Delete: SPI size ${spiSize} for protocol ${protocol}`);
  if (spiSize === 0 && count !== 0) throw new WireError(`Delete: ${count} SPIs of the IKE SA`);
  const spis: Uint8Array[] = [];
  for (let i = 0; i < count; i++) spis.push(body.bytes(spiSize));
  return { kind: 'DELETE', protocol, spis };
}

function spiSizeOf(protocol: number): number {
  switch (protocol) {
    case ProtocolId.IKE:
      return 0;
    case ProtocolId.AH:
    case ProtocolId.ESP:
      return 4;
    default:
      throw new WireError(`Delete: protocol ${protocol}`);
  }
}
