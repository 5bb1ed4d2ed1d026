import { UnsupportedAlgorithm } from '../../crypto/provider.ts';
import { type Encryption, encryptionOf, integrityOf, protectionKeyLengths } from '../../crypto/transforms.ts';
import type { EspSuite } from '../../link/sa-store.ts';
import type { XfrmAlgorithms } from './model.ts';

/** Templates of the kernel's crypto interface. The key of an AEAD cipher ends with its salt, as in KEYMAT. */
const AEAD: Readonly<Partial<Record<Encryption['mode'], string>>> = {
  gcm: 'rfc4106(gcm(aes))',
  ccm: 'rfc4309(ccm(aes))',
  'chacha20-poly1305': 'rfc7539esp(chacha20,poly1305)',
};

const CIPHERS: Readonly<Partial<Record<Encryption['mode'], string>>> = {
  cbc: 'cbc(aes)',
  null: 'ecb(cipher_null)',
};

/**
 * The kernel's names for a suite, with keys as KEYMAT has them.
 * @throws UnsupportedAlgorithm for a suite that is none, or that the kernel does not have (implicit IVs, RFC 8750)
 * @throws RangeError for keys of the wrong length
 */
export function xfrmAlgorithms(
  suite: EspSuite,
  keys: { readonly encryption: Uint8Array; readonly integrity: Uint8Array },
): XfrmAlgorithms {
  const { mode, implicitIv, icvLength } = encryptionOf(suite.encryption);
  const lengths = protectionKeyLengths(suite);
  if (implicitIv) {
    throw new UnsupportedAlgorithm(
      `encryption transform ${suite.encryption}: the kernel has no implicit IVs (RFC 8750); leave it out of esp proposals`,
    );
  }
  if (keys.encryption.length !== lengths.encryption || keys.integrity.length !== lengths.integrity) {
    throw new RangeError(
      `keys of ${keys.encryption.length} and ${keys.integrity.length} octets for a suite that has ${lengths.encryption} and ${lengths.integrity}`,
    );
  }
  const key = keys.encryption.slice();
  const aead = AEAD[mode];
  if (aead !== undefined) return { aead, key, icvLength: icvLength * 8 };
  const integrity = integrityOf(suite.integrity);
  return {
    cipher: CIPHERS[mode] as string,
    key,
    authentication: `hmac(${integrity.hash})`,
    authenticationKey: keys.integrity.slice(),
    icvLength: integrity.icvLength * 8,
  };
}
