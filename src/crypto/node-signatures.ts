import { createPrivateKey, type KeyObject, sign, verify } from 'node:crypto';
import { concat, fromHex, type RandomSource } from '../wire/bytes.ts';
import { type Curve, publicKeyFrom, publicValueOf } from './node-public-key.ts';
import type { SignatureAlgorithm, Signatures, SigningKey } from './provider.ts';
import { drawSigningSecret, expectSigningSecret } from './signing-secret.ts';
import { algorithmOfSpki, decodeSpki, encodeSpki } from './spki.ts';
import { zero } from './transforms.ts';

interface NodeAlgorithm {
  readonly curve: Curve;
  /** Ed25519 hashes by itself. */
  readonly hash: string | null;
  /** PKCS #8 (RFC 5208) ahead of the 32-octet secret; the public key is left for OpenSSL to compute. */
  readonly pkcs8: Uint8Array;
}

const ALGORITHMS: Readonly<Record<SignatureAlgorithm, NodeAlgorithm>> = {
  ed25519: { curve: 'Ed25519', hash: null, pkcs8: fromHex('302e020100300506032b657004220420') },
  'ecdsa-p256-sha256': {
    curve: 'P-256',
    hash: 'sha256',
    pkcs8: fromHex('3041020100301306072a8648ce3d020106082a8648ce3d030107042730250201010420'),
  },
};

/** Importing a private key takes OpenSSL longer than to sign with it. */
const privateKeys = new WeakMap<SigningKey, KeyObject>();

export function nodeSignatures(random: RandomSource): Signatures {
  return {
    randomised: true,
    generate: (algorithm) => signingKey(algorithm, drawSigningSecret(algorithm, random)),
    fromSecret: signingKey,
    sign(key, message) {
      const privateKey = privateKeys.get(key) ?? privateKeyOf(key.algorithm, key.secret);
      privateKeys.set(key, privateKey);
      return new Uint8Array(sign(ALGORITHMS[key.algorithm].hash, message, privateKey));
    },
    verify(algorithm, publicKey, message, signature) {
      const value = decodeSpki(algorithm, publicKey);
      if (value === undefined) return false;
      const { curve, hash } = ALGORITHMS[algorithm];
      try {
        return verify(hash, message, publicKeyFrom(curve, value), signature);
      } catch {
        return false;
      }
    },
    algorithmOf: algorithmOfSpki,
  };
}

function signingKey(algorithm: SignatureAlgorithm, secret: Uint8Array): SigningKey {
  expectSigningSecret(algorithm, secret);
  const privateKey = privateKeyOf(algorithm, secret);
  const publicKey = encodeSpki(algorithm, publicValueOf(privateKey));
  const key = { algorithm, secret: secret.slice(), publicKey };
  privateKeys.set(key, privateKey);
  return key;
}

function privateKeyOf(algorithm: SignatureAlgorithm, secret: Uint8Array): KeyObject {
  const der = concat(ALGORITHMS[algorithm].pkcs8, secret);
  const key = createPrivateKey({ key: der as Buffer, format: 'der', type: 'pkcs8' });
  zero(der);
  return key;
}
