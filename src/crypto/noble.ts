import { hmac } from '@noble/hashes/hmac.js';
import { sha1 } from '@noble/hashes/legacy.js';
import { sha256, sha384, sha512 } from '@noble/hashes/sha2.js';
import { randomBytes } from '@noble/hashes/utils.js';
import { concat, type RandomSource } from '../wire/bytes.ts';
import { startKeyExchange } from './key-exchange.ts';
import { nobleGroups } from './noble-key-exchange.ts';
import { nobleProtector } from './noble-protector.ts';
import { nobleSignatures } from './noble-signatures.ts';
import { type CryptoProvider, UnsupportedAlgorithm } from './provider.ts';
import { PrfTransform } from './transforms.ts';

const HASHES = { sha1, sha256, sha384, sha512 };

const PRF_HASHES: Readonly<Record<number, typeof sha256 | typeof sha512>> = {
  [PrfTransform.HMAC_SHA2_256]: sha256,
  [PrfTransform.HMAC_SHA2_384]: sha384,
  [PrfTransform.HMAC_SHA2_512]: sha512,
};

/**
 * The reference provider: pure TypeScript, the same octets as `nodeProvider` from the same `random`, and signatures
 * that replays can repeat (RFC 6979).
 * @param random - tests only: a seeded source
 */
export function nobleProvider(random: RandomSource = randomBytes): CryptoProvider {
  return {
    name: 'noble',
    random,
    prf(id, key, ...parts) {
      const hash = PRF_HASHES[id];
      if (hash === undefined) throw new UnsupportedAlgorithm(`pseudorandom function ${id} is not supported`);
      return hmac(hash, key, concat(...parts));
    },
    hash: (id, ...parts) => HASHES[id](concat(...parts)),
    protector: nobleProtector,
    keyExchange: (method) => startKeyExchange(method, nobleGroups, random),
    signatures: nobleSignatures(random),
  };
}
