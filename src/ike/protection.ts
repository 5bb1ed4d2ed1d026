import type { CryptoProvider } from '../crypto/provider.ts';
import type { HeaderFields } from './header.ts';
import type { IkeKeys } from './key-schedule.ts';
import { type Decoded, decodeProtected, encodeProtected } from './message.ts';
import type { Payload } from './payload/index.ts';

/** Octets of the IVs of AEAD ciphers. */
const COUNTED_IV_LENGTH = 8;

/** Protects what one side of an IKE SA sends and opens what it receives. */
export class Protection {
  readonly #crypto: CryptoProvider;
  readonly #keys: IkeKeys;
  readonly #local: 'initiator' | 'responder';
  readonly #ivMask: Uint8Array;
  #ivCounter = 0n;

  constructor(crypto: CryptoProvider, keys: IkeKeys, local: 'initiator' | 'responder') {
    this.#crypto = crypto;
    this.#keys = keys;
    this.#local = local;
    this.#ivMask = crypto.random(COUNTED_IV_LENGTH);
  }

  encode(fields: HeaderFields, payloads: readonly Payload[]): Uint8Array {
    const protector = this.#keys[this.#local];
    return encodeProtected(fields, payloads, protector, this.#nextIv(protector.ivLength));
  }

  decode(message: Uint8Array): Decoded {
    return decodeProtected(message, this.#keys[this.#local === 'initiator' ? 'responder' : 'initiator']);
  }

  /** RFC 5282 3: AEAD IVs must not repeat, so they are counted (and masked); RFC 7296 3.14: those of CBC are random. */
  #nextIv(length: number): Uint8Array {
    if (length !== COUNTED_IV_LENGTH) return this.#crypto.random(length);
    const iv = this.#ivMask.slice();
    const view = new DataView(iv.buffer);
    view.setBigUint64(0, view.getBigUint64(0) ^ this.#ivCounter++);
    return iv;
  }
}
