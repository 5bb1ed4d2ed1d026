import type { CryptoProvider, Protector } from '../../src/crypto/provider.ts';
import type { InitiatorConfig, ResponderConfig } from '../../src/ike/config.ts';
import { encodeProtected, peekHeader } from '../../src/ike/message.ts';
import type { Payload } from '../../src/ike/payload/index.ts';
import {
  anonymousProfile,
  type Credentials,
  initiatorConfig,
  mirror,
  responderConfig,
  sharedKey,
  TO_RESPONDER,
} from './ike-configs.ts';
import { names, Pair, testCrypto } from './pair.ts';

const RELAY = sharedKey('relay');

export interface AccompliceOptions {
  /** What the responder proves itself with; the initiator expects a shared key of its own. */
  readonly relay?: Credentials;
  readonly initiator?: Partial<InitiatorConfig>;
  readonly responder?: Partial<ResponderConfig>;
}

/** A pair whose first IKE SA's ciphers the test has, to send in the name of either end what that never would. */
export function accomplice(seed: number, { relay = RELAY, initiator, responder }: AccompliceOptions = {}) {
  const crypto = testCrypto(seed);
  const protectors: Protector[] = [];
  const provider: CryptoProvider = {
    ...crypto.provider,
    protector: (suite, keys) => {
      const copy = { encryption: keys.encryption.slice(), integrity: keys.integrity.slice() };
      protectors.push(crypto.provider.protector(suite, copy));
      return crypto.provider.protector(suite, keys);
    },
  };
  const pair = new Pair({
    initiator: { ...initiatorConfig(provider, RELAY), ...initiator },
    responder: { ...responderConfig(crypto.provider, anonymousProfile(relay)), ...responder },
  });
  let iv = 1000;
  const protect = (
    initiator: boolean,
    response: boolean,
    exchangeType: number,
    messageId: number,
    payloads: readonly Payload[],
  ) => {
    const init = pair.sent.findLast(({ from, message }) => from === 'responder' && message[18] === 34)!;
    const { spiI, spiR } = peekHeader(init.message)!;
    const fields = { spiI, spiR, exchangeType, messageId, flags: { initiator, response } };
    const nonce = new Uint8Array(8);
    new DataView(nonce.buffer).setUint32(0, iv++);
    return encodeProtected(fields, payloads, protectors[initiator ? 0 : 1], nonce);
  };
  const toInitiator = (message: Uint8Array) =>
    pair.call(pair.initiator, (ike, now) => ike.handleDatagram(message, mirror(TO_RESPONDER), now));
  return {
    pair,
    crypto,
    /** Has the keys of both directions: 0 is the initiator's. */
    protectors,
    /** A message of either end, to be delivered from anywhere. */
    protect,
    /** A request of the initiator's. */
    send: (exchangeType: number, messageId: number, payloads: readonly Payload[]) =>
      pair.deliverToResponder(protect(true, false, exchangeType, messageId, payloads)),
    /** A response of the responder's. */
    answer: (exchangeType: number, messageId: number, payloads: readonly Payload[]) =>
      toInitiator(protect(false, true, exchangeType, messageId, payloads)),
    /** A request of the responder's. */
    ask: (exchangeType: number, messageId: number, payloads: readonly Payload[]) =>
      toInitiator(protect(false, false, exchangeType, messageId, payloads)),
    lastAnswer: () => names(crypto.read(pair.sent.at(-1)!.message)),
  };
}
