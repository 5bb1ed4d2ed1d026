import fc from 'fast-check';
import {
  idPayload,
  type Payload,
  PayloadType,
  type ProposalPayload,
} from '../../../src/ike/payload/index.ts';
import { compareBytes, concat } from '../../../src/wire/bytes.ts';
import type { TrafficSelector } from '../../../src/wire/traffic-selector.ts';

const u8 = fc.integer({ min: 0, max: 255 });
const u16 = fc.integer({ min: 0, max: 65535 });
export const bytes = (minLength: number, maxLength: number) => fc.uint8Array({ minLength, maxLength });

const transform = fc.record({ type: u8, id: u16, keyLength: u16 }, { requiredKeys: ['type', 'id'] });

const proposals = fc
  .array(
    fc.record({
      protocol: u8,
      spi: bytes(0, 255),
      transforms: fc.array(transform, { maxLength: 8 }),
    }),
    { minLength: 1, maxLength: 5 },
  )
  .map((list): ProposalPayload[] => list.map((proposal, i) => ({ number: i + 1, ...proposal })));

export const selector: fc.Arbitrary<TrafficSelector> = fc
  .constantFrom(4 as const, 6 as const)
  .chain((family) => {
    const length = family === 4 ? 4 : 16;
    return fc
      .record({
        protocol: u8,
        p: u16,
        q: u16,
        opaque: fc.boolean(),
        a: bytes(length, length),
        b: bytes(length, length),
      })
      .map(({ protocol, p, q, opaque, a, b }) => ({
        family,
        protocol,
        startPort: opaque ? 65535 : Math.min(p, q),
        endPort: opaque ? 0 : Math.max(p, q),
        startAddress: compareBytes(a, b) <= 0 ? a : b,
        endAddress: compareBytes(a, b) <= 0 ? b : a,
      }));
  });

const KNOWN_TYPES: readonly number[] = Object.values(PayloadType);

/** Every kind of payload. */
export const payload: fc.Arbitrary<Payload> = fc.oneof(
  proposals.map((list) => ({ kind: 'SA' as const, proposals: list })),
  fc.record({ kind: fc.constant('KE' as const), method: u16, data: bytes(0, 300) }),
  fc
    .record({ kind: fc.constantFrom('IDi' as const, 'IDr' as const), type: u8, data: bytes(0, 40) })
    .map(({ kind, ...identity }) => idPayload(kind, identity)),
  fc.record({
    kind: fc.constantFrom('CERT' as const, 'CERTREQ' as const),
    encoding: u8,
    data: bytes(0, 300),
  }),
  fc.record({ kind: fc.constant('AUTH' as const), method: u8, data: bytes(0, 80) }),
  fc.record({ kind: fc.constant('NONCE' as const), data: bytes(16, 256) }),
  fc.record({
    kind: fc.constant('NOTIFY' as const),
    protocol: u8,
    spi: bytes(0, 255),
    type: u16,
    data: bytes(0, 64),
  }),
  fc.oneof(
    fc.constant({ kind: 'DELETE' as const, protocol: 1, spis: [] }),
    fc.record({
      kind: fc.constant('DELETE' as const),
      protocol: fc.constantFrom(2, 3),
      spis: fc.array(bytes(4, 4), { maxLength: 5 }),
    }),
  ),
  fc.record({ kind: fc.constant('VENDOR_ID' as const), data: bytes(0, 40) }),
  fc
    .record({ kind: fc.constant('PS' as const), data: bytes(1, 16) })
    .map(({ kind, data }) => ({ kind, data: concat(data, data, data, data) })),
  fc.record({
    kind: fc.constantFrom('TSi' as const, 'TSr' as const),
    selectors: fc.array(selector, { minLength: 1, maxLength: 6 }),
  }),
  fc.record({
    kind: fc.constant('CP' as const),
    type: u8,
    attributes: fc.array(fc.record({ type: fc.integer({ min: 0, max: 0x7fff }), value: bytes(0, 20) }), {
      maxLength: 6,
    }),
  }),
  fc.record({
    kind: fc.constant('UNKNOWN' as const),
    type: u8.filter((type) => !KNOWN_TYPES.includes(type)),
    critical: fc.boolean(),
    data: bytes(0, 40),
  }),
);

export const payloads = fc.array(payload, { maxLength: 12 });
