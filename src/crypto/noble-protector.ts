import { cbc, ctr, gcm } from '@noble/ciphers/aes.js';
import { chacha20poly1305 } from '@noble/ciphers/chacha.js';
import { hmac } from '@noble/hashes/hmac.js';
import { concat } from '../wire/bytes.ts';
import { NOBLE_HASHES } from './noble-hashes.ts';
import { type SplitKeys, splitKeys } from './protector-keys.ts';
import type { ProtectionKeys, ProtectionSuite, Protector } from './provider.ts';
import { equalConstantTime, integrityOf, zero } from './transforms.ts';

/** @throws UnsupportedAlgorithm; RangeError for keys that are not of the suite's lengths */
export function nobleProtector(suite: ProtectionSuite, keys: ProtectionKeys): Protector {
  const split = splitKeys(suite, keys);
  const cipher = split.aead ? aead(split) : withHmac(suite, split);
  let destroyed = false;
  const expectLive = () => {
    if (destroyed) throw new Error('this protector was destroyed');
  };
  return {
    ivLength: split.ivLength,
    icvLength: split.icvLength,
    blockLength: split.blockLength,
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

/** Ciphertext | tag of 16 octets. */
type Encrypt = (nonce: Uint8Array, aad: Uint8Array, text: Uint8Array) => Uint8Array;

function aead({ mode, cipherKey, salt, icvLength }: SplitKeys): Operations {
  const encrypt: Encrypt =
    mode === 'ccm'
      ? (nonce, aad, text) => ccm(cipherKey, icvLength, nonce, aad, text)
      : (nonce, aad, text) => (mode === 'gcm' ? gcm : chacha20poly1305)(cipherKey, nonce, aad).encrypt(text);
  return {
    seal(aad, iv, text, icv) {
      const sealed = encrypt(concat(salt, iv), aad, text);
      text.set(sealed.subarray(0, text.length));
      icv.set(sealed.subarray(text.length, text.length + icvLength));
    },
    open(aad, iv, text, icv) {
      // They all are stream ciphers: encrypting decrypts. noble's own `decrypt` does not take a truncated tag.
      const nonce = concat(salt, iv);
      const plain = encrypt(nonce, aad, text).subarray(0, text.length);
      const tag = encrypt(nonce, aad, plain).subarray(text.length, text.length + icvLength);
      if (!equalConstantTime(tag, icv)) return false;
      text.set(plain);
      return true;
    },
  };
}

/** CCM with a length field of 4 octets (RFC 3610 2, RFC 4309 4); the tag still has 16 octets. */
function ccm(
  key: Uint8Array,
  icvLength: number,
  nonce: Uint8Array,
  aad: Uint8Array,
  text: Uint8Array,
): Uint8Array {
  const blocks = (bytes: Uint8Array) => concat(bytes, new Uint8Array(-bytes.length & 15));
  const length = (octets: number, value: number) =>
    Uint8Array.from({ length: octets }, (_, i) => value >>> (8 * (octets - 1 - i)));
  const flags = (aad.length > 0 ? 0x40 : 0) | (((icvLength - 2) / 2) << 3) | 3;
  const first = concat(Uint8Array.of(flags), nonce, length(4, text.length));
  const associated = aad.length > 0 ? blocks(concat(length(2, aad.length), aad)) : NOTHING;
  const chained = cbc(key, new Uint8Array(16), { disablePadding: true }).encrypt(
    concat(first, associated, blocks(text)),
  );
  const counter = concat(Uint8Array.of(3), nonce, new Uint8Array(4));
  const out = ctr(key, counter).encrypt(concat(chained.subarray(-16), text));
  return concat(out.subarray(16), out.subarray(0, 16));
}

/** Encrypt-then-MAC (RFC 7296 3.14, RFC 4303 3.3.2.1). */
function withHmac({ integrity }: ProtectionSuite, keys: SplitKeys): Operations {
  const { mode, cipherKey, integrityKey, icvLength, blockLength } = keys;
  const hash = NOBLE_HASHES[integrityOf(integrity).hash];
  const cipher = (iv: Uint8Array) => cbc(cipherKey, iv, { disablePadding: true });
  const mac = (aad: Uint8Array, iv: Uint8Array, text: Uint8Array, suffix: Uint8Array = NOTHING) =>
    hmac(hash, integrityKey, concat(aad, iv, text, suffix)).subarray(0, icvLength);
  return {
    seal(aad, iv, text, icv, suffix) {
      if (mode === 'cbc') text.set(cipher(iv).encrypt(text));
      icv.set(mac(aad, iv, text, suffix));
    },
    open(aad, iv, text, icv, suffix) {
      if (!equalConstantTime(mac(aad, iv, text, suffix), icv)) return false;
      if (text.length % blockLength !== 0) return false;
      if (mode === 'cbc') text.set(cipher(iv).decrypt(text));
      return true;
    },
  };
}
