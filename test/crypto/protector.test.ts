import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nobleProvider } from '../../src/crypto/noble.ts';
import { nodeProvider } from '../../src/crypto/node.ts';
import type { ProtectionSuite, Protector } from '../../src/crypto/provider.ts';
import { protectionKeyLengths } from '../../src/crypto/transforms.ts';
import { fromHex, hex } from '../../src/wire/bytes.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { PROVIDERS, vectors } from './providers.ts';

const NONE = new Uint8Array(0);
const CHACHA = { encryption: 28, keyLength: 256, integrity: 0 };
const SUITES: readonly ProtectionSuite[] = [
  { encryption: 12, keyLength: 128, integrity: 12 },
  { encryption: 12, keyLength: 192, integrity: 12 },
  { encryption: 12, keyLength: 256, integrity: 12 },
  { encryption: 20, keyLength: 128, integrity: 0 },
  { encryption: 20, keyLength: 192, integrity: 0 },
  { encryption: 20, keyLength: 256, integrity: 0 },
  CHACHA,
  { encryption: 12, keyLength: 256, integrity: 2 },
  { encryption: 12, keyLength: 256, integrity: 13 },
  { encryption: 12, keyLength: 256, integrity: 14 },
  { encryption: 11, keyLength: 0, integrity: 2 },
  { encryption: 11, keyLength: 0, integrity: 12 },
  { encryption: 14, keyLength: 128, integrity: 0 },
  { encryption: 15, keyLength: 192, integrity: 0 },
  { encryption: 16, keyLength: 256, integrity: 0 },
  { encryption: 18, keyLength: 128, integrity: 0 },
  { encryption: 19, keyLength: 256, integrity: 0 },
  { encryption: 29, keyLength: 256, integrity: 0 },
  { encryption: 30, keyLength: 128, integrity: 0 },
  { encryption: 31, keyLength: 256, integrity: 0 },
];

function keysFor(suite: ProtectionSuite, seed: number) {
  const random = seededRandom(seed);
  const { encryption, integrity } = protectionKeyLengths(suite);
  return { encryption: random(encryption), integrity: random(integrity) };
}

/** A packet laid out in one buffer, at an odd offset. */
function layOut(protector: Protector, aadLength: number, textLength: number, seed: number) {
  const buffer = seededRandom(seed)(
    7 + aadLength + protector.ivLength + textLength + protector.icvLength + 5,
  );
  const iv = 7 + aadLength;
  const text = iv + protector.ivLength;
  const icv = text + textLength;
  return {
    buffer,
    aad: buffer.subarray(7, iv),
    iv: buffer.subarray(iv, text),
    text: buffer.subarray(text, icv),
    icv: buffer.subarray(icv, icv + protector.icvLength),
  };
}

