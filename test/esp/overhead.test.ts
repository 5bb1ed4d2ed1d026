import { describe, expect, it } from 'vitest';
import { espOverhead, maxInnerPacket } from '../../src/esp/overhead.ts';
import type { EspSuite } from '../../src/link/sa-store.ts';
import type { Family } from '../../src/wire/address.ts';

const GCM: EspSuite = { encryption: 20, keyLength: 256, integrity: 0, esn: true };
const CHACHA: EspSuite = { encryption: 28, keyLength: 256, integrity: 0, esn: false };
const IMPLICIT: EspSuite = { encryption: 30, keyLength: 256, integrity: 0, esn: true };
const CBC: EspSuite = { encryption: 12, keyLength: 128, integrity: 12, esn: false };

/** MTUs inside one, two and three tunnels, only the outermost in UDP. */
function nested(suite: EspSuite, family: Family, encapsulated: boolean): number[] {
  const first = maxInnerPacket(1500, suite, { family, encapsulated });
  const second = maxInnerPacket(first, suite, { family, encapsulated: false });
  return [first, second, maxInnerPacket(second, suite, { family, encapsulated: false })];
}

describe('overhead', () => {
  it('gives the MTUs of nested tunnels (rule 91)', () => {
    expect(nested(GCM, 4, false)).toEqual([1446, 1390, 1334]);
    expect(nested(CHACHA, 4, false)).toEqual([1446, 1390, 1334]);
    expect(nested(GCM, 4, true)).toEqual([1438, 1382, 1326]);
    expect(nested(GCM, 6, false)).toEqual([1426, 1350, 1274]);
    expect(nested(IMPLICIT, 4, false)).toEqual([1454, 1406, 1358]);
    expect(nested(CBC, 4, false)).toEqual([1438, 1374, 1310]);
  });

  it('is the least that RFC 4303 2.4 allows (rule 85)', () => {
    expect([1278, 1279, 1280, 1281, 1282].map((length) => espOverhead(GCM, length))).toEqual([
      34, 37, 36, 35, 34,
    ]);
    expect(espOverhead(CBC, 14)).toBe(8 + 16 + 2 + 16);
    expect(espOverhead(CBC, 15)).toBe(8 + 16 + 17 + 16);
  });

  it.each([GCM, CHACHA, IMPLICIT, CBC])('fits, and an octet more does not: cipher $encryption', (suite) => {
    for (const family of [4, 6] as const) {
      for (let mtu = 576; mtu < 640; mtu++) {
        const inner = maxInnerPacket(mtu, suite, { family, encapsulated: true });
        const outer = (length: number) => (family === 4 ? 20 : 40) + 8 + length + espOverhead(suite, length);
        expect(outer(inner)).toBeLessThanOrEqual(mtu);
        expect(outer(inner + 1)).toBeGreaterThan(mtu);
      }
    }
  });

  it('refuses an MTU that leaves no room', () => {
    expect(maxInnerPacket(56, GCM, { family: 4, encapsulated: false })).toBe(2);
    expect(() => maxInnerPacket(55, GCM, { family: 4, encapsulated: false })).toThrow(RangeError);
  });
});
