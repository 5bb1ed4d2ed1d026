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
  it.each(gcm.cases)(`${gcm.source}: $name`, ({ encryptionKey, iv, plaintext, aad, ciphertext, icv }) => {
    const encryption = fromHex(encryptionKey);
    const suite = { encryption: 20, keyLength: (encryption.length - 4) * 8, integrity: 0 };
    const protector = provider.protector(suite, { encryption, integrity: NONE });
    const text = fromHex(plaintext);
    const tag = new Uint8Array(16);
    protector.seal(fromHex(aad), fromHex(iv), text, tag);
    expect(hex(text) + hex(tag)).toBe(ciphertext + icv);
    expect(protector.open(fromHex(aad), fromHex(iv), text, tag)).toBe(true);
    expect(hex(text)).toBe(plaintext);
  });

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

  const hmac = vectors<{ name: string; key: string; data: string; icv: string }>('crypto-hmac-sha2-256-128');
  it.each(hmac.cases)(`${hmac.source}: $name`, ({ key, data, icv }) => {
    const integrity = fromHex(key);
    const octets = fromHex(data);
    expect(hex(provider.prf(5, integrity, octets)).slice(0, 32)).toBe(icv);
    if (octets.length < 16) return;
    // The IV has the first 16 octets, the suffix the rest.
    const protector = provider.protector(SUITES[0], { encryption: new Uint8Array(16), integrity });
    const opened = protector.open(NONE, octets.subarray(0, 16), NONE, fromHex(icv), octets.subarray(16));
    expect(opened).toBe(true);
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
      packet.icv.set(before.subarray(packet.icv.byteOffset - packet.buffer.byteOffset).subarray(0, 16));
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
      if (octets === undefined) continue;
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
    expect(() => provider.protector(suite, { encryption: encryption.subarray(1), integrity })).toThrow(
      RangeError,
    );
    expect(() => provider.protector(suite, { encryption, integrity: new Uint8Array(5) })).toThrow(RangeError);
  });
});