describe.each(PROVIDERS)('%s: protector vectors', (_, provide) => {
  const provider = provide();

  const gcm = vectors<{
    name: string;
    encryptionKey: string;
    iv: string;
    plaintext: string;
    aad: string;
    ciphertext: string;
    icv: string;
  }>('esp-aes-gcm');
  it.each(gcm.cases)(
    `${gcm.source}: $name (rule 88)`,
    ({ encryptionKey, iv, plaintext, aad, ciphertext, icv }) => {
      const encryption = fromHex(encryptionKey);
      const suite = { encryption: 20, keyLength: (encryption.length - 4) * 8, integrity: 0 };
      const protector = provider.protector(suite, { encryption, integrity: NONE });
      const text = fromHex(plaintext);
      const tag = new Uint8Array(16);
      protector.seal(fromHex(aad), fromHex(iv), text, tag);
      expect(hex(text) + hex(tag)).toBe(ciphertext + icv);
      expect(protector.open(fromHex(aad), fromHex(iv), text, tag)).toBe(true);
      expect(hex(text)).toBe(plaintext);
    },
  );

  const chacha = vectors<(typeof gcm.cases)[number]>('crypto-chacha20-poly1305');
  it.each(chacha.cases)(
    `${chacha.source}: $name`,
    ({ encryptionKey, iv, plaintext, aad, ciphertext, icv }) => {
      const protector = provider.protector(CHACHA, { encryption: fromHex(encryptionKey), integrity: NONE });
      const text = fromHex(plaintext);
      const tag = new Uint8Array(16);
      protector.seal(fromHex(aad), fromHex(iv), text, tag);
      expect(hex(text) + hex(tag)).toBe(ciphertext + icv);
    },
  );

  const cbc = vectors<{ name: string; key: string; iv: string; plaintext: string; ciphertext: string }>(
    'crypto-aes-cbc',
  );
  it.each(cbc.cases)(`${cbc.source}: $name`, ({ key, iv, plaintext, ciphertext }) => {
    const keys = { encryption: fromHex(key), integrity: new Uint8Array(32) };
    const protector = provider.protector(SUITES[0], keys);
    const text = fromHex(plaintext);
    protector.seal(NONE, fromHex(iv), text, new Uint8Array(16));
    expect(hex(text)).toBe(ciphertext);
  });

  const hmac = vectors<{
    source: string;
    name: string;
    integrity: number;
    key: string;
    data: string;
    icv: string;
  }>('crypto-hmac-icv');
  it.each(hmac.cases)('$source: $name (rule 89)', ({ integrity, key, data, icv }) => {
    const octets = fromHex(data);
    const suite = { encryption: 11, keyLength: 0, integrity };
    const protector = provider.protector(suite, { encryption: NONE, integrity: fromHex(key) });
    const tag = new Uint8Array(protector.icvLength);
    protector.seal(octets.subarray(0, 3), NONE, octets.slice(3, 6), tag, octets.subarray(6));
    expect(hex(tag)).toBe(icv);
    // A longer or shorter part of the same HMAC is not the ICV.
    for (const length of [0, 4, icv.length / 2 - 1]) {
      const part = fromHex(icv).subarray(0, length);
      expect(protector.open(octets.subarray(0, 3), NONE, octets.slice(3, 6), part, octets.subarray(6))).toBe(
        false,
      );
    }
  });
});

describe('truncated ICVs of AES-GCM and AES-CCM (rule 89)', () => {
  it.each([
    ['AES_GCM_8', 18, 8],
    ['AES_GCM_12', 19, 12],
    ['AES_CCM_8', 14, 8],
    ['AES_CCM_12', 15, 12],
  ])('%s has that many octets, and takes no fewer', (_, encryption, icvLength) => {
    const suite = { encryption, keyLength: 128, integrity: 0 };
    for (const [, provide] of PROVIDERS) {
      const protector = provide().protector(suite, keysFor(suite, 8));
      expect(protector.icvLength).toBe(icvLength);
      const packet = layOut(protector, 8, 40, 8);
      protector.seal(packet.aad, packet.iv, packet.text, packet.icv);
      for (const length of [0, 4, icvLength - 1]) {
        expect(protector.open(packet.aad, packet.iv, packet.text, packet.icv.subarray(0, length))).toBe(
          false,
        );
      }
      expect(protector.open(packet.aad, packet.iv, packet.text, packet.icv)).toBe(true);
    }
  });

  it('AES-GCM: is the beginning of the ICV of 16 octets', () => {
    const seal = (encryption: number) => {
      const suite = { encryption, keyLength: 256, integrity: 0 };
      const packet = layOut(
        nodeProvider().protector({ ...suite, encryption: 20 }, keysFor(suite, 1)),
        8,
        40,
        2,
      );
      const protector = nodeProvider().protector(suite, keysFor(suite, 1));
      const icv = packet.icv.subarray(0, protector.icvLength);
      protector.seal(packet.aad, packet.iv, packet.text, icv);
      return hex(packet.text) + hex(icv);
    };
    const whole = seal(20);
    expect(seal(18)).toBe(whole.slice(0, -16));
    expect(seal(19)).toBe(whole.slice(0, -8));
  });
});

