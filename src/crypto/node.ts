/**
 * The provider over node:crypto.
 * @module ike-telescope/crypto/node
 */

import { createCipheriv, createHash } from 'node:crypto';
import { concat, type RandomSource } from '../wire/bytes.ts';
import { AES_PRFS, type CbcFromZero } from './aes-mac.ts';
import { answerKeyExchange, startKeyExchange } from './key-exchange.ts';
import { nodeCertificates } from './node-certificates.ts';
import { hmac } from './node-hmac.ts';
import { nodeKeyExchanges, systemKeyExchanges } from './node-key-exchange.ts';
import { nodeMlKem } from './node-ml-kem.ts';
import { nodeProtector } from './node-protector.ts';
import { systemRandom } from './node-random.ts';
import { nodeSignatures } from './node-signatures.ts';
import type { CryptoProvider } from './provider.ts';
import { KeyExchangeMethod, prfOf } from './transforms.ts';

const cbcFromZero: CbcFromZero = (key, blocks) =>
  new Uint8Array(createCipheriv('aes-128-cbc', key, new Uint8Array(16)).setAutoPadding(false).update(blocks));

const { ML_KEM_512, ML_KEM_768, ML_KEM_1024 } = KeyExchangeMethod;

/**
 * The provider over node:crypto. ECDSA signatures, and ML-KEM where node:crypto has it, draw from OpenSSL; all else that is
 * random comes from `random`.
 * @param random - tests only: a seeded source
 */
export function nodeProvider(random: RandomSource = systemRandom): CryptoProvider {
  const exchanges = random === systemRandom ? systemKeyExchanges : nodeKeyExchanges;
  return {
    name: 'node',
    random,
    prf(id, key, ...parts) {
      const { algorithm } = prfOf(id);
      return algorithm === 'aes-xcbc' || algorithm === 'aes-cmac'
        ? AES_PRFS[algorithm](cbcFromZero, key, concat(...parts))
        : hmac(algorithm, key, parts);
    },
    hash(id, ...parts) {
      const hash = createHash(id);
      for (const part of parts) hash.update(part);
      return new Uint8Array(hash.digest());
    },
    protector: nodeProtector,
    keyExchange: (method) => startKeyExchange(method, exchanges, random),
    answerKeyExchange: (method, value) => answerKeyExchange(method, exchanges, random, value),
    randomisedMethods: nodeMlKem === undefined ? [] : [ML_KEM_512, ML_KEM_768, ML_KEM_1024],
    signatures: nodeSignatures(random),
    certificates: nodeCertificates,
  };
}
