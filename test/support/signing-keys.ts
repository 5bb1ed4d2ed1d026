import { generateKeyPairSync } from 'node:crypto';
import { encodePkcs8 } from '../../src/crypto/pkcs8.ts';
import type { CryptoProvider, SigningKey } from '../../src/crypto/provider.ts';

/** An RSA key of our provider's. @param bits - of its modulus */
export function rsaKey(crypto: CryptoProvider, bits = 2048): SigningKey {
  return crypto.signatures.fromPkcs8(rsaPkcs8(bits));
}

/** Any RSA key pair; the private key as PKCS #8. */
export function rsaPkcs8(modulusLength: number): Uint8Array {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength });
  return new Uint8Array(privateKey.export({ format: 'der', type: 'pkcs8' }));
}

/** The Ed25519 key whose seed is 32 times `octet`. */
export function ed25519Key(crypto: CryptoProvider, octet: number): SigningKey {
  return crypto.signatures.fromPkcs8(encodePkcs8('ed25519', new Uint8Array(32).fill(octet)));
}
