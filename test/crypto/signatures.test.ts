import { createPrivateKey, generateKeyPairSync } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DerTag, encodeDer } from '../../src/crypto/der.ts';
import { nobleProvider } from '../../src/crypto/noble.ts';
import { nodeProvider } from '../../src/crypto/node.ts';
import { encodePkcs8 } from '../../src/crypto/pkcs8.ts';
import { type SignatureScheme, UnsupportedAlgorithm } from '../../src/crypto/provider.ts';
import { ED25519 } from '../../src/crypto/signature-scheme.ts';
import {
  CURVE_KEY_TYPES,
  type CurveKeyType,
  isSecretOf,
  SIGNING_CURVES,
} from '../../src/crypto/signing-curves.ts';
import { encodeSpki } from '../../src/crypto/spki.ts';
import { concat, fromHex, hex, utf8 } from '../../src/wire/bytes.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { rsaPkcs8 } from '../support/signing-keys.ts';
import { PROVIDERS, vectors } from './providers.ts';

const MESSAGE = utf8('InitiatorSignedOctets');
const ecdsa = (hash: 'sha256' | 'sha384' | 'sha512', encoding: 'der' | 'fixed') =>
  ({ kind: 'ecdsa', hash, encoding }) as const;
/** Every curve with one of its schemes. */
const CURVES: readonly (readonly [CurveKeyType, SignatureScheme])[] = [
  ['ed25519', ED25519],
  ['ecdsa-p256', ecdsa('sha256', 'der')],
  ['ecdsa-p256', ecdsa('sha512', 'fixed')],
  ['ecdsa-p384', ecdsa('sha384', 'der')],
  ['ecdsa-p384', ecdsa('sha256', 'fixed')],
  ['ecdsa-p521', ecdsa('sha512', 'der')],
  ['ecdsa-p521', ecdsa('sha512', 'fixed')],
];
const RSA: readonly SignatureScheme[] = (['rsa-pkcs1', 'rsa-pss'] as const).flatMap((kind) =>
  (['sha1', 'sha256', 'sha384', 'sha512'] as const).map((hash) => ({ kind, hash })),
);
const rsa = rsaPkcs8(2048);

interface Vector {
  readonly source: string;
  readonly type: CurveKeyType;
  readonly hash?: 'sha256' | 'sha384' | 'sha512';
  /** Whether the signature's secret number is that of RFC 6979. */
  readonly repeatable?: boolean;
  readonly secret: string;
  readonly publicKey: string;
  readonly message: string;
  readonly signature?: string;
  readonly r?: string;
  readonly s?: string;
}

/** Ecdsa-Sig-Value of two big-endian numbers. */
function derSignature(r: Uint8Array, s: Uint8Array): Uint8Array {
  const integer = (value: Uint8Array) => {
    const start = value.findIndex((octet) => octet !== 0);
    const digits = start < 0 ? Uint8Array.of(0) : value.subarray(start);
    return encodeDer(DerTag.INTEGER, digits[0] >= 0x80 ? Uint8Array.of(0) : new Uint8Array(0), digits);
  };
  return encodeDer(DerTag.SEQUENCE, integer(r), integer(s));
}

