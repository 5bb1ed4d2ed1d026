import { cbc } from '@noble/ciphers/aes.js';
import { hmac } from '@noble/hashes/hmac.js';
import { randomBytes } from '@noble/hashes/utils.js';
import { concat, type RandomSource } from '../wire/bytes.ts';
import { AES_PRFS, type CbcFromZero } from './aes-mac.ts';
import { answerKeyExchange, startKeyExchange } from './key-exchange.ts';
import { NOBLE_HASHES } from './noble-hashes.ts';
import { nobleKeyExchanges } from './noble-key-exchange.ts';
import { nobleProtector } from './noble-protector.ts';
import { nobleSignatures } from './noble-signatures.ts';
import type { CryptoProvider } from './provider.ts';
import { prfOf } from './transforms.ts';

const cbcFromZero: CbcFromZero = (key, blocks) =>
  cbc(key, new Uint8Array(16), { disablePadding: true }).encrypt(blocks);

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
      const { algorithm } = prfOf(id);
      return algorithm === 'aes-xcbc' || algorithm === 'aes-cmac'
        ? AES_PRFS[algorithm](cbcFromZero, key, concat(...parts))
        : hmac(NOBLE_HASHES[algorithm], key, concat(...parts));
    },
    hash: (id, ...parts) => NOBLE_HASHES[id](concat(...parts)),
    protector: nobleProtector,
    keyExchange: (method) => startKeyExchange(method, nobleKeyExchanges, random),
    answerKeyExchange: (method, value) => answerKeyExchange(method, nobleKeyExchanges, random, value),
    randomisedMethods: [],
    signatures: nobleSignatures(random),
  };
}
