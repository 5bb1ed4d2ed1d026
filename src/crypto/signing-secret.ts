import type { RandomSource } from '../wire/bytes.ts';
import { drawP256Scalar, isP256Scalar } from './groups.ts';
import type { SignatureAlgorithm } from './provider.ts';

/** A fresh secret: an Ed25519 seed or a P-256 scalar, 32 octets. */
export function drawSigningSecret(algorithm: SignatureAlgorithm, random: RandomSource): Uint8Array {
  return algorithm === 'ed25519' ? random(32) : drawP256Scalar(random);
}

/** @throws RangeError if `secret` is not 32 octets, or is not a P-256 scalar */
export function expectSigningSecret(algorithm: SignatureAlgorithm, secret: Uint8Array): void {
  if (secret.length !== 32) throw new RangeError(`a private key has 32 octets, not ${secret.length}`);
  if (algorithm === 'ecdsa-p256-sha256' && !isP256Scalar(secret)) {
    throw new RangeError('a P-256 private key lies between 1 and the order of the group');
  }
}
