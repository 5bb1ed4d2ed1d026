import {
  type CipherCCMTypes,
  type CipherGCMTypes,
  createDecipheriv,
  createHmac,
  timingSafeEqual,
} from 'node:crypto';
import { concat } from '../wire/bytes.ts';
import type { TableEncryption, TableIntegrity } from './algorithms.ts';

/** The algorithms of an IKE SA and the keys of one direction of it. */
export interface DirectionKeys {
  readonly encryption: TableEncryption;
  readonly integrity: TableIntegrity;
  /** SK_ei or SK_er, with the salt. */
  readonly encryptionKey: Uint8Array;
  /** SK_ai or SK_ar. */
  readonly integrityKey: Uint8Array;
}

/** What became of an Encrypted payload. `icv` is null if its algorithm is not known or has none. */
export type Opened =
  | { readonly icv: true | null; readonly text: Uint8Array }
  | { readonly icv: false | null; readonly error: string };

/**
 * Verifies and decrypts the end of an IKE message. Never throws.
 * @param start - where the IV starts; what is before it is authenticated (RFC 7296 3.14, RFC 5282 5.1)
 * @returns the content without its padding
 */
export function openEncrypted(message: Uint8Array, start: number, keys: DirectionKeys): Opened {
  const { encryption, integrity } = keys;
  const icvLength = encryption.icvLength || integrity.icvLength;
  const textStart = start + encryption.ivLength;
  const textEnd = message.length - icvLength;
  if (textEnd - textStart < 1) {
    const needed = encryption.ivLength + 1 + icvLength;
    return failed(`too short: ${message.length - start} octets, but ${encryption.name} needs ${needed}`);
  }
  const ciphertext = message.subarray(textStart, textEnd);
  if (ciphertext.length % encryption.blockLength !== 0) {
    return failed(`${ciphertext.length} octets of ciphertext are not whole blocks of ${encryption.name}`);
  }
  const iv = message.subarray(start, textStart);
  const icv = message.subarray(textEnd);
  if (encryption.icvLength > 0) {
    const text = openAead(keys, message.subarray(0, start), iv, ciphertext, icv);
    return text === undefined ? wrongIcv() : withoutPadding(text, true);
  }
  let verified: true | null = null;
  if (integrity.hash !== undefined) {
    const sum = createHmac(integrity.hash, keys.integrityKey).update(message.subarray(0, textEnd)).digest();
    if (!timingSafeEqual(sum.subarray(0, icvLength), icv)) return wrongIcv();
    verified = true;
  }
  return withoutPadding(decrypt(keys, iv, ciphertext), verified);
}

function decrypt(
  { encryption, encryptionKey }: DirectionKeys,
  iv: Uint8Array,
  ciphertext: Uint8Array,
): Uint8Array {
  if (encryption.cipher === undefined) return ciphertext;
  const key = encryptionKey.subarray(0, encryption.keyLength);
  // RFC 5930 2: nonce of SK_e, IV, and a block counter that starts at one.
  const counted = encryption.mode === 'ctr';
  const nonce = counted
    ? concat(encryptionKey.subarray(encryption.keyLength), iv, Uint8Array.of(0, 0, 0, 1))
    : iv;
  const decipher = createDecipheriv(encryption.cipher, key, nonce);
  if (!counted) decipher.setAutoPadding(false);
  return concat(decipher.update(ciphertext), decipher.final());
}

/** @returns undefined if the ICV is wrong */
function openAead(
  { encryption, encryptionKey }: DirectionKeys,
  aad: Uint8Array,
  iv: Uint8Array,
  ciphertext: Uint8Array,
  icv: Uint8Array,
): Uint8Array | undefined {
  const key = encryptionKey.subarray(0, encryption.keyLength);
  const nonce = concat(encryptionKey.subarray(encryption.keyLength), iv);
  const options = { authTagLength: encryption.icvLength };
  try {
    if (encryption.mode === 'ccm') {
      const decipher = createDecipheriv(encryption.cipher as CipherCCMTypes, key, nonce, options);
      decipher.setAuthTag(icv);
      decipher.setAAD(aad, { plaintextLength: ciphertext.length });
      const text = decipher.update(ciphertext);
      decipher.final();
      return text;
    }
    // Node types the options that AEAD ciphers share by the name of a GCM cipher.
    const decipher = createDecipheriv(encryption.cipher as CipherGCMTypes, key, nonce, options);
    decipher.setAuthTag(icv);
    decipher.setAAD(aad);
    const text = decipher.update(ciphertext);
    decipher.final();
    return text;
  } catch {
    return undefined;
  }
}

/** RFC 7296 3.14: content, padding, Pad Length. */
function withoutPadding(text: Uint8Array, icv: true | null): Opened {
  const end = text.length - 1 - text[text.length - 1];
  if (end < 0) {
    const cause = icv === null ? '; the keys may be wrong, for nothing verifies them' : '';
    return { icv: null, error: `the pad length is beyond the content${cause}` };
  }
  return { icv, text: text.subarray(0, end) };
}

function failed(error: string): Opened {
  return { icv: null, error };
}

function wrongIcv(): Opened {
  return { icv: false, error: 'the ICV is wrong: the message was changed, or the keys are not its keys' };
}
