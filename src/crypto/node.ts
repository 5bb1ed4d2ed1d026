import { createHash, createHmac, createSecretKey, randomFillSync } from 'node:crypto';
import type { RandomSource } from '../wire/bytes.ts';
import { startKeyExchange } from './key-exchange.ts';
import { nodeGroups } from './node-key-exchange.ts';
import { nodeProtector } from './node-protector.ts';
import { nodeSignatures } from './node-signatures.ts';
import { type CryptoProvider, UnsupportedAlgorithm } from './provider.ts';
import { PrfTransform } from './transforms.ts';

const PRF_HASHES: Readonly<Record<number, string>> = {
  [PrfTransform.HMAC_SHA2_256]: 'sha256',
  [PrfTransform.HMAC_SHA2_384]: 'sha384',
  [PrfTransform.HMAC_SHA2_512]: 'sha512',
};

const systemRandom: RandomSource = (length) => randomFillSync(new Uint8Array(length));

/**
 * The provider over node:crypto. ECDSA signatures draw from OpenSSL; all else that is random comes from `random`.
 * @param random - tests only: a seeded source
 */
export function nodeProvider(random: RandomSource = systemRandom): CryptoProvider {
  return {
    name: 'node',
    random,
    prf(id, key, ...parts) {
      const hash = PRF_HASHES[id];
      if (hash === undefined) throw new UnsupportedAlgorithm(`pseudorandom function ${id} is not supported`);
      const mac = createHmac(hash, createSecretKey(key));
      for (const part of parts) mac.update(part);
      return new Uint8Array(mac.digest());
    },
    hash(id, ...parts) {
      const hash = createHash(id);
      for (const part of parts) hash.update(part);
      return new Uint8Array(hash.digest());
    },
    protector: nodeProtector,
    keyExchange: (method) => startKeyExchange(method, nodeGroups, random),
    signatures: nodeSignatures(random),
  };
}
