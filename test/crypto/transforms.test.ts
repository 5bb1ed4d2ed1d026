import { expand } from '@noble/hashes/hkdf.js';
import { sha384 } from '@noble/hashes/sha2.js';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { defaultProvider } from '../../src/crypto/default.ts';
import { UnsupportedAlgorithm } from '../../src/crypto/provider.ts';
import {
  EncryptionTransform,
  encryptionOf,
  equalConstantTime,
  IntegrityTransform,
  integrityOf,
  PrfTransform,
  prfOf,
  prfPlus,
  protectionKeyLengths,
  protectionLayout,
  zero,
} from '../../src/crypto/transforms.ts';
import { fromHex, hex } from '../../src/wire/bytes.ts';
import { vectors } from './providers.ts';

const provider = defaultProvider();

describe('transforms', () => {
  it('gives the KEYMAT lengths of RFC 4106 8.1, RFC 4309 7.1, RFC 7634 2 and RFC 4868 2.6 (rule 88)', () => {
    const gcm = EncryptionTransform.AES_GCM_16;
    expect(protectionKeyLengths({ encryption: gcm, keyLength: 128, integrity: 0 })).toEqual({
      encryption: 20,
      integrity: 0,
    });
    expect(protectionKeyLengths({ encryption: gcm, keyLength: 256, integrity: 0 }).encryption).toBe(36);
    const chacha = { encryption: EncryptionTransform.CHACHA20_POLY1305, keyLength: 256, integrity: 0 };
    expect(protectionKeyLengths(chacha).encryption).toBe(36);
    const cbc = {
      encryption: EncryptionTransform.AES_CBC,
      keyLength: 192,
      integrity: IntegrityTransform.HMAC_SHA2_256_128,
    };
    expect(protectionKeyLengths(cbc)).toEqual({ encryption: 24, integrity: 32 });
    expect(protectionLayout(cbc)).toEqual({ ivLength: 16, icvLength: 16, blockLength: 16 });
    expect(protectionLayout(chacha)).toEqual({ ivLength: 8, icvLength: 16, blockLength: 1 });
    expect(protectionKeyLengths({ encryption: 16, keyLength: 128, integrity: 0 }).encryption).toBe(19);
    expect(protectionKeyLengths({ encryption: 11, keyLength: 0, integrity: 14 })).toEqual({
      encryption: 0,
      integrity: 64,
    });
  });

  it('has nothing of an implicit IV in the message, and the same keys (RFC 8750)', () => {
    for (const [implicit, explicit] of [
      [29, 14],
      [30, 20],
      [31, 28],
    ]) {
      const [a, b] = [implicit, explicit].map((encryption) => ({ encryption, keyLength: 256, integrity: 0 }));
      expect(protectionLayout(a)).toEqual({ ...protectionLayout(b), ivLength: 0 });
      expect(protectionKeyLengths(a)).toEqual(protectionKeyLengths(b));
      expect(encryptionOf(implicit).keyLengthAttribute).toBe(encryptionOf(explicit).keyLengthAttribute);
    }
  });

  it('says which ciphers carry the Key Length attribute (rule 46)', () => {
    expect(encryptionOf(EncryptionTransform.AES_CBC).keyLengthAttribute).toBe(true);
    expect(encryptionOf(EncryptionTransform.AES_GCM_16).keyLengthAttribute).toBe(true);
    expect(encryptionOf(EncryptionTransform.CHACHA20_POLY1305).keyLengthAttribute).toBe(false);
  });

  it.each([
    ['an unknown cipher', { encryption: 13, keyLength: 128, integrity: 12 }],
    ['a wrong key length', { encryption: 20, keyLength: 64, integrity: 0 }],
    ['AEAD with an integrity transform', { encryption: 20, keyLength: 128, integrity: 12 }],
    ['CBC without one', { encryption: 12, keyLength: 128, integrity: 0 }],
    ['CBC with an unknown one', { encryption: 12, keyLength: 128, integrity: 1 }],
  ])('refuses %s', (_, suite) => {
    expect(() => protectionKeyLengths(suite)).toThrow(UnsupportedAlgorithm);
  });

  it('refuses unknown transforms by their number', () => {
    expect(() => prfOf(1)).toThrow('pseudorandom function transform 1');
    expect(() => integrityOf(0)).toThrow(UnsupportedAlgorithm);
    expect(() => encryptionOf(0)).toThrow(UnsupportedAlgorithm);
  });
});

describe('prf+', () => {
  const { source, cases } = vectors<{ name: string; key: string; seed: string; output: string }>(
    'crypto-prf-plus',
  );

  it.each(cases)(`${source}: $name`, ({ key, seed, output }) => {
    const sha256 = PrfTransform.HMAC_SHA2_256;
    expect(hex(prfPlus(provider, sha256, fromHex(key), fromHex(seed), output.length / 2))).toBe(output);
  });

  it('is HKDF-Expand for any length', () => {
    const octets = fc.uint8Array({ maxLength: 100 });
    const length = fc.integer({ min: 1, max: 255 * 48 });
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 48, maxLength: 48 }), octets, length, (key, seed, length) => {
        const output = prfPlus(provider, PrfTransform.HMAC_SHA2_384, key, seed, length);
        expect(hex(output)).toBe(hex(expand(sha384, key, seed, length)));
      }),
      { numRuns: 20 },
    );
  });

  it('ends after 255 blocks (rule 23)', () => {
    const key = new Uint8Array(32);
    expect(prfPlus(provider, PrfTransform.HMAC_SHA2_256, key, key, 255 * 32)).toHaveLength(255 * 32);
    expect(() => prfPlus(provider, PrfTransform.HMAC_SHA2_256, key, key, 255 * 32 + 1)).toThrow(RangeError);
    expect(prfPlus(provider, PrfTransform.HMAC_SHA2_256, key, key, 0)).toHaveLength(0);
  });
});

describe('secrets', () => {
  it('compares and overwrites them', () => {
    expect(equalConstantTime(fromHex('0102'), fromHex('0102'))).toBe(true);
    expect(equalConstantTime(fromHex('0102'), fromHex('0103'))).toBe(false);
    expect(equalConstantTime(fromHex('8002'), fromHex('0002'))).toBe(false);
    expect(equalConstantTime(fromHex('01'), fromHex('0102'))).toBe(false);
    const [a, b] = [fromHex('ff'), fromHex('abcd')];
    zero(a, b);
    expect([hex(a), hex(b)]).toEqual(['00', '0000']);
  });
});
