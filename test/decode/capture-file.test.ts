import { describe, expect, it } from 'vitest';
import { CaptureFileError, readCapture } from '../../src/decode/capture-file.ts';
import { pcapngFile } from '../../src/transport/pcap.ts';
import { concat, fromHex, utf8 } from '../../src/wire/bytes.ts';
import { pcapFile } from './captures.ts';

const A = Uint8Array.of(1, 2, 3, 4, 5);
const B = Uint8Array.of(6, 7, 8);

describe('pcap', () => {
  it.each([
    { little: true, nanos: false, fraction: 123_456_000n },
    { little: false, nanos: false, fraction: 123_456_000n },
    { little: true, nanos: true, fraction: 123_456n },
    { little: false, nanos: true, fraction: 123_456n },
  ])('of little-endian order: $little, with nanoseconds: $nanos', ({ fraction, ...options }) => {
    const { frames, damage } = readCapture(pcapFile([A, B], { linkType: 276, ...options }));
    expect(damage).toBeUndefined();
    const time = 1_700_000_000_000_000_000n + fraction;
    expect(frames).toEqual([
      { number: 1, time, linkType: 276, bytes: A },
      { number: 2, time: time + 1_000_000_000n, linkType: 276, bytes: B },
    ]);
  });

  it.each([20, 30, 45, 46, 60])('that ends at octet %i', (length) => {
    const file = pcapFile([A, B]);
    const { frames, damage } = readCapture(file.subarray(0, length));
    expect(frames).toHaveLength(length < 45 ? 0 : 1);
    if (length === 45) expect(damage).toBeUndefined();
    else
      expect(damage).toBe(
        `the capture file is cut off or damaged at octet ${length < 24 ? 20 : length < 45 ? 24 : 45}`,
      );
  });
});

/** A block of a pcapng file. */
function block(type: number, body: Uint8Array, little = true): Uint8Array {
  const padded = concat(body, new Uint8Array(-body.length & 3));
  const out = new Uint8Array(padded.length + 12);
  const view = new DataView(out.buffer);
  view.setUint32(0, type, little);
  view.setUint32(4, out.length, little);
  view.setUint32(out.length - 4, out.length, little);
  out.set(padded, 8);
  return out;
}

const SECTION = block(0x0a0d0d0a, fromHex('4d3c2b1a 0100 0000 ffffffffffffffff'));
const ETHERNET = fromHex('0100 0000 00000000');

describe('pcapng', () => {
  it('as we write it', () => {
    const interfaces = [
      { name: 'eth0', linkType: 1 as const },
      { name: 'tun0', linkType: 101 as const },
    ];
    const file = pcapngFile(interfaces, [
      { interface: 0, micros: 1_700_000_000_123_456, bytes: A },
      { interface: 1, micros: 1_700_000_001_000_000, bytes: B },
    ]);
    expect(readCapture(file)).toEqual({
      frames: [
        { number: 1, time: 1_700_000_000_123_456_000n, linkType: 1, bytes: A },
        { number: 2, time: 1_700_000_001_000_000_000n, linkType: 101, bytes: B },
      ],
    });
  });

  it('little-endian, with blocks of all kinds of packets, and others', () => {
    const file = concat(
      SECTION,
      block(1, ETHERNET),
      block(6, concat(fromHex('00000000 00000000 02000000 05000000 05000000'), A)),
      block(2, concat(fromHex('0000 0000 00000000 03000000 03000000 03000000'), B)),
      block(0xbad, A),
      block(3, concat(fromHex('03000000'), B)),
    );
    expect(readCapture(file).frames).toEqual([
      { number: 1, time: 2000n, linkType: 1, bytes: A },
      { number: 2, time: 3000n, linkType: 1, bytes: B },
      { number: 3, linkType: 1, bytes: B },
    ]);
  });

  it.each([
    ['0900 0100 09000000', 5n],
    ['0900 0100 8a000000', 4_882_812n], // 5 / 1024 s
    ['0100 0200 41420000 0900 0100 00000000 0e00 0800 0100000000000000 0000 0000', 6_000_000_000n],
  ])('with options of the interface: %s', (options, time) => {
    const packet = concat(fromHex('00000000 00000000 05000000 05000000 05000000'), A);
    const file = concat(SECTION, block(1, concat(ETHERNET, fromHex(options))), block(6, packet));
    expect(readCapture(file).frames[0].time).toBe(time);
  });

  it('with several sections, each with its interfaces', () => {
    const first = pcapngFile([{ name: 'a', linkType: 1 }], [{ interface: 0, micros: 1, bytes: A }]);
    const second = concat(
      SECTION,
      block(1, fromHex('6500 0000 00000000')),
      block(3, concat(fromHex('03000000'), B)),
    );
    const { frames } = readCapture(concat(first, second));
    expect(frames.map(({ number, linkType }) => [number, linkType])).toEqual([
      [1, 1],
      [2, 101],
    ]);
  });

  it.each([
    ['a block of an impossible length', fromHex('06000000 05000000 00000000')],
    ['a block that is cut off', block(6, new Uint8Array(40)).subarray(0, 30)],
    ['a packet of an unknown interface', block(6, fromHex('09000000 00000000 00000000 00000000 00000000'))],
    ['a packet longer than its block', block(6, fromHex('00000000 00000000 00000000 ff000000 ff000000'))],
    ['a packet without fields', block(6, fromHex('00000000'))],
    ['an interface without fields', block(1, fromHex('00000000'))],
  ])('with %s', (_, bad) => {
    const good = concat(SECTION, block(1, ETHERNET), block(3, concat(fromHex('03000000'), B)));
    const { frames, damage } = readCapture(concat(good, bad, block(3, concat(fromHex('03000000'), B))));
    expect(frames).toHaveLength(1);
    expect(damage).toBe(`the capture file is cut off or damaged at octet ${good.length}`);
  });
});

it.each([
  ['nothing', new Uint8Array(0), /save it as pcap/],
  ['text', utf8('hello world'), /not a capture file/],
  ['gzip', fromHex('1f8b0800'), /gunzip/],
])('refuses %s', (_, file, message) => {
  expect(() => readCapture(file)).toThrow(CaptureFileError);
  expect(() => readCapture(file)).toThrow(message);
});
