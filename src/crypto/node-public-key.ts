import { createPublicKey, type KeyObject } from 'node:crypto';

/**
 * Public keys go in and out of node:crypto as JSON Web Keys (RFC 8037, RFC 7518 6.2): OpenSSL's DER decoder takes ten times as
 * long. Secrets do not: strings cannot be overwritten.
 */
export type Curve = 'X25519' | 'Ed25519' | 'P-256';

/** @param value - u or A (32 octets), or x | y of P-256 (64 octets). @throws Error if it is not on the curve */
export function publicKeyFrom(curve: Curve, value: Uint8Array): KeyObject {
  const [x, y] = [value.subarray(0, 32), value.subarray(32)].map((half) =>
    Buffer.from(half).toString('base64url'),
  );
  const key = curve === 'P-256' ? { kty: 'EC', crv: curve, x, y } : { kty: 'OKP', crv: curve, x };
  return createPublicKey({ key, format: 'jwk' });
}

/** The public value, as `publicKeyFrom` takes it, of a private key. */
export function publicValueOf(privateKey: KeyObject): Uint8Array {
  const { x = '', y = '' } = createPublicKey(privateKey).export({ format: 'jwk' });
  return Uint8Array.from([...Buffer.from(x, 'base64url'), ...Buffer.from(y, 'base64url')]);
}
