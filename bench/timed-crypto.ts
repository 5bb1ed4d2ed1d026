import { performance } from 'node:perf_hooks';
import type { CryptoProvider, KeyExchange, Protector } from '../src/crypto/provider.ts';

/** A provider that adds up the time that is spent in it. */
export class TimedCrypto {
  readonly provider: CryptoProvider;
  /** Milliseconds so far. */
  spent = 0;

  constructor(inner: CryptoProvider) {
    const { signatures } = inner;
    this.provider = {
      ...inner,
      random: (length) => this.#time(() => inner.random(length)),
      prf: (id, key, ...parts) => this.#time(() => inner.prf(id, key, ...parts)),
      hash: (id, ...parts) => this.#time(() => inner.hash(id, ...parts)),
      protector: (suite, keys) => this.#protector(this.#time(() => inner.protector(suite, keys))),
      keyExchange: (method) => this.#keyExchange(this.#time(() => inner.keyExchange(method))),
      answerKeyExchange: (method, value) => this.#time(() => inner.answerKeyExchange(method, value)),
      signatures: {
        ...signatures,
        sign: (...args) => this.#time(() => signatures.sign(...args)),
        verify: (...args) => this.#time(() => signatures.verify(...args)),
      },
    };
  }

  #protector(inner: Protector): Protector {
    const { ivLength, icvLength, blockLength } = inner;
    return {
      ivLength,
      icvLength,
      blockLength,
      seal: (...args) => this.#time(() => inner.seal(...args)),
      open: (...args) => this.#time(() => inner.open(...args)),
      destroy: () => inner.destroy(),
    };
  }

  #keyExchange(inner: KeyExchange): KeyExchange {
    return { ...inner, agree: (peerValue) => this.#time(() => inner.agree(peerValue)) };
  }

  #time<T>(action: () => T): T {
    const started = performance.now();
    try {
      return action();
    } finally {
      this.spent += performance.now() - started;
    }
  }
}
