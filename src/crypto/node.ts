import { createHash } from 'node:crypto';
import type { RandomSource } from '../wire/bytes.ts';
import { startKeyExchange } from './key-exchange.ts';
import { nodeCertificates } from './node-certificates.ts';
import { type HashFunction, hmac } from './node-hmac.ts';
import { nodeGroups, systemGroups } from './node-key-exchange.ts';
import { nodeProtector } from './node-protector.ts';
import { systemRandom } from './node-random.ts';
import { nodeSignatures } from './node-signatures.ts';
import { type CryptoProvider, UnsupportedAlgorithm } from './provider.ts';
import { PrfTransform } from './transforms.ts';

const PRF_HASHES: Readonly<Record<number, HashFunction>> = {
  [PrfTransform.HMAC_SHA2_256]: { name: 'sha256', blockLength: 64, digestLength: 32 },
  [PrfTransform.HMAC_SHA2_384]: { name: 'sha384', blockLength: 128, digestLength: 48 },
  [PrfTransform.HMAC_SHA2_512]: { name: 'sha512', blockLength: 128, digestLength: 64 },
};

/**
 * The provider over node:crypto. ECDSA signatures draw from OpenSSL; all else that is random comes from `random`.
 * @param random - tests only: a seeded source
 */
export function nodeProvider(random: RandomSource = systemRandom): CryptoProvider {
  const groups = random === systemRandom ? systemGroups : nodeGroups;
  return {
    name: 'node',
    random,
    prf(id, key, ...parts) {
      const hash = PRF_HASHES[id];
      if (hash === undefined) throw new UnsupportedAlgorithm(`pseudorandom function ${id} is not supported`);
      return hmac(hash, key, parts);
    },
    hash(id, ...parts) {
      const hash = createHash(id);
      for (const part of parts) hash.update(part);
      return new Uint8Array(hash.digest());
    },
    protector: nodeProtector,
    keyExchange: (method) => startKeyExchange(method, groups, random),
    signatures: nodeSignatures(random),
    certificates: nodeCertificates,
  };
}
