import type { ProtectionKeys, ProtectionSuite } from './provider.ts';
import { encryptionOf, type ProtectionLayout, protectionKeyLengths, protectionLayout } from './transforms.ts';

/** A suite's layout, and its keys as copies apart. */
export interface SplitKeys extends ProtectionLayout {
  readonly aead: boolean;
  readonly cipherKey: Uint8Array;
  /** Empty for CBC. */
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
    ...protectionLayout(suite),
    aead: encryptionOf(suite.encryption).aead,
    cipherKey: keys.encryption.slice(0, suite.keyLength / 8),
    salt: keys.encryption.slice(suite.keyLength / 8),
    integrityKey: keys.integrity.slice(),
  };
}
