import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compareBytes, concat, equalBytes, fromHex, hex, utf8 } from '../../src/wire/bytes.ts';
import { Reader, WireError } from '../../src/wire/reader.ts';
import { Writer } from '../../src/wire/writer.ts';

describe('bytes', () => {
  it('goes to hex and back', () => {
    fc.assert(fc.property(fc.uint8Array(), (bytes) => void expect(fromHex(hex(bytes))).toEqual(bytes)));
    expect(fromHex(' 0A\n ff ')).toEqual(Uint8Array.of(10, 255));
  });

  it.each(['0', 'zz', '0x00', '-1', '1.'])('is not hex: %s', (text) => {
    expect(() => fromHex(text)).toThrow(RangeError);
  });

  it('compares as octet strings: a proper prefix is the lower one', () => {
    const ordered = ['', '00', '0000', '0001', '01', '7f', '80', 'ff', 'ff00'].map(fromHex);
    ordered.forEach((a, i) => {
      ordered.forEach((b, j) => {
        expect(Math.sign(compareBytes(a, b))).toBe(Math.sign(i - j));
        expect(equalBytes(a, b)).toBe(i === j);
      });
    });
  });

  it('concatenates into new bytes', () => {
    const part = Uint8Array.of(1, 2);
    const all = concat(part, new Uint8Array(0), utf8('é'));
    part.fill(9);
    expect(hex(all)).toBe('0102c3a9');
    expect(concat()).toHaveLength(0);
  });
});

describe('Reader', () => {
  it('reads big-endian integers and views', () => {
    const input = fromHex('01 0203 04050607 08090a0b0c0d0e0f 1011 12');
    const reader = new Reader(input, 'test');
    expect([reader.u8(), reader.u16(), reader.u32()]).toEqual([1, 0x0203, 0x04050607]);
    expect(reader.u64()).toBe(0x08090a0b0c0d0e0fn);
    expect([reader.offset, reader.remaining]).toEqual([15, 3]);
    const sub = reader.sub(2, 'sub');
    expect(sub.u16()).toBe(0x1011);
    expect(() => sub.u8()).toThrow(/sub: needs 1 octets at offset 2, has 0/);
    const rest = reader.rest();
    expect(rest.buffer).toBe(input.buffer);
    expect(rest).toEqual(Uint8Array.of(0x12));
    reader.expectEnd();
  });

  it('reads a view in the middle of a buffer', () => {
    const view = fromHex('00112233445566').subarray(2, 5);
    const reader = new Reader(view, 'test');
    expect(reader.u16()).toBe(0x2233);
    expect(() => reader.u16()).toThrow(WireError);
    expect(reader.u8()).toBe(0x44);
  });

  it.each<[string, (reader: Reader) => unknown]>([
    ['u16', (r) => r.u16()],
    ['u32', (r) => r.u32()],
    ['u64', (r) => r.u64()],
    ['bytes', (r) => r.bytes(2)],
    ['bytes of a negative length', (r) => r.bytes(-1)],
    ['sub', (r) => r.sub(2, 'x')],
    ['expectEnd', (r) => r.expectEnd()],
  ])('throws on a short %s and stays where it was', (_, read) => {
    const reader = new Reader(Uint8Array.of(5), 'test');
    expect(() => read(reader)).toThrow(WireError);
    expect(reader.u8()).toBe(5);
  });
});

describe('Writer', () => {
  const value = fc.oneof(
    fc.record({ kind: fc.constant('u8' as const), value: fc.nat(0xff) }),
    fc.record({ kind: fc.constant('u16' as const), value: fc.nat(0xffff) }),
    fc.record({ kind: fc.constant('u32' as const), value: fc.integer({ min: 0, max: 0xffffffff }) }),
    fc.record({ kind: fc.constant('u64' as const), value: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }) }),
    fc.record({ kind: fc.constant('bytes' as const), value: fc.uint8Array({ maxLength: 20 }) }),
  );

  it('writes what Reader reads, from any capacity', () => {
    fc.assert(
      fc.property(fc.array(value), fc.nat(40), (values, capacity) => {
        const writer = new Writer(capacity);
        for (const v of values) {
          if (v.kind === 'u64') writer.u64(v.value);
          else if (v.kind === 'bytes') writer.bytes(v.value);
          else writer[v.kind](v.value);
        }
        const reader = new Reader(writer.finish(), 'test');
        for (const v of values) {
          const read = v.kind === 'bytes' ? reader.bytes(v.value.length) : reader[v.kind]();
          expect(read).toEqual(v.value);
        }
        reader.expectEnd();
        expect(writer.length).toBe(reader.offset);
      }),
    );
  });

  it('patches lengths, and gives a copy', () => {
    const writer = new Writer(1).zeros(2).u8(7);
    writer.patchU16(0, writer.length);
    const first = writer.finish();
    writer.u8(8).patchU16(0, 0xffff);
    expect(hex(first)).toBe('000307');
    expect(hex(writer.finish())).toBe('ffff0708');
  });
});
