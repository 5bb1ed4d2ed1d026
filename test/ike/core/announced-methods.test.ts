import { describe, expect, it } from 'vitest';
import { nobleProvider } from '../../../src/crypto/noble.ts';
import { nodeProvider } from '../../../src/crypto/node.ts';
import { announcementNotify, chooseLocal, decodeAnnouncements } from '../../../src/ike/announced-methods.ts';
import { concat, fromHex, hex } from '../../../src/wire/bytes.ts';
import { NULL_AUTH, sharedKey, signature } from '../../support/ike-configs.ts';

const node = nodeProvider();
const ED25519 = '300506032b6570';

describe('SUPPORTED_AUTH_METHODS (RFC 9593)', () => {
  it('announces NULL and shared keys in two octets, signatures with their AlgorithmIdentifier', () => {
    const { type, data } = announcementNotify(['null', 'shared-key', 'signature'], node);
    expect(type).toBe(16443);
    expect(hex(data)).toMatch(new RegExp(`^020d02020a0e00${ED25519}0f0e00300a06082a8648ce3d0403020f0e00`));
    const announced = decodeAnnouncements(data)!;
    expect(announced.map(({ method }) => method)).toEqual([13, 2, ...Array(10).fill(14)]);
    expect(announced.at(-1)?.identifier).toEqual(fromHex('300d06092a864886f70d01010d0500'));
    expect(data.length).toBeLessThan(400);
  });

  it('announces only what the provider has', () => {
    const announced = decodeAnnouncements(announcementNotify(['certificate'], nobleProvider()).data)!;
    expect(announced).toHaveLength(4);
    expect(announced.every(({ method }) => method === 14)).toBe(true);
  });

  it('is a list in which each entry says how long it is', () => {
    expect(decodeAnnouncements(fromHex('020d 030900 0504ffffff'))).toEqual([
      { method: 13 },
      { method: 9 },
      { method: 4, identifier: fromHex('ffff') },
    ]);
    for (const wrong of ['', '00', '01', '0002', '010d', '02', '030d', '020d0a0e00', '020d00', 'ff']) {
      expect(decodeAnnouncements(fromHex(wrong))).toBeUndefined();
    }
  });

  it('decides which way an initiator goes, if it has several', () => {
    const [key, ed25519] = [sharedKey('x').local, signature(node).local];
    const candidates = [ed25519, key, NULL_AUTH] as const;
    const announce = (...entries: string[]) => decodeAnnouncements(concat(...entries.map(fromHex)));
    expect(chooseLocal(candidates, undefined)).toBe(ed25519);
    expect(chooseLocal(candidates, announce('020d', `0a0e00${ED25519}`))).toBe(ed25519);
    expect(chooseLocal(candidates, announce('020d', '0202'))).toBe(key);
    expect(chooseLocal(candidates, announce('020d'))).toBe(NULL_AUTH);
    expect(chooseLocal(candidates, announce('0f0e00300a06082a8648ce3d040302', '020d'))).toBe(NULL_AUTH);
    expect(chooseLocal(candidates, announce('03090000'.slice(0, 6)))).toBe(ed25519);
  });
});
