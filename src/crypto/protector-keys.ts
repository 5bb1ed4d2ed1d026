import type { ProtectionKeys, ProtectionSuite } from './provider.ts';
import { type Encryption, encryptionOf, protectionKeyLengths, protectionLayout } from './transforms.ts';

/** What a suite's ciphers have to know of it, and its keys as copies apart. */
export interface SplitKeys extends Pick<Encryption, 'mode' | 'aead' | 'ivLength' | 'blockLength'> {
  readonly icvLength: number;
  readonly cipherKey: Uint8Array;
  /** Empty but for AEAD. */
  readonly salt: Uint8Array;
  /** Empty for AEAD. */
  readonly integrityKey: Uint8Array;
}

/** @throws UnsupportedAlgorithm; RangeError for keys that are not of the suite's lengths */
export function splitKeys(suite: ProtectionSuite, keys: ProtectionKeys): SplitKeys {
  const lengths = protectionKeyLengths(suite);
  if (keys.encryption.length !== lengths.encryption || keys.integrity.length !== lengths.integrity) {
    throw new RangeError(
      `the suite takes keys of ${lengths.encryption} and ${lengths.integrity} octets, ` +
        `not ${keys.encryption.length} and ${keys.integrity.length}`,
    );
  }
  return {
    ...encryptionOf(suite.encryption),
    icvLength: protectionLayout(suite).icvLength,
    cipherKey: keys.encryption.slice(0, suite.keyLength / 8),
    salt: keys.encryption.slice(suite.keyLength / 8),
    integrityKey: keys.integrity.slice(),
  };
}
