import { compareBytes, concat, fromHex, type RandomSource } from '../wire/bytes.ts';

/** The 2048-bit MODP prime, big-endian (RFC 3526 3). The generator is 2. */
export const MODP_2048_PRIME = fromHex(`
  FFFFFFFF FFFFFFFF C90FDAA2 2168C234 C4C6628B 80DC1CD1 29024E08 8A67CC74
  020BBEA6 3B139B22 514A0879 8E3404DD EF9519B3 CD3A431B 302B0A6D F25F1437
  4FE1356D 6D51C245 E485B576 625E7EC6 F44C42E9 A637ED6B 0BFF5CB6 F406B7ED
  EE386BFB 5A899FA5 AE9F2411 7C4B1FE6 49286651 ECE45B3D C2007CB8 A163BF05
  98DA4836 1C55D39A 69163FA8 FD24CF5F 83655D23 DCA3AD96 1C62F356 208552BB
  9ED52907 7096966D 670C354E 4ABC9804 F1746C08 CA18217C 32905E46 2E36CE3B
  E39E772C 180E8603 9B2783A2 EC07A28F B5C55DF0 6F4C52C9 DE2BCBF6 95581718
  3995497C EA956AE5 15D22618 98FA0510 15728E5A 8AACAA68 FFFFFFFF FFFFFFFF`);

const MODP_2048_ONE = new Uint8Array(256).with(-1, 1);
const MODP_2048_LAST = MODP_2048_PRIME.with(-1, 0xfe);
const P256_ORDER = fromHex('FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551');

/** A private exponent: 256 bits, twice the strength of the group (RFC 3526 8). */
export function drawModpExponent(random: RandomSource): Uint8Array {
  const exponent = random(32);
  exponent[0] |= 0x80;
  return exponent;
}

/** Whether these 32 octets are a P-256 private key: 0 < d < n. */
export function isP256Scalar(bytes: Uint8Array): boolean {
  return bytes.length === 32 && bytes.some((octet) => octet !== 0) && compareBytes(bytes, P256_ORDER) < 0;
}

/** A P-256 private key by rejection sampling (FIPS 186-5 A.2.2). */
export function drawP256Scalar(random: RandomSource): Uint8Array {
  for (;;) {
    const scalar = random(32);
    if (isP256Scalar(scalar)) return scalar;
  }
}

/** RFC 6989 2.1: 1 < r < p - 1. */
export function isModpValue(bytes: Uint8Array): boolean {
  return compareBytes(bytes, MODP_2048_ONE) > 0 && compareBytes(bytes, MODP_2048_LAST) < 0;
}

/** Big-endian `bytes` as a number of `length` octets (RFC 7296 2.14). */
export function leftPad(bytes: Uint8Array, length: number): Uint8Array {
  return concat(new Uint8Array(length - bytes.length), bytes);
}