describe.each(PROVIDERS)('%s: signatures', (name, provide) => {
  const { signatures } = provide();
  const { cases } = vectors<Vector>('crypto-signatures');

  it.each(cases)('$source', (vector) => {
    const { type } = vector;
    const key = signatures.fromPkcs8(encodePkcs8(type, fromHex(vector.secret)));
    expect(hex(key.publicKey)).toBe(hex(encodeSpki(type, fromHex(vector.publicKey))));
    const message = fromHex(vector.message);
    if (vector.signature !== undefined) {
      expect(signatures.verify(ED25519, key.publicKey, message, fromHex(vector.signature))).toBe(true);
      expect(hex(signatures.sign(key, ED25519, message))).toBe(vector.signature);
      return;
    }
    const [der, fixed] = [ecdsa(vector.hash!, 'der'), ecdsa(vector.hash!, 'fixed')];
    const [r, s] = [fromHex(vector.r!), fromHex(vector.s!)];
    expect(signatures.verify(der, key.publicKey, message, derSignature(r, s))).toBe(true);
    expect(signatures.verify(fixed, key.publicKey, message, concat(r, s))).toBe(true);
    expect(signatures.sign(key, fixed, message)).toHaveLength(r.length * 2);
    if (vector.repeatable && !signatures.randomised) {
      expect(signatures.sign(key, der, message)).toEqual(derSignature(r, s));
    }
  });

  it('says whether replays can repeat them', () => {
    const key = signatures.generate('ecdsa-p256');
    const sign = () => hex(signatures.sign(key, ecdsa('sha256', 'der'), MESSAGE));
    expect(new Set([sign(), sign()]).size).toBe(signatures.randomised ? 2 : 1);
    expect(signatures.randomised).toBe(name === 'node');
  });

  it.each(CURVES)('%s: refuses another message, key or signature (%o)', (type, scheme) => {
    const key = signatures.generate(type);
    const other = signatures.generate(type);
    const signature = signatures.sign(key, scheme, MESSAGE);
    expect(signatures.verify(scheme, key.publicKey, MESSAGE, signature)).toBe(true);
    expect(signatures.verify(scheme, key.publicKey, MESSAGE.subarray(1), signature)).toBe(false);
    expect(signatures.verify(scheme, other.publicKey, MESSAGE, signature)).toBe(false);
    for (let i = 0; i < signature.length; i += Math.ceil(signature.length / 6)) {
      const changed = signature.with(i, signature[i] ^ 1);
      expect(signatures.verify(scheme, key.publicKey, MESSAGE, changed)).toBe(false);
    }
    for (const wrong of [
      new Uint8Array(0),
      concat(signature, Uint8Array.of(0)),
      signature.subarray(1),
      signature.subarray(0, -1),
      new Uint8Array(signature.length),
    ]) {
      expect(signatures.verify(scheme, key.publicKey, MESSAGE, wrong)).toBe(false);
    }
  });

  it.each(['ecdsa-p256', 'ecdsa-p384', 'ecdsa-p521'] as const)(
    '%s: r and s lie between 1 and the order, and DER is DER (bad input 10)',
    (type) => {
      const key = signatures.generate(type);
      const order = SIGNING_CURVES[type].order!;
      const width = order.length;
      const [zero, one] = [new Uint8Array(width), new Uint8Array(width).with(-1, 1)];
      const [der, fixed] = [ecdsa('sha256', 'der'), ecdsa('sha256', 'fixed')];
      const refused = (scheme: SignatureScheme, signature: Uint8Array) =>
        expect(signatures.verify(scheme, key.publicKey, MESSAGE, signature)).toBe(false);
      const values = [zero, one, order, order.with(-1, order.at(-1)! - 1), new Uint8Array(width).fill(0xff)];
      for (const r of values) {
        for (const s of values) {
          refused(der, derSignature(r, s));
          refused(fixed, concat(r, s));
        }
      }
      const signature = signatures.sign(key, fixed, MESSAGE);
      const [r, s] = [signature.subarray(0, width), signature.subarray(width)];
      expect(signatures.verify(der, key.publicKey, MESSAGE, derSignature(r, s))).toBe(true);
      const padded = (value: Uint8Array) => encodeDer(DerTag.INTEGER, new Uint8Array(2), value);
      refused(der, encodeDer(DerTag.SEQUENCE, padded(r), padded(s)));
      const whole = derSignature(r, s);
      refused(der, concat(whole, Uint8Array.of(5, 0)));
      refused(der, whole.with(0, 0x31));
      const header = whole[1] === 0x81 ? 3 : 2;
      // The same in BER: a longer form of the length, and the indefinite one.
      refused(der, concat(fromHex('308200'), Uint8Array.of(whole.length - header), whole.subarray(header)));
      refused(der, concat(fromHex('3080'), whole.subarray(header), fromHex('0000')));
      refused(fixed, whole);
      refused(der, signature);
      refused(fixed, concat(zero.subarray(0, 1), r, zero.subarray(0, 1), s));
    },
  );

  it('ed25519: a signature has 64 octets and s is less than the order (bad input 10)', () => {
    const key = signatures.generate('ed25519');
    const signature = signatures.sign(key, ED25519, MESSAGE);
    const order = BigInt('0x1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3ed');
    const s = BigInt(`0x${hex(signature.slice(32).reverse())}`) + order;
    const malleable = concat(signature.subarray(0, 32), fromHex(s.toString(16).padStart(64, '0')).reverse());
    for (const wrong of [malleable, ...[0, 1, 32, 63, 65, 128].map((length) => new Uint8Array(length))]) {
      expect(signatures.verify(ED25519, key.publicKey, MESSAGE, wrong)).toBe(false);
    }
  });

  it.each(CURVES)('a key of type %s is of that type only', (type, scheme) => {
    const key = signatures.generate(type);
    expect(signatures.keyTypeOf(key.publicKey)).toBe(type);
    const signature = signatures.sign(key, scheme, MESSAGE);
    for (const other of [...CURVES.map(([, scheme]) => scheme), ...RSA]) {
      if (other.kind === scheme.kind) continue;
      expect(signatures.verify(other, key.publicKey, MESSAGE, signature)).toBe(false);
      expect(() => signatures.sign(key, other, MESSAGE)).toThrow(UnsupportedAlgorithm);
    }
    expect(signatures.keyTypeOf(key.publicKey.subarray(1))).toBeUndefined();
    expect(signatures.keyTypeOf(Uint8Array.from([...key.publicKey, 0]))).toBeUndefined();
    expect(signatures.keyTypeOf(key.publicKey.with(10, 0x7f))).toBeUndefined();
  });

  it.each(CURVE_KEY_TYPES)('loads keys of type %s that OpenSSL wrote', (type) => {
    const { privateKey, publicKey } =
      type === 'ed25519'
        ? generateKeyPairSync('ed25519')
        : generateKeyPairSync('ec', { namedCurve: { 6: 'P-256', 4: 'P-384', 1: 'P-521' }[type.at(-1)!]! });
    const pkcs8 = new Uint8Array(privateKey.export({ format: 'der', type: 'pkcs8' }));
    const key = signatures.fromPkcs8(pkcs8);
    expect(key.type).toBe(type);
    expect(hex(key.publicKey)).toBe(publicKey.export({ format: 'der', type: 'spki' }).toString('hex'));
    expect(signatures.fromPkcs8(key.secret)).toEqual(key);
    const again = createPrivateKey({ key: Buffer.from(key.secret), format: 'der', type: 'pkcs8' });
    expect(again.equals(privateKey)).toBe(true);
  });

  it('refuses secrets of another length or out of range, and what is not PKCS #8', () => {
    for (const [type] of CURVES) {
      const { secretLength, order } = SIGNING_CURVES[type];
      const wrong: Uint8Array[] = [
        new Uint8Array(secretLength - 1).fill(1),
        new Uint8Array(secretLength + 1).fill(1),
      ];
      if (order !== undefined)
        wrong.push(
          order,
          new Uint8Array(secretLength),
          order.map(() => 0xff),
        );
      for (const secret of wrong) {
        expect(() => signatures.fromPkcs8(encodePkcs8(type, secret))).toThrow(RangeError);
      }
      if (order === undefined) continue;
      const last = order.with(-1, order.at(-1)! - 1);
      expect(signatures.fromPkcs8(encodePkcs8(type, last)).type).toBe(type);
    }
    const good = encodePkcs8('ecdsa-p256', new Uint8Array(32).fill(1));
    for (const wrong of [
      good.subarray(1),
      good.subarray(0, -1),
      concat(good, Uint8Array.of(0)),
      utf8('PEM'),
    ]) {
      expect(() => signatures.fromPkcs8(wrong)).toThrow(RangeError);
    }
    const dsa = generateKeyPairSync('ed448').privateKey.export({ format: 'der', type: 'pkcs8' });
    expect(() => signatures.fromPkcs8(new Uint8Array(dsa))).toThrow('not an unencrypted PKCS #8');
  });

  it.each(CURVES)('%s: verify never throws (%o)', (type, scheme) => {
    const { publicKey } = signatures.generate(type);
    const keys = fc.oneof(
      fc.uint8Array({ maxLength: 100 }),
      fc.nat(publicKey.length - 1).map((at) => publicKey.with(at, publicKey[at] ^ 0x55)),
      fc.constant(publicKey),
    );
    fc.assert(
      fc.property(keys, fc.uint8Array(), fc.uint8Array({ maxLength: 150 }), (key, message, signature) => {
        expect(signatures.verify(scheme, key, message, signature)).toBe(false);
      }),
      { numRuns: 30 },
    );
  });
});

