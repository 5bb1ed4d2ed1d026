import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nobleProvider } from '../../src/crypto/noble.ts';
import { nodeProvider } from '../../src/crypto/node.ts';
import type { SignatureAlgorithm } from '../../src/crypto/provider.ts';
import { encodeSpki } from '../../src/crypto/spki.ts';
import { fromHex, hex, utf8 } from '../../src/wire/bytes.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { PROVIDERS, vectors } from './providers.ts';

const ALGORITHMS: readonly SignatureAlgorithm[] = ['ed25519', 'ecdsa-p256-sha256'];
const MESSAGE = utf8('InitiatorSignedOctets');

interface Vector {
  readonly source: string;
  readonly algorithm: SignatureAlgorithm;
  readonly secret: string;
  readonly publicKey: string;
  readonly message: string;
  readonly signature?: string;
  readonly r?: string;
  readonly s?: string;
}

/** Ecdsa-Sig-Value, or the Ed25519 signature as it is. */
function signatureOf({ signature, r, s }: Vector): string {
  if (signature !== undefined) return signature;
  const integer = (value: string) => {
    const content = Number.parseInt(value.slice(0, 2), 16) >= 0x80 ? `00${value}` : value;
    return `02${(content.length / 2).toString(16).padStart(2, '0')}${content}`;
  };
  const content = integer(r!) + integer(s!);
  return `30${(content.length / 2).toString(16)}${content}`;
}

describe.each(PROVIDERS)('%s: signatures', (name, provide) => {
  const { signatures } = provide();
  const { cases } = vectors<Vector>('crypto-signatures');

  it.each(cases)('$source', (vector) => {
    const key = signatures.fromSecret(vector.algorithm, fromHex(vector.secret));
    expect(hex(key.publicKey)).toBe(hex(encodeSpki(vector.algorithm, fromHex(vector.publicKey))));
    const message = fromHex(vector.message);
    const signature = fromHex(signatureOf(vector));
    expect(signatures.verify(vector.algorithm, key.publicKey, message, signature)).toBe(true);
    if (vector.algorithm === 'ed25519' || !signatures.randomised) {
      expect(hex(signatures.sign(key, message))).toBe(hex(signature));
    }
  });

  it('says whether replays can repeat them', () => {
    const key = signatures.generate('ecdsa-p256-sha256');
    const [first, second] = [signatures.sign(key, MESSAGE), signatures.sign(key, MESSAGE)];
    expect(hex(first) === hex(second)).toBe(!signatures.randomised);
    expect(signatures.randomised).toBe(name === 'node');
  });

  it.each(ALGORITHMS)('%s: refuses another message, key or signature', (algorithm) => {
    const key = signatures.generate(algorithm);
    const other = signatures.generate(algorithm);
    const signature = signatures.sign(key, MESSAGE);
    expect(signatures.verify(algorithm, key.publicKey, MESSAGE, signature)).toBe(true);
    expect(signatures.verify(algorithm, key.publicKey, MESSAGE.subarray(1), signature)).toBe(false);
    expect(signatures.verify(algorithm, other.publicKey, MESSAGE, signature)).toBe(false);
    for (let i = 0; i < signature.length; i++) {
      const changed = signature.slice();
      changed[i] ^= 1;
      expect(signatures.verify(algorithm, key.publicKey, MESSAGE, changed)).toBe(false);
    }
    expect(signatures.verify(algorithm, key.publicKey, MESSAGE, new Uint8Array(0))).toBe(false);
    expect(signatures.verify(algorithm, key.publicKey, MESSAGE, Uint8Array.from([...signature, 0]))).toBe(
      false,
    );
  });

  it.each(ALGORITHMS)('%s: a key is of that algorithm only', (algorithm) => {
    const key = signatures.generate(algorithm);
    const other = ALGORITHMS.find((name) => name !== algorithm)!;
    expect(signatures.algorithmOf(key.publicKey)).toBe(algorithm);
    expect(signatures.verify(other, key.publicKey, MESSAGE, signatures.sign(key, MESSAGE))).toBe(false);
    expect(signatures.algorithmOf(key.publicKey.subarray(1))).toBeUndefined();
    expect(signatures.algorithmOf(Uint8Array.from([...key.publicKey, 0]))).toBeUndefined();
    expect(signatures.algorithmOf(key.publicKey.with(8, 0x7f))).toBeUndefined();
  });

  it('refuses secrets of another length or out of range', () => {
    const order = fromHex('ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551');
    for (const algorithm of ALGORITHMS) {
      expect(() => signatures.fromSecret(algorithm, new Uint8Array(31))).toThrow(RangeError);
    }
    for (const secret of [new Uint8Array(32), order, new Uint8Array(32).fill(0xff)]) {
      expect(() => signatures.fromSecret('ecdsa-p256-sha256', secret)).toThrow(RangeError);
    }
    expect(signatures.fromSecret('ecdsa-p256-sha256', order.with(31, 0x50)).publicKey).toHaveLength(91);
  });

  it.each(ALGORITHMS)('%s: verify never throws', (algorithm) => {
    const { publicKey } = signatures.generate(algorithm);
    const headLength = publicKey.length - (algorithm === 'ed25519' ? 32 : 64);
    const keys = fc.oneof(
      fc.uint8Array({ maxLength: 100 }),
      fc.uint8Array({ minLength: 64, maxLength: 64 }).map((octets) => {
        const key = publicKey.slice();
        key.set(octets.subarray(0, key.length - headLength), headLength);
        return key;
      }),
      fc.constant(publicKey),
    );
    fc.assert(
      fc.property(keys, fc.uint8Array(), fc.uint8Array({ maxLength: 80 }), (key, message, signature) => {
        expect(signatures.verify(algorithm, key, message, signature)).toBe(false);
      }),
      { numRuns: 100 },
    );
  });
});

describe.each(ALGORITHMS)('%s between providers', (algorithm) => {
  it('gives the same keys from the same random octets, and verifies', () => {
    for (let seed = 1; seed <= 5; seed++) {
      const noble = nobleProvider(seededRandom(seed)).signatures;
      const node = nodeProvider(seededRandom(seed)).signatures;
      const key = noble.generate(algorithm);
      expect(node.generate(algorithm)).toEqual(key);
      expect(node.verify(algorithm, key.publicKey, MESSAGE, noble.sign(key, MESSAGE))).toBe(true);
      expect(noble.verify(algorithm, key.publicKey, MESSAGE, node.sign(key, MESSAGE))).toBe(true);
    }
  });
});
