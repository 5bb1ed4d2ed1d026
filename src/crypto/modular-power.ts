import { fromHex, hex } from '../wire/bytes.ts';

/** base^exponent mod modulus over big-endian octets, as long as the modulus. Not constant-time: BigInt is not. */
export function modularPower(base: Uint8Array, exponent: Uint8Array, modulus: Uint8Array): Uint8Array {
  const m = toBigInt(modulus);
  const powers = [1n];
  const first = toBigInt(base) % m;
  for (let i = 1; i < 16; i++) powers.push((powers[i - 1] * first) % m);
  let result = 1n;
  for (const octet of exponent) {
    for (const digit of [octet >> 4, octet & 15]) {
      for (let bit = 0; bit < 4; bit++) result = (result * result) % m;
      result = (result * powers[digit]) % m;
    }
  }
  return fromHex(result.toString(16).padStart(modulus.length * 2, '0'));
}

function toBigInt(bytes: Uint8Array): bigint {
  return BigInt(`0x${hex(bytes)}`);
}
