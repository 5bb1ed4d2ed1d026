import type { CryptoProvider, Protector } from '../../src/crypto/provider.ts';
import { decodePlain, decodeProtected, encodeProtected, peekHeader } from '../../src/ike/message.ts';
import type { Payload } from '../../src/ike/payload/index.ts';

/** A provider that keeps a copy of every cipher it makes, so that a test can read what was protected. */
export class RecordingCrypto {
  readonly provider: CryptoProvider;
  readonly #protectors: Protector[] = [];
  #rewritten = 0xa0;

  constructor(inner: CryptoProvider) {
    this.provider = {
      ...inner,
      name: inner.name,
      signatures: inner.signatures,
      random: (length) => inner.random(length),
      prf: (id, key, ...parts) => inner.prf(id, key, ...parts),
      hash: (id, ...parts) => inner.hash(id, ...parts),
      keyExchange: (method) => inner.keyExchange(method),
      answerKeyExchange: (method, value) => inner.answerKeyExchange(method, value),
      protector: (suite, keys) => {
        const copy = { encryption: keys.encryption.slice(), integrity: keys.integrity.slice() };
        this.#protectors.push(inner.protector(suite, copy));
        return inner.protector(suite, keys);
      },
    };
  }

  /** A message of the same sender with the same ID and other payloads, protected with the same keys. @throws Error if it is not protected */
  rewrite(message: Uint8Array, payloads: readonly Payload[], exchangeType = message[18]): Uint8Array {
    const protector = this.#protectors.find((own) => decodeProtected(message, own).kind === 'ok');
    const header = peekHeader(message);
    if (protector === undefined || header === undefined) throw new Error('the message cannot be rewritten');
    return encodeProtected(
      { ...header, exchangeType },
      payloads,
      protector,
      Uint8Array.from({ length: 8 }, () => this.#rewritten++),
    );
  }

  /** The payloads of a message, decrypted if it is protected. @throws Error if it cannot be read */
  read(message: Uint8Array): readonly Payload[] {
    const plain = decodePlain(message);
    if (plain.kind === 'ok') return plain.payloads;
    for (const protector of this.#protectors) {
      const decoded = decodeProtected(message, protector);
      if (decoded.kind === 'ok') return decoded.payloads;
    }
    throw new Error('the message cannot be read');
  }
}
