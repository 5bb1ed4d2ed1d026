import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { concat, fromHex } from '../wire/bytes.ts';
import type { RandomSource } from './groups.ts';
import type { SignatureAlgorithm, Signatures, SigningKey } from './provider.ts';
import { drawSigningSecret, expectSigningSecret } from './signing-secret.ts';
import { algorithmOfSpki } from './spki.ts';
import { zero } from './transforms.ts';

/** PKCS #8 (RFC 5208) ahead of the 32-octet secret; the public key is left for OpenSSL to compute. */
const PKCS8: Readonly<Record<SignatureAlgorithm, Uint8Array>> = {
  ed25519: fromHex('302e020100300506032b657004220420'),
  'ecdsa-p256-sha256': fromHex('3041020100301306072a8648ce3d020106082a8648ce3d030107042730250201010420'),
};

export function nodeSignatures(random: RandomSource): Signatures {
  return {
    randomised: true,
    generate: (algorithm) => signingKey(algorithm, drawSigningSecret(algorithm, random)),
    fromSecret: signingKey,
    sign(key, message) {
      const privateKey = privateKeyOf(key.algorithm, key.secret);
      return new Uint8Array(sign(digestOf(key.algorithm), message, privateKey));
    },
    verify(algorithm, publicKey, message, signature) {
      if (algorithmOfSpki(publicKey) !== algorithm) return false;
      try {
        const key = createPublicKey({ key: publicKey as Buffer, format: 'der', type: 'spki' });
        return verify(digestOf(algorithm), message, key, signature);
      } catch {
        return false;
      }
    },
    algorithmOf: algorithmOfSpki,
  };
}

/** Ed25519 hashes by itself. */
function digestOf(algorithm: SignatureAlgorithm): string | null {
  return algorithm === 'ed25519' ? null : 'sha256';
}

function signingKey(algorithm: SignatureAlgorithm, secret: Uint8Array): SigningKey {
  expectSigningSecret(algorithm, secret);
  const publicKey = createPublicKey(privateKeyOf(algorithm, secret)).export({ format: 'der', type: 'spki' });
  return { algorithm, secret: secret.slice(), publicKey: new Uint8Array(publicKey) };
}

function privateKeyOf(algorithm: SignatureAlgorithm, secret: Uint8Array): KeyObject {
  const der = concat(PKCS8[algorithm], secret);
  const key = createPrivateKey({ key: der as Buffer, format: 'der', type: 'pkcs8' });
  zero(der);
  return key;
}
