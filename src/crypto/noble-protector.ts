import { cbc, gcm } from '@noble/ciphers/aes.js';
import { chacha20poly1305 } from '@noble/ciphers/chacha.js';
import { hmac } from '@noble/hashes/hmac.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { concat } from '../wire/bytes.ts';
import { type SplitKeys, splitKeys } from './protector-keys.ts';
import type { ProtectionKeys, ProtectionSuite, Protector } from './provider.ts';
import { EncryptionTransform, equalConstantTime, zero } from './transforms.ts';

/** @throws UnsupportedAlgorithm; RangeError for keys that are not of the suite's lengths */
export function nobleProtector(suite: ProtectionSuite, keys: ProtectionKeys): Protector {
  const split = splitKeys(suite, keys);
  const layout = { ivLength: split.ivLength, icvLength: split.icvLength, blockLength: split.blockLength };
  const cipher = split.aead ? aead(suite, split) : cbcHmac(split);
  let destroyed = false;
  const expectLive = () => {
    if (destroyed) throw new Error('this protector was destroyed');
  };
  return {
    ...layout,
    seal(...packet) {
      expectLive();
      cipher.seal(...packet);
    },
    open(...packet) {
      expectLive();
      return cipher.open(...packet);
    },
    destroy() {
      destroyed = true;
      zero(split.cipherKey, split.salt, split.integrityKey);
    },
  };
}

const NOTHING = new Uint8Array(0);

type Operations = Pick<Protector, 'seal' | 'open'>;

function aead(suite: ProtectionSuite, keys: SplitKeys): Operations {
  const algorithm = suite.encryption === EncryptionTransform.CHACHA20_POLY1305 ? chacha20poly1305 : gcm;
  const cipher = (iv: Uint8Array, aad: Uint8Array) => algorithm(keys.cipherKey, concat(keys.salt, iv), aad);
  return {
    seal(aad, iv, text, icv) {
      const sealed = cipher(iv, aad).encrypt(text);
      text.set(sealed.subarray(0, text.length));
      icv.set(sealed.subarray(text.length));
    },
    open(aad, iv, text, icv) {
      try {
        text.set(cipher(iv, aad).decrypt(concat(text, icv)));
        return true;
      } catch {
        return false;
      }
    },
  };
}

/** Encrypt-then-MAC (RFC 7296 3.14, RFC 4303 3.3.2.1). */
function cbcHmac(keys: SplitKeys): Operations {
  const cipher = (iv: Uint8Array) => cbc(keys.cipherKey, iv, { disablePadding: true });
  const mac = (aad: Uint8Array, iv: Uint8Array, text: Uint8Array, suffix?: Uint8Array) =>
    hmac(sha256, keys.integrityKey, concat(aad, iv, text, suffix ?? NOTHING)).subarray(0, keys.icvLength);
  return {
    seal(aad, iv, text, icv, suffix) {
      text.set(cipher(iv).encrypt(text));
      icv.set(mac(aad, iv, text, suffix));
    },
    open(aad, iv, text, icv, suffix) {
      if (!equalConstantTime(mac(aad, iv, text, suffix), icv)) return false;
      if (text.length % keys.blockLength !== 0) return false;
      text.set(cipher(iv).decrypt(text));
      return true;
    },
  };
}
