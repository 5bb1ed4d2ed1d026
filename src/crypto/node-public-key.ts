import { createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto';
import { concat } from '../wire/bytes.ts';

/**
 * Public keys go in and out of node:crypto as JSON Web Keys (RFC 8037, RFC 7518 6.2, 6.3): OpenSSL's DER decoder takes ten
 * times as long. Secrets do not: strings cannot be overwritten.
 */
export type Curve = 'X25519' | 'Ed25519' | 'P-256' | 'P-384' | 'P-521';

/** @param value - u or A (32 octets), or x | y of the others. @throws Error if it is not on the curve */
export function publicKeyFrom(curve: Curve, value: Uint8Array): KeyObject {
  const isPoint = curve.startsWith('P-');
  const half = isPoint ? value.length / 2 : value.length;
  const x = text(value.subarray(0, half));
  const key = isPoint
    ? { kty: 'EC', crv: curve, x, y: text(value.subarray(half)) }
    : { kty: 'OKP', crv: curve, x };
  return createPublicKey({ key, format: 'jwk' });
}

/** @throws Error if OpenSSL makes nothing of it */
export function rsaPublicKeyFrom(modulus: Uint8Array, exponent: Uint8Array): KeyObject {
  return createPublicKey({ key: { kty: 'RSA', n: text(modulus), e: text(exponent) }, format: 'jwk' });
}

/** The public value, as `publicKeyFrom` takes it, of a private key that was imported. */
export function publicValueOf(privateKey: KeyObject): Uint8Array {
  return valueOfJwk(createPublicKey(privateKey).export({ format: 'jwk' }));
}

/** The public value in a JSON Web Key. */
export function valueOfJwk({ x = '', y = '' }: JsonWebKey): Uint8Array {
  return concat(Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url'));
}

function text(octets: Uint8Array): string {
  return Buffer.from(octets).toString('base64url');
}
