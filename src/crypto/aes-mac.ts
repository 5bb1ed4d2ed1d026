import { concat } from '../wire/bytes.ts';

/** AES-128 in CBC mode over whole blocks, from an IV of zeros. */
export type CbcFromZero = (key: Uint8Array, blocks: Uint8Array) => Uint8Array;

const BLOCK = 16;
const ZERO = new Uint8Array(BLOCK);

/** AES-XCBC-PRF-128 (RFC 4434 2) and AES-CMAC-PRF-128 (RFC 4615 3): 16 octets from a key of any length. */
export const AES_PRFS = {
  'aes-xcbc': (cbc: CbcFromZero, key: Uint8Array, data: Uint8Array): Uint8Array =>
    xcbc(cbc, key.length > BLOCK ? xcbc(cbc, ZERO, key) : fill(key), data),
  'aes-cmac': (cbc: CbcFromZero, key: Uint8Array, data: Uint8Array): Uint8Array =>
    cmac(cbc, key.length === BLOCK ? key : cmac(cbc, ZERO, key), data),
} as const;

/** RFC 3566 4, without the truncation. */
function xcbc(cbc: CbcFromZero, key: Uint8Array, data: Uint8Array): Uint8Array {
  const [k1, k2, k3] = [1, 2, 3].map((octet) => cbc(key, new Uint8Array(BLOCK).fill(octet)));
  return mac((blocks) => cbc(k1, blocks), k2, k3, data);
}

/** RFC 4493 2.4. */
function cmac(cbc: CbcFromZero, key: Uint8Array, data: Uint8Array): Uint8Array {
  const k1 = double(cbc(key, ZERO));
  return mac((blocks) => cbc(key, blocks), k1, double(k1), data);
}

/** CBC-MAC whose last block is masked: by `whole` if it is one, otherwise filled up and by `partial`. */
function mac(
  cbc: (blocks: Uint8Array) => Uint8Array,
  whole: Uint8Array,
  partial: Uint8Array,
  data: Uint8Array,
): Uint8Array {
  const lastStart = data.length === 0 ? 0 : Math.floor((data.length - 1) / BLOCK) * BLOCK;
  const last = data.subarray(lastStart);
  const masked =
    last.length === BLOCK ? xor(last, whole) : xor(fill(concat(last, Uint8Array.of(0x80))), partial);
  return cbc(concat(data.subarray(0, lastStart), masked)).slice(-BLOCK);
}

function fill(bytes: Uint8Array): Uint8Array {
  return concat(bytes, new Uint8Array(BLOCK - bytes.length));
}

function xor(a: Uint8Array, b: Uint8Array): Uint8Array {
  return a.map((octet, i) => octet ^ b[i]);
}

/** Twice the element in GF(2^128) (RFC 4493 2.3), without a branch on the secret. */
function double(element: Uint8Array): Uint8Array {
  const twice = element.map((octet, i) => (octet << 1) | ((element[i + 1] ?? 0) >> 7));
  twice[BLOCK - 1] ^= 0x87 & -(element[0] >> 7);
  return twice;
}
