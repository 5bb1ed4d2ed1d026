import type { CryptoProvider, SignatureScheme } from '../crypto/provider.ts';
import { ExchangeType } from '../ike/constants.ts';
import { decodeHeader } from '../ike/header.ts';
import type { IkeSaSecrets, KeyLog } from '../ike/key-log.ts';
import { decodePlain, decodeProtected } from '../ike/message.ts';
import { detectNat, type NatLocation } from '../ike/nat-detection.ts';
import type { Payload } from '../ike/payload/index.ts';
import type { Link, Origin } from '../link/link.ts';
import { Reader } from '../wire/reader.ts';

/** A signature of a responder's that nobody has verified yet. */
export interface Evidence {
  readonly scheme: SignatureScheme;
  readonly octets: Uint8Array;
  readonly signature: Uint8Array;
}

/** An answer of the responder's, as it came. */
interface Received {
  readonly message: Uint8Array;
  readonly origin: Origin;
}

/**
 * Looks over the shoulder of one IKE SA while it is set up. A probe does not know whom it speaks to and trusts nobody, so it lets
 * every signature pass, and keeps it to be verified with whatever key turns up.
 */
export class Witness {
  readonly keyLog: KeyLog;
  /** For this IKE SA only: its signatures are all true. */
  readonly crypto: CryptoProvider;
  #evidence: Evidence | undefined;
  #secrets: IkeSaSecrets | undefined;
  readonly #received: Received[] = [];
  readonly #trusted: CryptoProvider;

  constructor(crypto: CryptoProvider) {
    this.#trusted = crypto;
    this.crypto = {
      ...crypto,
      signatures: {
        ...crypto.signatures,
        keyTypeOf: () => 'ed25519',
        verify: (scheme, _, octets, signature) => {
          this.#evidence = { scheme, octets: octets.slice(), signature: signature.slice() };
          return true;
        },
      },
    };
    this.keyLog = {
      ikeSa: (secrets) => {
        this.#secrets = structuredClone(secrets);
      },
      espSa: () => {},
    };
  }

  get evidence(): Evidence | undefined {
    return this.#evidence;
  }

  /** `link`, with this witness on it. */
  watch(link: Link): Link {
    return {
      id: link.id,
      mtu: link.mtu,
      origin: (address, encapsulated) => link.origin(address, encapsulated),
      attach: (handlers) =>
        link.attach({
          ike: (message, origin) => {
            this.#received.push({ message: message.slice(), origin });
            handlers.ike(message, origin);
          },
          esp: (packets, origin) => handlers.esp(packets, origin),
        }),
    };
  }

  /** The payloads of each answer to IKE_SA_INIT requests, in order. */
  get initAnswers(): readonly (readonly Payload[])[] {
    return this.#inits().map(({ payloads }) => payloads);
  }

  /** Where there are NATs, as the last of them shows; undefined if the responder does not look for any. */
  get nat(): NatLocation | undefined {
    const last = this.#inits().at(-1);
    if (last === undefined) return undefined;
    const spis = decodeHeader(new Reader(last.message, 'IKE header'));
    return detectNat(this.#trusted, spis, last.payloads, last.origin);
  }

  /** The payloads of the answer to the IKE_AUTH request; empty if there was none that can be read. */
  get authAnswer(): readonly Payload[] {
    if (this.#secrets === undefined) return [];
    const { suite, responder } = this.#secrets;
    for (const { message } of this.#received) {
      if (message[18] !== ExchangeType.IKE_AUTH) continue;
      const decoded = decodeProtected(message, this.#trusted.protector(suite, responder));
      if (decoded.kind === 'ok') return decoded.payloads;
    }
    return [];
  }

  #inits() {
    return this.#received.flatMap((received) => {
      if (received.message[18] !== ExchangeType.IKE_SA_INIT) return [];
      const decoded = decodePlain(received.message);
      return decoded.kind === 'ok' && decoded.header.flags.response
        ? [{ ...received, payloads: decoded.payloads }]
        : [];
    });
  }
}
