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
import type { HashName, ProtectionKeys, ProtectionSuite, Protector } from './provider.ts';
import { integrityOf, zero } from './transforms.ts';

/** @throws UnsupportedAlgorithm; RangeError for keys that are not of the suite's lengths */
export function nodeProtector(suite: ProtectionSuite, keys: ProtectionKeys): Protector {
  const split = splitKeys(suite, keys);
  const { mode } = split;
  if (mode === 'null') return new WithHmac(split, undefined, integrityOf(suite.integrity).hash);
  const name = mode === 'chacha20-poly1305' ? mode : `aes-${suite.keyLength}-${mode}`;
  return split.aead ? new Aead(split, name) : new WithHmac(split, name, integrityOf(suite.integrity).hash);
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

  constructor(keys: SplitKeys, cipher: string) {
    this.ivLength = keys.ivLength;
    this.icvLength = keys.icvLength;
    this.blockLength = keys.blockLength;
    // Node types the options that AEAD ciphers share by the name of a GCM cipher, and those of CCM by one of CCM.
    this.#cipher = cipher as CipherGCMTypes;
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
    cipher.setAAD(aad, { plaintextLength: text.length });
    text.set(cipher.update(text));
    cipher.final();
    icv.set(cipher.getAuthTag());
  }

  open(aad: Uint8Array, iv: Uint8Array, text: Uint8Array, icv: Uint8Array): boolean {
    if (icv.length !== this.icvLength) return false;
    this.#nonce.set(iv, this.#saltLength);
    const decipher = createDecipheriv(this.#cipher, live(this.#key), this.#nonce, this.#options);
    decipher.setAuthTag(icv);
    decipher.setAAD(aad, { plaintextLength: text.length });
    let plain: Uint8Array;
    try {
      plain = decipher.update(text);
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

/** Encrypt-then-MAC (RFC 7296 3.14, RFC 4303 3.3.2.1); with ENCR_NULL, only that (RFC 2410). */
class WithHmac implements Protector {
  readonly ivLength: number;
  readonly icvLength: number;
  readonly blockLength: number;
  readonly #cipher: string | undefined;
  readonly #hash: HashName;
  #key: KeyObject | undefined;
  #integrityKey: KeyObject | undefined;

  constructor(keys: SplitKeys, cipher: string | undefined, hash: HashName) {
    this.ivLength = keys.ivLength;
    this.icvLength = keys.icvLength;
    this.blockLength = keys.blockLength;
    this.#cipher = cipher;
    this.#hash = hash;
    this.#key = takeKey(keys.cipherKey);
    this.#integrityKey = takeKey(keys.integrityKey);
  }

  seal(aad: Uint8Array, iv: Uint8Array, text: Uint8Array, icv: Uint8Array, suffix?: Uint8Array): void {
    if (this.#cipher !== undefined) {
      const cipher = createCipheriv(this.#cipher, live(this.#key), iv).setAutoPadding(false);
      text.set(cipher.update(text));
      cipher.final();
    }
    icv.set(this.#mac(aad, iv, text, suffix));
  }

  open(aad: Uint8Array, iv: Uint8Array, text: Uint8Array, icv: Uint8Array, suffix?: Uint8Array): boolean {
    if (icv.length !== this.icvLength || !timingSafeEqual(this.#mac(aad, iv, text, suffix), icv))
      return false;
    if (text.length % this.blockLength !== 0) return false;
    if (this.#cipher !== undefined) {
      const decipher = createDecipheriv(this.#cipher, live(this.#key), iv).setAutoPadding(false);
      text.set(decipher.update(text));
      decipher.final();
    }
    return true;
  }

  destroy(): void {
    this.#key = undefined;
    this.#integrityKey = undefined;
  }

  #mac(aad: Uint8Array, iv: Uint8Array, text: Uint8Array, suffix?: Uint8Array): Uint8Array {
    const mac = createHmac(this.#hash, live(this.#integrityKey)).update(aad).update(iv).update(text);
    if (suffix !== undefined) mac.update(suffix);
    return mac.digest().subarray(0, this.icvLength);
  }
}

function live(key: KeyObject | undefined): KeyObject {
  if (key === undefined) throw new Error('this protector was destroyed');
  return key;
}
