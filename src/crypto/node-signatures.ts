import { constants, createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import type { RandomSource } from '../wire/bytes.ts';
import { type Curve, publicKeyFrom, rsaPublicKeyFrom } from './node-public-key.ts';
import { drawPkcs8, normalisePkcs8 } from './pkcs8.ts';
import type { SignatureScheme, Signatures, SigningKey } from './provider.ts';
import { expectSignsBy, signsBy } from './signature-scheme.ts';
import { CURVE_KEY_TYPES, type CurveKeyType } from './signing-curves.ts';
import { decodeSpki, type PublicKey } from './spki.ts';

const CURVES: Readonly<Record<CurveKeyType, Curve>> = {
  ed25519: 'Ed25519',
  'ecdsa-p256': 'P-256',
  'ecdsa-p384': 'P-384',
  'ecdsa-p521': 'P-521',
};

/** Importing a private key takes OpenSSL longer than to sign with it. */
const privateKeys = new WeakMap<SigningKey, KeyObject>();

export function nodeSignatures(random: RandomSource): Signatures {
  return {
    randomised: true,
    keyTypes: [...CURVE_KEY_TYPES, 'rsa'],
    generate: (type) => signingKey(drawPkcs8(type, random)),
    fromPkcs8: signingKey,
    sign(key, scheme, message) {
      expectSignsBy(key.type, scheme);
      const privateKey = privateKeys.get(key) ?? privateKeyOf(key.secret);
      privateKeys.set(key, privateKey);
      return new Uint8Array(sign(hashOf(scheme), message, { key: privateKey, ...optionsOf(scheme) }));
    },
    verify(scheme, publicKey, message, signature) {
      const key = decodeSpki(publicKey);
      if (key === undefined || !signsBy(key.type, scheme)) return false;
      try {
        return verify(hashOf(scheme), message, { key: keyObjectOf(key), ...optionsOf(scheme) }, signature);
      } catch {
        return false;
      }
    },
    keyTypeOf: (publicKey) => decodeSpki(publicKey)?.type,
  };
}

/** Ed25519 hashes by itself. */
function hashOf(scheme: SignatureScheme): string | null {
  return scheme.kind === 'ed25519' ? null : scheme.hash;
}

function optionsOf(scheme: SignatureScheme) {
  switch (scheme.kind) {
    case 'ed25519':
      return {};
    case 'ecdsa':
      return { dsaEncoding: scheme.encoding === 'der' ? 'der' : 'ieee-p1363' } as const;
    case 'rsa-pkcs1':
      return { padding: constants.RSA_PKCS1_PADDING };
    case 'rsa-pss':
      return { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST };
  }
}

function keyObjectOf(key: PublicKey): KeyObject {
  return key.type === 'rsa'
    ? rsaPublicKeyFrom(key.modulus, key.exponent)
    : publicKeyFrom(CURVES[key.type], key.value);
}

function signingKey(pkcs8: Uint8Array): SigningKey {
  const { type, der } = normalisePkcs8(pkcs8);
  let privateKey: KeyObject;
  try {
    privateKey = privateKeyOf(der);
  } catch {
    throw new RangeError(`not a private key of type ${type}`);
  }
  const publicKey = new Uint8Array(createPublicKey(privateKey).export({ format: 'der', type: 'spki' }));
  if (decodeSpki(publicKey) === undefined) {
    throw new RangeError('an RSA key has 2048 to 8192 bits and an odd public exponent of 3 or more');
  }
  const key = { type, secret: der, publicKey };
  privateKeys.set(key, privateKey);
  return key;
}

function privateKeyOf(der: Uint8Array): KeyObject {
  return createPrivateKey({ key: der as Buffer, format: 'der', type: 'pkcs8' });
}
