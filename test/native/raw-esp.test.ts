import { describe, expect, it } from 'vitest';
import { type Packet, packetBytes, packetFrom } from '../../src/link/packet.ts';
import type { CapturedFrame } from '../../src/native/native.ts';
import { parseFrame } from '../../src/transport/pcap.ts';
import { native, wire, within, withNamespaces } from '../support/namespaces.ts';
import { until } from '../support/waiting.ts';

const esp = (spi: number, length: number): Packet => {
  const bytes = new Uint8Array(length).fill(spi & 255);
  new DataView(bytes.buffer).setUint32(0, spi);
  return packetFrom(bytes);
};

describe('raw ESP socket', () => {
  for (const family of [4, 6] as const) {
    it(`sends and receives over IPv${family}, with a constant outer header`, () =>
      withNamespaces(2, async (a, b) => {
        const ends = await wire(a, b);
        const [addressA, addressB] = family === 4 ? [ends.a4, ends.b4] : [ends.a6, ends.b6];
        const rawA = within(a, () => native().openRawEsp(addressA));
        const rawB = within(b, () => native().openRawEsp(addressB));
        const capture = within(b, () => native().openCapture(ends.name));
        try {
          const frames: CapturedFrame[] = [];
          capture.start((frame) => frames.push(frame));
          const atA: Uint8Array[] = [];
          const atB: Uint8Array[] = [];
          rawA.start((packets, source) => {
            expect(source).toBe(addressB);
            for (const packet of packets) atA.push(packetBytes(packet));
          });
          rawB.start((packets, source) => {
            expect(source).toBe(addressA);
            for (const packet of packets) atB.push(packetBytes(packet));
          });
          for (let spi = 1; spi <= 300; spi++) expect(rawA.send(esp(spi, 1400), addressB)).toBe(true);
          await until('all at B', () => atB.length === 300);
          expect(atB[299]).toEqual(packetBytes(esp(300, 1400)));
          expect(rawB.send(esp(7, 64), addressA)).toBe(true);
          await until('one at A', () => atA.length === 1);
          expect(atA[0]).toEqual(packetBytes(esp(7, 64)));

          const ip = await until('the captured packets', () => {
            const found = frames.filter(({ bytes }) => bytes[family === 4 ? 14 + 9 : 14 + 6] === 50);
            return found.length === 301 && found;
          });
          for (const { bytes } of ip) {
            expect(parseFrame(bytes)).toEqual({ etherType: family === 4 ? 0x800 : 0x86dd, offset: 14 });
            const header = bytes.subarray(14);
            // TOS, ID and flags (DF only), TTL; or traffic class and flow label, hop limit.
            if (family === 4) expect([header[1], ...header.subarray(4, 9)]).toEqual([0, 0, 0, 0x40, 0, 64]);
            else expect([...header.subarray(0, 4), header[7]]).toEqual([0x60, 0, 0, 0, 64]);
          }
        } finally {
          rawA.close();
          rawB.close();
          capture.close();
        }
      }));
  }

  it('reports what was not sent: too large for the interface, no route, closed', () =>
    withNamespaces(2, async (a, b) => {
      const { a4, b4 } = await wire(a, b);
      const raw = within(a, () => native().openRawEsp(a4));
      expect(raw.send(esp(1, 1480), b4)).toBe(true);
      expect(raw.send(esp(1, 1481), b4)).toBe(false);
      expect(raw.send(esp(1, 100_000), b4)).toBe(false);
      expect(raw.send(esp(1, 100), '192.0.2.1')).toBe(false);
      raw.close();
      expect(raw.send(esp(1, 100), b4)).toBe(false);
      expect(() => within(a, () => native().openRawEsp('192.0.2.1'))).toThrow(
        /EADDRNOTAVAIL; that is not an/,
      );
    }));
});
