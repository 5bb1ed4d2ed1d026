import { createPrivateKey } from 'node:crypto';
import type { CryptoProvider, SigningKey } from '../crypto/provider.ts';
import { zero } from '../crypto/transforms.ts';
import { concat, fromHex } from '../wire/bytes.ts';

/** OneAsymmetricKey of Ed25519 ahead of the 32-octet seed (RFC 8410 7). */
const ED25519_PKCS8 = fromHex('302e020100300506032b657004220420');

/** The text of a key file: PEM, PKCS #8 (as "openssl genpkey -algorithm ed25519" writes it). */
export function encodeKeyFile(key: SigningKey): string {
  const der = concat(ED25519_PKCS8, key.secret);
  const text = `-----BEGIN PRIVATE KEY-----\n${Buffer.from(der).toString('base64')}\n-----END PRIVATE KEY-----\n`;
  zero(der);
  return text;
}

/** @throws RangeError if `text` is not the PEM of an unencrypted Ed25519 private key */
export function decodeKeyFile(text: string, crypto: CryptoProvider): SigningKey {
  let secret: Uint8Array;
  try {
    const key = createPrivateKey(text);
    if (key.asymmetricKeyType !== 'ed25519') throw new RangeError(`it is of type ${key.asymmetricKeyType}`);
    secret = new Uint8Array(key.export({ format: 'der', type: 'pkcs8' })).slice(ED25519_PKCS8.length);
  } catch (cause) {
    const why = cause instanceof RangeError ? `: ${cause.message}` : '';
    throw new RangeError(`not the PEM (PKCS #8) of an unencrypted Ed25519 private key${why}`);
  }
  const key = crypto.signatures.fromSecret('ed25519', secret);
  zero(secret);
  return key;
}
