import { hash } from 'node:crypto';
import type { HashName } from './provider.ts';
import { zero } from './transforms.ts';

/** Octets of a block and of the digest (FIPS 180-4 1). */
const LENGTHS: Readonly<Record<HashName, readonly [number, number]>> = {
  sha1: [64, 20],
  sha256: [64, 32],
  sha384: [128, 48],
  sha512: [128, 64],
};

/**
 * HMAC (RFC 2104) of two one-shot hashes: for messages as short as those of the key schedule that takes half the time of
 * `createHmac`, most of which goes into the objects around the hash.
 */
export function hmac(name: HashName, key: Uint8Array, parts: readonly Uint8Array[]): Uint8Array {
  const [blockLength, digestLength] = LENGTHS[name];
  let length = blockLength;
  for (const part of parts) length += part.length;
  const inner = new Uint8Array(length);
  const outer = new Uint8Array(blockLength + digestLength);
  outer.set(key.length > blockLength ? hash(name, key, 'buffer') : key);
  for (let i = 0; i < blockLength; i++) {
    inner[i] = outer[i] ^ 0x36;
    outer[i] ^= 0x5c;
  }
  let offset = blockLength;
  for (const part of parts) {
    inner.set(part, offset);
    offset += part.length;
  }
  outer.set(hash(name, inner, 'buffer'), blockLength);
  const mac = new Uint8Array(hash(name, outer, 'buffer'));
  zero(inner, outer);
  return mac;
}
