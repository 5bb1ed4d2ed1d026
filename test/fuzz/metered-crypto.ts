import type { CryptoProvider, Protector } from '../../src/crypto/provider.ts';

/** How often each part of a provider was called. */
export type Work = Readonly<Record<WorkKind, number>>;
type WorkKind = 'random' | 'prf' | 'hash' | 'keyExchange' | 'agree' | 'seal' | 'open' | 'sign' | 'verify';

/** A provider that counts what is asked of it, and keeps a copy of every cipher for whoever plays the malicious peer. */
export class MeteredCrypto {
  readonly provider: CryptoProvider;
  /** In the order in which they were made: the initiator's, the responder's, and so on. */
  readonly protectors: Protector[] = [];
  #work = noWork();

  constructor(inner: CryptoProvider) {
    const count = (kind: WorkKind) => {
      this.#work[kind]++;
    };
    this.provider = {
      ...inner,
      random: (length) => {
        count('random');
        return inner.random(length);
      },
      prf: (id, key, ...parts) => {
        count('prf');
        return inner.prf(id, key, ...parts);
      },
      hash: (id, ...parts) => {
        count('hash');
        return inner.hash(id, ...parts);
      },
      keyExchange: (method) => {
        count('keyExchange');
        const exchange = inner.keyExchange(method);
        return {
          ...exchange,
          agree: (peerValue) => {
            count('agree');
            return exchange.agree(peerValue);
          },
        };
      },
      answerKeyExchange: (method, initiatorValue) => {
        count('keyExchange');
        return inner.answerKeyExchange(method, initiatorValue);
      },
      protector: (suite, keys) => {
        const copy = { encryption: keys.encryption.slice(), integrity: keys.integrity.slice() };
        this.protectors.push(inner.protector(suite, copy));
        const protector = inner.protector(suite, keys);
        return {
          ivLength: protector.ivLength,
          icvLength: protector.icvLength,
          blockLength: protector.blockLength,
          seal: (aad, iv, text, icv, suffix) => {
            count('seal');
            protector.seal(aad, iv, text, icv, suffix);
          },
          open: (aad, iv, text, icv, suffix) => {
            count('open');
            return protector.open(aad, iv, text, icv, suffix);
          },
          destroy: () => protector.destroy(),
        };
      },
      signatures: {
        ...inner.signatures,
        sign: (...inputs) => {
          count('sign');
          return inner.signatures.sign(...inputs);
        },
        verify: (...inputs) => {
          count('verify');
          return inner.signatures.verify(...inputs);
        },
      },
    };
  }

  /** What was done since the last time that it was asked for. */
  takeWork(): Work {
    const work = this.#work;
    this.#work = noWork();
    return work;
  }
}

function noWork(): Record<WorkKind, number> {
  return { random: 0, prf: 0, hash: 0, keyExchange: 0, agree: 0, seal: 0, open: 0, sign: 0, verify: 0 };
}
