import { ed25519 } from '@noble/curves/ed25519.js';
import { p256 } from '@noble/curves/nist.js';
import { concat, type RandomSource } from '../wire/bytes.ts';
import type { SignatureAlgorithm, Signatures, SigningKey } from './provider.ts';
import { drawSigningSecret, expectSigningSecret } from './signing-secret.ts';
import { algorithmOfSpki, decodeSpki, encodeSpki } from './spki.ts';

/** Ecdsa-Sig-Value (RFC 3279 2.2.3); either s is valid, so that neither signer nor verifier prefers the low one. */
const ECDSA = { format: 'der', lowS: false } as const;

export function nobleSignatures(random: RandomSource): Signatures {
  return {
    randomised: false,
    generate: (algorithm) => signingKey(algorithm, drawSigningSecret(algorithm, random)),
    fromSecret: signingKey,
    sign({ algorithm, secret }, message) {
      return algorithm === 'ed25519' ? ed25519.sign(message, secret) : p256.sign(message, secret, ECDSA);
    },
    verify(algorithm, publicKey, message, signature) {
      const key = decodeSpki(algorithm, publicKey);
      if (key === undefined) return false;
      try {
        return algorithm === 'ed25519'
          ? ed25519.verify(signature, message, key, { zip215: false })
          : p256.verify(signature, message, concat(Uint8Array.of(4), key), ECDSA);
      } catch {
        return false;
      }
    },
    algorithmOf: algorithmOfSpki,
  };
}

function signingKey(algorithm: SignatureAlgorithm, secret: Uint8Array): SigningKey {
  expectSigningSecret(algorithm, secret);
  const key =
    algorithm === 'ed25519' ? ed25519.getPublicKey(secret) : p256.getPublicKey(secret, false).subarray(1);
  return { algorithm, secret: secret.slice(), publicKey: encodeSpki(algorithm, key) };
}
