import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  decodePayloads,
  encodePayloads,
  idPayload,
  notify,
  type Payload,
  PayloadType,
} from '../../../src/ike/payload/index.ts';
import { concat, fromHex, hex } from '../../../src/wire/bytes.ts';
import { WireError } from '../../../src/wire/reader.ts';
import { payloads } from './arbitraries.ts';

/** One payload of `type` with this body. */
function only(type: number, body: string): readonly Payload[] {
  const octets = fromHex(body);
  const header = Uint8Array.of(0, 0, (octets.length + 4) >> 8, (octets.length + 4) & 255);
  return decodePayloads(type, concat(header, octets));
}

describe('payload chains', () => {
  it('decodes what it encodes, for every kind of payload', () => {
    fc.assert(
      fc.property(payloads, (list) => {
        const { first, bytes } = encodePayloads(list);
        expect(decodePayloads(first, bytes)).toEqual(list);
      }),
      { numRuns: 500 },
    );
  });

  it('encodes what it decodes', () => {
    fc.assert(
      fc.property(payloads, (list) => {
        const { first, bytes } = encodePayloads(list);
        expect(encodePayloads(decodePayloads(first, bytes))).toEqual({ first, bytes });
      }),
    );
  });

  it('gives only WireError for random octets', () => {
    const types = fc.constantFrom(...Object.values(PayloadType), 1, 99);
    fc.assert(
      fc.property(types, fc.uint8Array({ maxLength: 200 }), (type, octets) => {
        try {
          decodePayloads(type, octets);
        } catch (error) {
          expect(error).toBeInstanceOf(WireError);
        }
      }),
      { numRuns: 5000 },
    );
  });

  it('gives only WireError for a body of any octets behind a sound header', () => {
    const types = fc.constantFrom(...Object.values(PayloadType).filter((type) => type !== 0));
    const body = fc.oneof(
      fc.uint8Array({ maxLength: 120 }),
      fc.array(fc.constantFrom(0, 1, 2, 3, 4, 7, 8, 12, 14, 16, 40, 0x80, 0xff), { maxLength: 80 }),
    );
    fc.assert(
      fc.property(types, body, (type, octets) => {
        try {
          only(type, hex(Uint8Array.from(octets)));
        } catch (error) {
          expect(error).toBeInstanceOf(WireError);
        }
      }),
      { numRuns: 5000 },
    );
  });

  it('gives only WireError or other payloads for every octet of a chain changed', () => {
    fc.assert(
      fc.property(payloads, fc.nat(), fc.integer({ min: 1, max: 255 }), (list, at, change) => {
        const { first, bytes } = encodePayloads(list);
        if (bytes.length === 0) return;
        bytes[at % bytes.length] ^= change;
        try {
          decodePayloads(first, bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(WireError);
        }
      }),
      { numRuns: 2000 },
    );
  });

  it('chains Next Payload and ends with 0', () => {
    const { first, bytes } = encodePayloads([
      notify(16390, Uint8Array.of(9)),
      { kind: 'VENDOR_ID', data: Uint8Array.of(1, 2) },
    ]);
    expect(first).toBe(41);
    expect(hex(bytes)).toBe('2b000009 0000400609 00000006 0102'.replaceAll(' ', ''));
  });

  it('has no bytes and first 0 without payloads', () => {
    expect(encodePayloads([])).toEqual({ first: 0, bytes: new Uint8Array(0) });
    expect(decodePayloads(0, new Uint8Array(0))).toEqual([]);
  });

  it('keeps the critical bit of unknown types only (rule 43)', () => {
    expect(decodePayloads(200, fromHex('00800004'))).toEqual([
      { kind: 'UNKNOWN', type: 200, critical: true, data: new Uint8Array(0) },
    ]);
    expect(decodePayloads(200, fromHex('007f0004'))).toMatchObject([{ critical: false }]);
    expect(decodePayloads(PayloadType.EAP, fromHex('00800004'))).toMatchObject([
      { kind: 'UNKNOWN', type: 48, critical: false },
    ]);
    expect(decodePayloads(PayloadType.VENDOR_ID, fromHex('00800004'))).toEqual([
      { kind: 'VENDOR_ID', data: new Uint8Array(0) },
    ]);
  });

  it('takes 100 payloads and no more', () => {
    const chain = (count: number) =>
      encodePayloads(Array<Payload>(count).fill({ kind: 'VENDOR_ID', data: new Uint8Array(0) }));
    const most = chain(100);
    expect(decodePayloads(most.first, most.bytes)).toHaveLength(100);
    for (const count of [101, 1000]) {
      const { first, bytes } = chain(count);
      expect(() => decodePayloads(first, bytes)).toThrow(WireError);
    }
  });

  it('refuses to encode a payload longer than its length field', () => {
    const data = new Uint8Array(65532);
    expect(() => encodePayloads([{ kind: 'VENDOR_ID', data }])).toThrow(RangeError);
    expect(() => encodePayloads([{ kind: 'VENDOR_ID', data: data.subarray(1) }])).not.toThrow();
  });

  it('ignores RESERVED octets, and keeps those of an ID payload for AUTH', () => {
    expect(only(PayloadType.KE, '001fffff0102')).toEqual([
      { kind: 'KE', method: 31, data: Uint8Array.of(1, 2) },
    ]);
    expect(only(PayloadType.AUTH, '0dffffff01')).toEqual([
      { kind: 'AUTH', method: 13, data: Uint8Array.of(1) },
    ]);
    const [id] = only(PayloadType.IDi, '0baabbcc01');
    expect(id).toEqual({ kind: 'IDi', type: 11, data: Uint8Array.of(1), body: fromHex('0baabbcc01') });
    expect(hex(encodePayloads([id]).bytes)).toBe('000000090baabbcc01');
  });

  it('makes ID payloads with RESERVED zero', () => {
    const { body } = idPayload('IDr', { type: 13, data: new Uint8Array(0) });
    expect(hex(body)).toBe('0d000000');
  });
});

const { SA, KE, IDi, CERT, AUTH, NONCE, NOTIFY, DELETE, TSi, CP, SK, SKF } = PayloadType;
const TS4 = '0001 00100000ffff 0a000001 0a000001';

describe('malformed payloads', () => {
  it.each([
    ['length 0', SA, '00000000'],
    ['length 3', SA, '00000003'],
    ['length beyond the end', KE, '00000009 0000'],
    ['octets after the last payload', KE, '00000008001f0000 00'],
    ['a next payload that is not there', KE, '29000008001f0000'],
    ['a header cut short', KE, '000000'],
  ])('generic header: %s (rule 60)', (_, type, octets) => {
    expect(() => decodePayloads(type, fromHex(octets))).toThrow(WireError);
  });

  it.each([
    ['SK inside', SK, '00'],
    ['SKF inside', SKF, '00010001'],
    ['KE without a method', KE, '00'],
    ['ID without RESERVED', IDi, '0b00'],
    ['CERT, empty', CERT, ''],
    ['AUTH, cut', AUTH, '0d00'],
    ['nonce of 15 octets', NONCE, '00'.repeat(15)],
    ['nonce of 257 octets', NONCE, '00'.repeat(257)],
    ['notify: SPI size beyond the body', NOTIFY, '0305400900000000'],
    ['notify, cut', NOTIFY, '030440'],
    ['delete: 65535 SPIs', DELETE, '0304ffff00000001'],
    ['delete: SPI size 1', DELETE, '0301000101'],
    ['delete: SPI size 8 for ESP', DELETE, '030800010000000000000001'],
    ['delete: SPI size 8 for IKE', DELETE, '010800010000000000000001'],
    ['delete: 65535 SPIs of the IKE SA', DELETE, '0100ffff'],
    ['delete: protocol 0', DELETE, '0004000100000001'],
    ['delete: octets after the SPIs', DELETE, '030400010000000100'],
    ['TS: none', TSi, '00000000'],
    ['TS: Selector Length 0', TSi, `01000000 0700 0000 0000ffff`],
    ['TS: Selector Length 7', TSi, `01000000 0700 0007 0000ff`],
    ['TS: Selector Length 15', TSi, `01000000 0700 000f 0000ffff 0a000001 0a0000`],
    ['TS: Selector Length 17', TSi, `01000000 0700 0011 0000ffff 0a000001 0a00000100`],
    ['TS: IPv4 of 40 octets', TSi, `01000000 0700 0028 0000ffff ${'00'.repeat(32)}`],
    ['TS: IPv6 of 16 octets', TSi, `01000000 0800 0010 0000ffff ${'00'.repeat(8)}`],
    ['TS: count larger than the body', TSi, `02000000 07${TS4.slice(2)}`],
    ['TS: count smaller than the body', TSi, `01000000 07${TS4.slice(2)} 07${TS4.slice(2)}`],
    ['TS: start address after the end', TSi, '01000000 07000010 0000ffff 0a000002 0a000001'],
    ['TS: start port after the end', TSi, '01000000 07060010 00020001 0a000001 0a000001'],
    ['CP: attribute beyond the body', CP, '01000000 0001000400'],
    ['CP: attribute header cut', CP, '01000000 0001'],
    ['SA, empty', SA, ''],
    ['SA: Last Substruc 1', SA, '0100000801010000'],
    ['SA: Last Substruc says more', SA, '0200000801010000'],
    ['SA: proposal after the last', SA, '0000000801010000 0000000802010000'],
    ['SA: proposal length 7', SA, '0000000701010000'],
    ['SA: proposal number 0', SA, '0000000800010000'],
    ['SA: the same number twice', SA, '0200000801010000 0000000801010000'],
    ['SA: SPI size beyond the proposal', SA, '0000000801030400'],
    ['SA: fewer transforms than counted', SA, '0000001001010002 0000000804000013'],
    ['SA: more transforms than counted', SA, '0000001801010001 0300000804000013 000000080400001f'],
    ['SA: count 0 with a transform', SA, '0000001001010000 0000000804000013'],
    ['SA: transform length 7', SA, '0000000f01010001 00000007040000'],
    ['SA: transform Last Substruc 2', SA, '0000001001010001 0200000804000013'],
    ['SA: attribute cut', SA, '0000001201010001 0000000a0100000c 800e'],
    ['SA: TLV attribute beyond the transform', SA, '0000001401010001 0000000c0100000c 000e0004'],
  ])('%s', (_, type, body) => {
    expect(() => only(type, body)).toThrow(WireError);
  });

  it('leaves out traffic selectors of types that it does not know', () => {
    for (const type of ['00', '09', '0a']) {
      expect(only(TSi, `02000000 ${type}000008 00000000 0700 0010 0000ffff 0a000001 0a000001`)).toMatchObject(
        [{ selectors: [{ family: 4, startAddress: Uint8Array.of(10, 0, 0, 1) }] }],
      );
    }
  });

  it('takes the OPAQUE port range (rule 57)', () => {
    expect(only(TSi, '01000000 07060010 ffff0000 0a000001 0a000001')).toMatchObject([
      { selectors: [{ protocol: 6, startPort: 65535, endPort: 0 }] },
    ]);
  });

  it('marks transforms with attributes other than Key Length', () => {
    const transforms = (body: string) => {
      const [payload] = only(SA, body);
      return payload.kind === 'SA' && payload.proposals[0].transforms;
    };
    expect(transforms('0000001401010001 0000000c0100000c 800e0100')).toEqual([
      { type: 1, id: 12, keyLength: 256 },
    ]);
    expect(transforms('0000001401010001 0000000c0100000c 800f0100')).toEqual([
      { type: 1, id: 12, unsupported: true },
    ]);
    expect(transforms('0000001601010001 0000000e0100000c 000f00020102')).toEqual([
      { type: 1, id: 12, unsupported: true },
    ]);
    expect(transforms('0000001801010001 000000100100000c 800e0100 800e0080')).toEqual([
      { type: 1, id: 12, keyLength: 256, unsupported: true },
    ]);
  });

  it('ignores the reserved bit of configuration attribute types', () => {
    expect(only(CP, '01ffffff 80010000')).toEqual([
      { kind: 'CP', type: 1, attributes: [{ type: 1, value: new Uint8Array(0) }] },
    ]);
  });

  it('bounds a request of 10000 attributes by the message', () => {
    const [config] = only(CP, `01000000${'00010000'.repeat(10_000)}`);
    expect(config).toMatchObject({ kind: 'CP', attributes: { length: 10_000 } });
  });
});
