import { createPrivateKey } from 'node:crypto';
import type { CryptoProvider, SigningKey } from '../crypto/provider.ts';
import { zero } from '../crypto/transforms.ts';

/** The text of a key file: PEM, PKCS #8 (as "openssl genpkey -algorithm ed25519" writes it). */
export function encodeKeyFile({ secret }: SigningKey): string {
  return `-----BEGIN PRIVATE KEY-----\n${Buffer.from(secret).toString('base64')}\n-----END PRIVATE KEY-----\n`;
}

/** @throws RangeError if `text` is not the PEM of an unencrypted Ed25519 private key */
export function decodeKeyFile(text: string, crypto: CryptoProvider): SigningKey {
  let der: Uint8Array;
  try {
    const key = createPrivateKey(text);
    if (key.asymmetricKeyType !== 'ed25519') throw new RangeError(`it is of type ${key.asymmetricKeyType}`);
    der = new Uint8Array(key.export({ format: 'der', type: 'pkcs8' }));
  } catch (cause) {
    const why = cause instanceof RangeError ? `: ${cause.message}` : '';
    throw new RangeError(`not the PEM (PKCS #8) of an unencrypted Ed25519 private key${why}`);
  }
  const key = crypto.signatures.fromPkcs8(der);
  zero(der);
  return key;
}
