import {
  type CipherGCMTypes,
  createCipheriv,
  createDecipheriv,
  createHmac,
  createSecretKey,
  type KeyObject,
  timingSafeEqual,
} from 'node:crypto';
import { type SplitKeys, splitKeys } from './protector-keys.ts';
import type { ProtectionKeys, ProtectionSuite, Protector } from './provider.ts';
import { EncryptionTransform, zero } from './transforms.ts';

/** @throws UnsupportedAlgorithm; RangeError for keys that are not of the suite's lengths */
export function nodeProtector(suite: ProtectionSuite, keys: ProtectionKeys): Protector {
  const split = splitKeys(suite, keys);
  if (!split.aead) return new CbcHmac(split, suite.keyLength);
  const chacha = suite.encryption === EncryptionTransform.CHACHA20_POLY1305;
  // Node types the options that AEAD ciphers share by the name of a GCM cipher.
  const name = chacha ? 'chacha20-poly1305' : `aes-${suite.keyLength}-gcm`;
  return new Aead(split, name as CipherGCMTypes);
}

/** A KeyObject, not octets: those cost Node 24 ten microseconds per operation. OpenSSL clears it when it is collected. */
function takeKey(key: Uint8Array): KeyObject {
  const object = createSecretKey(key);
  zero(key);
  return object;
}

class Aead implements Protector {
  readonly ivLength: number;
  readonly icvLength: number;
  readonly blockLength: number;
  readonly #cipher: CipherGCMTypes;
  readonly #options: { readonly authTagLength: number };
  readonly #saltLength: number;
  readonly #nonce: Uint8Array;
  #key: KeyObject | undefined;

  constructor(keys: SplitKeys, cipher: CipherGCMTypes) {
    this.ivLength = keys.ivLength;
    this.icvLength = keys.icvLength;
    this.blockLength = keys.blockLength;
    this.#cipher = cipher;
    this.#options = { authTagLength: keys.icvLength };
    this.#saltLength = keys.salt.length;
    this.#nonce = new Uint8Array(keys.salt.length + keys.ivLength);
    this.#nonce.set(keys.salt);
    this.#key = takeKey(keys.cipherKey);
    zero(keys.salt);
  }

  seal(aad: Uint8Array, iv: Uint8Array, text: Uint8Array, icv: Uint8Array): void {
    this.#nonce.set(iv, this.#saltLength);
    const cipher = createCipheriv(this.#cipher, live(this.#key), this.#nonce, this.#options);
    cipher.setAAD(aad);
    text.set(cipher.update(text));
    cipher.final();
    icv.set(cipher.getAuthTag());
  }

  open(aad: Uint8Array, iv: Uint8Array, text: Uint8Array, icv: Uint8Array): boolean {
    this.#nonce.set(iv, this.#saltLength);
    const decipher = createDecipheriv(this.#cipher, live(this.#key), this.#nonce, this.#options);
    decipher.setAAD(aad);
    decipher.setAuthTag(icv);
    const plain = decipher.update(text);
    try {
      decipher.final();
    } catch {
      return false;
    }
    text.set(plain);
    return true;
  }

  destroy(): void {
    this.#key = undefined;
    zero(this.#nonce);
  }
}

/** Encrypt-then-MAC (RFC 7296 3.14, RFC 4303 3.3.2.1). */
class CbcHmac implements Protector {
  readonly ivLength: number;
  readonly icvLength: number;
  readonly blockLength: number;
  readonly #cipher: string;
  #key: KeyObject | undefined;
  #integrityKey: KeyObject | undefined;

  constructor(keys: SplitKeys, keyLength: number) {
    this.ivLength = keys.ivLength;
    this.icvLength = keys.icvLength;
    this.blockLength = keys.blockLength;
    this.#cipher = `aes-${keyLength}-cbc`;
    this.#key = takeKey(keys.cipherKey);
    this.#integrityKey = takeKey(keys.integrityKey);
  }

  seal(aad: Uint8Array, iv: Uint8Array, text: Uint8Array, icv: Uint8Array, suffix?: Uint8Array): void {
    const cipher = createCipheriv(this.#cipher, live(this.#key), iv).setAutoPadding(false);
    text.set(cipher.update(text));
    cipher.final();
    icv.set(this.#mac(aad, iv, text, suffix));
  }

  open(aad: Uint8Array, iv: Uint8Array, text: Uint8Array, icv: Uint8Array, suffix?: Uint8Array): boolean {
    if (icv.length !== this.icvLength || !timingSafeEqual(this.#mac(aad, iv, text, suffix), icv))
      return false;
    if (text.length % this.blockLength !== 0) return false;
    const decipher = createDecipheriv(this.#cipher, live(this.#key), iv).setAutoPadding(false);
    text.set(decipher.update(text));
    decipher.final();
    return true;
  }

  destroy(): void {
    this.#key = undefined;
    this.#integrityKey = undefined;
  }

  #mac(aad: Uint8Array, iv: Uint8Array, text: Uint8Array, suffix?: Uint8Array): Uint8Array {
    const mac = createHmac('sha256', live(this.#integrityKey)).update(aad).update(iv).update(text);
    if (suffix !== undefined) mac.update(suffix);
    return mac.digest().subarray(0, this.icvLength);
  }
}

function live(key: KeyObject | undefined): KeyObject {
  if (key === undefined) throw new Error('this protector was destroyed');
  return key;
}
