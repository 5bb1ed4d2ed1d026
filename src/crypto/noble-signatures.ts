import { ed25519 } from '@noble/curves/ed25519.js';
import { p256, p384, p521 } from '@noble/curves/nist.js';
import { sha1 } from '@noble/hashes/legacy.js';
import { sha256, sha384, sha512 } from '@noble/hashes/sha2.js';
import { concat, type RandomSource } from '../wire/bytes.ts';
import { drawPkcs8, normalisePkcs8, secretOf } from './pkcs8.ts';
import {
  type KeyType,
  type SignatureScheme,
  type Signatures,
  type SigningKey,
  UnsupportedAlgorithm,
} from './provider.ts';
import { expectSignsBy, signsBy } from './signature-scheme.ts';
import { CURVE_KEY_TYPES } from './signing-curves.ts';
import { decodeSpki, encodeSpki } from './spki.ts';

const CURVES = { 'ecdsa-p256': p256, 'ecdsa-p384': p384, 'ecdsa-p521': p521 };
const HASHES = { sha1, sha256, sha384, sha512 };

type EcdsaScheme = Extract<SignatureScheme, { readonly kind: 'ecdsa' }>;

/** Ed25519 and ECDSA. There is no RSA: BigInt takes a time that depends on what it computes. */
export function nobleSignatures(random: RandomSource): Signatures {
  return {
    randomised: false,
    keyTypes: CURVE_KEY_TYPES,
    generate: (type) => signingKey(drawPkcs8(type, random)),
    fromPkcs8: signingKey,
    sign(key, scheme, message) {
      expectSignsBy(key.type, scheme);
      if (scheme.kind !== 'ecdsa') return ed25519.sign(message, secretOf(key));
      return curveOf(key.type).sign(digest(scheme, message), secretOf(key), options(scheme));
    },
    verify(scheme, publicKey, message, signature) {
      const key = decodeSpki(publicKey);
      if (key === undefined || key.type === 'rsa' || !signsBy(key.type, scheme)) return false;
      try {
        if (scheme.kind !== 'ecdsa') return ed25519.verify(signature, message, key.value, { zip215: false });
        const point = concat(Uint8Array.of(4), key.value);
        return curveOf(key.type).verify(signature, digest(scheme, message), point, options(scheme));
      } catch {
        return false;
      }
    },
    keyTypeOf(publicKey) {
      const type = decodeSpki(publicKey)?.type;
      return type === 'rsa' ? undefined : type;
    },
  };
}

/** Either s is valid (RFC 3279 2.2.3), so that neither signer nor verifier prefers the low one. */
function options({ encoding }: EcdsaScheme) {
  return { format: encoding === 'der' ? 'der' : 'compact', lowS: false, prehash: false } as const;
}

function digest({ hash }: EcdsaScheme, message: Uint8Array): Uint8Array {
  return HASHES[hash](message);
}

/** @param type - of ECDSA */
function curveOf(type: KeyType) {
  return CURVES[type as keyof typeof CURVES];
}

function signingKey(pkcs8: Uint8Array): SigningKey {
  const { type, der } = normalisePkcs8(pkcs8);
  if (type === 'rsa')
    throw new UnsupportedAlgorithm('the pure TypeScript provider has no RSA; node:crypto has');
  const key: SigningKey = { type, secret: der, publicKey: new Uint8Array(0) };
  const value =
    type === 'ed25519'
      ? ed25519.getPublicKey(secretOf(key))
      : curveOf(type).getPublicKey(secretOf(key), false).subarray(1);
  return { ...key, publicKey: encodeSpki(type, value) };
}
