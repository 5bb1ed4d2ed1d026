import { concat, equalBytes, fromHex } from '../wire/bytes.ts';
import type { SignatureAlgorithm } from './provider.ts';

/**
 * SubjectPublicKeyInfo (RFC 7670) of our two algorithms: a fixed DER prefix and the key. Ed25519: RFC 8410; P-256: RFC 5480,
 * named curve, uncompressed point (the prefix ends with its 0x04).
 */
const FORMS: Readonly<
  Record<SignatureAlgorithm, { readonly prefix: Uint8Array; readonly keyLength: number }>
> = {
  ed25519: { prefix: fromHex('302a300506032b6570032100'), keyLength: 32 },
  'ecdsa-p256-sha256': {
    prefix: fromHex('3059301306072a8648ce3d020106082a8648ce3d03010703420004'),
    keyLength: 64,
  },
};

/** @param key - Ed25519: 32 octets; P-256: x | y, 64 octets */
export function encodeSpki(algorithm: SignatureAlgorithm, key: Uint8Array): Uint8Array {
  return concat(FORMS[algorithm].prefix, key);
}

/** The key inside, as `encodeSpki` takes it; undefined for any other octets. Whether a point is on the curve is not checked. */
export function decodeSpki(algorithm: SignatureAlgorithm, spki: Uint8Array): Uint8Array | undefined {
  const { prefix, keyLength } = FORMS[algorithm];
  if (spki.length !== prefix.length + keyLength) return undefined;
  return equalBytes(spki.subarray(0, prefix.length), prefix) ? spki.subarray(prefix.length) : undefined;
}

/** The algorithm of an SPKI key; undefined if it is of none of ours. */
export function algorithmOfSpki(spki: Uint8Array): SignatureAlgorithm | undefined {
  for (const algorithm of ['ed25519', 'ecdsa-p256-sha256'] as const) {
    if (decodeSpki(algorithm, spki) !== undefined) return algorithm;
  }
  return undefined;
}