describe.each(['ed25519', 'ecdsa-p256', 'ecdsa-p384', 'ecdsa-p521'] as const)(
  '%s between providers',
  (type) => {
    it('gives the same keys from the same random octets, and verifies', () => {
      for (let seed = 1; seed <= 3; seed++) {
        const noble = nobleProvider(seededRandom(seed)).signatures;
        const node = nodeProvider(seededRandom(seed)).signatures;
        const key = noble.generate(type);
        expect(node.generate(type)).toEqual(key);
        expect(isSecretOf(SIGNING_CURVES[type], key.secret.slice(-SIGNING_CURVES[type].secretLength))).toBe(
          true,
        );
        for (const [, scheme] of CURVES.filter(([of]) => of === type)) {
          expect(node.verify(scheme, key.publicKey, MESSAGE, noble.sign(key, scheme, MESSAGE))).toBe(true);
          expect(noble.verify(scheme, key.publicKey, MESSAGE, node.sign(key, scheme, MESSAGE))).toBe(true);
        }
      }
    });
  },
);

describe('RSA', () => {
  const { signatures } = nodeProvider();
  const key = signatures.fromPkcs8(rsa);

  it.each(RSA)('signs and verifies: %o', (scheme) => {
    const signature = signatures.sign(key, scheme, MESSAGE);
    expect(signatures.verify(scheme, key.publicKey, MESSAGE, signature)).toBe(true);
    expect(signatures.verify(scheme, key.publicKey, MESSAGE.subarray(1), signature)).toBe(false);
    for (const other of RSA.filter((one) => one !== scheme)) {
      expect(signatures.verify(other, key.publicKey, MESSAGE, signature)).toBe(false);
    }
    for (const wrong of [signature.subarray(1), concat(signature, Uint8Array.of(0)), new Uint8Array(0)]) {
      expect(signatures.verify(scheme, key.publicKey, MESSAGE, wrong)).toBe(false);
    }
  });

  it('takes keys of 2048 to 8192 bits with a sensible exponent only (bad input 10)', () => {
    const modulus = new Uint8Array(256).fill(0xff);
    const spki = (n: Uint8Array, e: Uint8Array) =>
      encodeDer(
        DerTag.SEQUENCE,
        fromHex('300d06092a864886f70d0101010500'),
        encodeDer(
          DerTag.BIT_STRING,
          Uint8Array.of(0),
          encodeDer(
            DerTag.SEQUENCE,
            encodeDer(DerTag.INTEGER, Uint8Array.of(0), n),
            encodeDer(DerTag.INTEGER, e),
          ),
        ),
      );
    const typeOf = (n: Uint8Array, e: string) => signatures.keyTypeOf(spki(n, fromHex(e)));
    expect(typeOf(modulus, '010001')).toBe('rsa');
    expect(typeOf(modulus, '03')).toBe('rsa');
    expect(typeOf(new Uint8Array(1024).fill(0xff), '010001')).toBe('rsa');
    for (const exponent of ['00', '01', '02', '04', '010000', 'ff', '0003', '0100000001', '']) {
      expect(typeOf(modulus, exponent)).toBeUndefined();
      expect(signatures.verify(RSA[1], spki(modulus, fromHex(exponent)), MESSAGE, modulus)).toBe(false);
    }
    const wrong = [
      new Uint8Array(64).fill(0xff),
      new Uint8Array(255).fill(0xff),
      modulus.with(0, 0x7f),
      modulus.with(-1, 0xfe),
      new Uint8Array(1025).fill(0xff),
      new Uint8Array(0),
    ];
    for (const n of wrong) expect(typeOf(n, '010001')).toBeUndefined();
    expect(() => signatures.fromPkcs8(rsaPkcs8(1024))).toThrow('an RSA key has 2048');
  });

  it('is not in the pure TypeScript provider', () => {
    const { signatures: noble } = nobleProvider();
    expect(() => noble.fromPkcs8(rsa)).toThrow(UnsupportedAlgorithm);
    expect(noble.keyTypeOf(key.publicKey)).toBeUndefined();
    const signature = signatures.sign(key, RSA[1], MESSAGE);
    expect(noble.verify(RSA[1], key.publicKey, MESSAGE, signature)).toBe(false);
  });
});