describe.each(SUITES)('cipher $encryption with $keyLength bits, integrity $integrity', (suite) => {
  const keys = keysFor(suite, 5);
  const noble = nobleProvider().protector(suite, keys);
  const node = nodeProvider().protector(suite, keys);
  const lengths = (limit: number) =>
    Array.from(
      { length: 14 },
      (_, i) => Math.floor((limit * i) / 13 / noble.blockLength) * noble.blockLength,
    );

  it.each([
    ['noble', 'node', noble, node],
    ['node', 'noble', node, noble],
  ] as const)('what %s seals, %s opens', (_from, _to, sealer, opener) => {
    const suffix = suite.integrity === 0 ? undefined : fromHex('00000001');
    for (const length of [...lengths(1500), noble.blockLength]) {
      const packet = layOut(sealer, 12, length, length);
      const before = packet.buffer.slice();
      const reference = layOut(opener, 12, length, length);
      sealer.seal(packet.aad, packet.iv, packet.text, packet.icv, suffix);
      opener.seal(reference.aad, reference.iv, reference.text, reference.icv, suffix);
      expect(hex(packet.buffer)).toBe(hex(reference.buffer));
      expect(opener.open(packet.aad, packet.iv, packet.text, packet.icv, suffix)).toBe(true);
      packet.icv.set(
        before.subarray(packet.icv.byteOffset - packet.buffer.byteOffset).subarray(0, packet.icv.length),
      );
      expect(hex(packet.buffer)).toBe(hex(before));
    }
  });

  it.each([
    ['noble', noble],
    ['node', node],
  ] as const)('%s refuses a change of any region', (_, protector) => {
    const suffix = suite.integrity === 0 ? undefined : fromHex('00000001');
    for (const region of ['aad', 'iv', 'text', 'icv', 'suffix'] as const) {
      const packet = { ...layOut(protector, 8, 64, 3), suffix };
      protector.seal(packet.aad, packet.iv, packet.text, packet.icv, suffix);
      const octets = packet[region];
      if (octets === undefined || octets.length === 0) continue;
      octets[octets.length - 1] ^= 0x80;
      expect(protector.open(packet.aad, packet.iv, packet.text, packet.icv, suffix)).toBe(false);
    }
  });

  it.each([
    ['noble', noble],
    ['node', node],
  ] as const)('%s opens no random octets, and never throws for them', (_, protector) => {
    const fixed = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 40 }),
        fixed(protector.ivLength),
        fc.uint8Array({ maxLength: 80 }),
        fixed(protector.icvLength),
        (aad, iv, text, icv) => {
          expect(protector.open(aad, iv, text, icv)).toBe(false);
        },
      ),
    );
  });

  it.each(PROVIDERS)('%s keeps its own copy of the keys and is unusable once destroyed', (_, provide) => {
    const own = keysFor(suite, 6);
    const protector = provide().protector(suite, own);
    const other = provide().protector(suite, keysFor(suite, 6));
    own.encryption.fill(0);
    own.integrity.fill(0);
    const packet = layOut(protector, 8, 32, 1);
    protector.seal(packet.aad, packet.iv, packet.text, packet.icv);
    expect(other.open(packet.aad, packet.iv, packet.text, packet.icv)).toBe(true);
    protector.destroy();
    expect(() => protector.seal(packet.aad, packet.iv, packet.text, packet.icv)).toThrow('destroyed');
    expect(() => protector.open(packet.aad, packet.iv, packet.text, packet.icv)).toThrow('destroyed');
  });

  it.each(PROVIDERS)('%s refuses keys of another length', (_, provide) => {
    const { encryption, integrity } = keysFor(suite, 1);
    const provider = provide();
    expect(() =>
      provider.protector(suite, { encryption: new Uint8Array(encryption.length + 1), integrity }),
    ).toThrow(RangeError);
    expect(() => provider.protector(suite, { encryption, integrity: new Uint8Array(5) })).toThrow(RangeError);
  });
});
