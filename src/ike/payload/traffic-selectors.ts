import type { Family } from '../../wire/address.ts';
import { compareBytes } from '../../wire/bytes.ts';
import { type Reader, WireError } from '../../wire/reader.ts';
import type { TrafficSelector } from '../../wire/traffic-selector.ts';
import type { Writer } from '../../wire/writer.ts';
import type { TsPayload } from './payload.ts';

// RFC 7296 3.13: TSi, TSr payload = Number of TSs, RESERVED, Traffic Selectors.

const TS_IPV4_ADDR_RANGE = 7;
const TS_IPV6_ADDR_RANGE = 8;

export function encodeTs(payload: TsPayload, out: Writer): void {
  out.u8(payload.selectors.length).zeros(3);
  for (const ts of payload.selectors) {
    out.u8(ts.family === 4 ? TS_IPV4_ADDR_RANGE : TS_IPV6_ADDR_RANGE).u8(ts.protocol);
    out
      .u16(8 + ts.startAddress.length + ts.endAddress.length)
      .u16(ts.startPort)
      .u16(ts.endPort);
    out.bytes(ts.startAddress).bytes(ts.endAddress);
  }
}

/** The addresses are copies. Selectors of types other than the two address ranges are left out: nothing can be narrowed to them. */
export function decodeTs<Kind extends TsPayload['kind']>(kind: Kind, body: Reader): TsPayload<Kind> {
  const count = body.u8();
  body.bytes(3);
  if (count === 0) throw new WireError(`${kind} payload without a traffic selector`);
  const selectors: TrafficSelector[] = [];
  for (let i = 0; i < count; i++) {
    const type = body.u8();
    const protocol = body.u8();
    const length = body.u16();
    if (length < 4) throw new WireError(`traffic selector of length ${length}`);
    const rest = body.sub(length - 4, 'traffic selector');
    if (type === TS_IPV4_ADDR_RANGE) selectors.push(decodeRange(4, protocol, rest));
    else if (type === TS_IPV6_ADDR_RANGE) selectors.push(decodeRange(6, protocol, rest));
  }
  return { kind, selectors };
}

function decodeRange(family: Family, protocol: number, rest: Reader): TrafficSelector {
  const startPort = rest.u16();
  const endPort = rest.u16();
  const addressLength = family === 4 ? 4 : 16;
  const startAddress = rest.bytes(addressLength).slice();
  const endAddress = rest.bytes(addressLength).slice();
  rest.expectEnd();
  // RFC 7296 3.13.1: 65535-0 is OPAQUE; no other range may be empty.
  if (startPort > endPort && !(startPort === 65535 && endPort === 0)) {
    throw new WireError(`traffic selector: ports ${startPort}-${endPort}`);
  }
  if (compareBytes(startAddress, endAddress) > 0)
    throw new WireError('traffic selector: empty address range');
  return { family, protocol, startPort, endPort, startAddress, endAddress };
}
