import type { CryptoProvider } from '../crypto/provider.ts';
import { aheadLength, type Content, type FragmentNumbers, sealContent, sealedLength } from './encrypted.ts';
import { fragments, Reassembly } from './fragmentation.ts';
import type { HeaderFields } from './header.ts';
import type { IkeKeys } from './key-schedule.ts';
import { type DecodedProtected, decodeProtected, type MessageFragment, peekHeader } from './message.ts';
import { encodePayloads, type Payload } from './payload/index.ts';

/** Octets of the IVs of AEAD ciphers. */
const COUNTED_IV_LENGTH = 8;

/** The fragments of one message, known by its ID. */
interface Incoming {
  readonly messageId: number;
  readonly reassembly: Reassembly<MessageFragment>;
}

/** Protects what one side of an IKE SA sends and opens what it receives, in fragments if both sides do that (RFC 7383). */
export class Protection {
  readonly #crypto: CryptoProvider;
  readonly #keys: IkeKeys;
  readonly #local: 'initiator' | 'responder';
  readonly #fragmentation: boolean;
  readonly #ivMask: Uint8Array;
  #ivCounter = 0n;
  /** The peer's request and response that are not complete yet. */
  readonly #incoming: { request?: Incoming; response?: Incoming } = {};

  constructor(
    crypto: CryptoProvider,
    keys: IkeKeys,
    local: 'initiator' | 'responder',
    fragmentation: boolean,
  ) {
    this.#crypto = crypto;
    this.#keys = keys;
    this.#local = local;
    this.#fragmentation = fragmentation;
    this.#ivMask = crypto.random(COUNTED_IV_LENGTH);
  }

  /** Whether fragments of a message are kept until the others come. */
  get isReassembling(): boolean {
    return this.#incoming.request !== undefined || this.#incoming.response !== undefined;
  }

  /**
   * One datagram, or, if it were longer than `longest` octets, as many as are needed.
   * @param puzzleSolution - goes ahead of what is encrypted, in the first
   */
  encode(
    fields: HeaderFields,
    payloads: readonly Payload[],
    longest: number,
    puzzleSolution?: Uint8Array,
  ): readonly Uint8Array[] {
    const protector = this.#keys[this.#local];
    const content = encodePayloads(payloads);
    const room = longest - aheadLength(puzzleSolution);
    const seal = (part: Content, numbers?: FragmentNumbers, solution?: Uint8Array) =>
      sealContent(fields, part, protector, this.#nextIv(protector.ivLength), numbers, solution);
    if (!this.#fragmentation || sealedLength(content.bytes.length, protector) <= room)
      return [seal(content, undefined, puzzleSolution)];
    return fragments(content, room, protector).map((fragment) =>
      seal(fragment.content, fragment, fragment.number === 1 ? puzzleSolution : undefined),
    );
  }

  /** Opens a message, or takes a fragment. The caller has seen to it that its ID is one that is due. */
  decode(message: Uint8Array): DecodedProtected {
    const protector = this.#keys[this.#local === 'initiator' ? 'responder' : 'initiator'];
    if (!this.#fragmentation) return decodeProtected(message, protector);
    const header = peekHeader(message);
    const direction = header?.flags.response ? 'response' : 'request';
    const known = this.#incoming[direction];
    const reassembly =
      known !== undefined && known.messageId === header?.messageId
        ? known.reassembly
        : new Reassembly<MessageFragment>();
    const decoded = decodeProtected(message, protector, reassembly);
    if (decoded.kind === 'incomplete')
      this.#incoming[direction] = { messageId: header!.messageId, reassembly };
    else if (decoded.kind !== 'discard') this.#incoming[direction] = undefined;
    return decoded;
  }

  /** Gives up the messages that are not complete. */
  forgetFragments(): void {
    this.#incoming.request = undefined;
    this.#incoming.response = undefined;
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
