import { type CryptoProvider, InvalidKeyExchange } from '../crypto/provider.ts';
import { prfOf, TransformType, zero } from '../crypto/transforms.ts';
import type { Proposal } from './config.ts';
import { NotifyType } from './constants.ts';
import { ProtocolError } from './errors.ts';
import type { KePayload, Payload } from './payload/index.ts';
import { payloadOf } from './payloads.ts';

/** Octets of our nonces; half of the longest PRF key (RFC 7296 2.10). */
export const NONCE_LENGTH = 32;

/** A copy of the peer's nonce (RFC 7296 2.10). @throws ProtocolError if it is too short for the PRF */
export function checkedNonce(payloads: readonly Payload[], prf: number): Uint8Array {
  const { data } = payloadOf(payloads, 'NONCE');
  if (data.length < prfOf(prf).outputLength / 2) {
    throw new ProtocolError(
      NotifyType.INVALID_SYNTAX,
      `a nonce of ${data.length} octets is shorter than half of the PRF's key`,
    );
  }
  return data.slice();
}

/**
 * What `agree` makes of the peer's value; RFC 6989 2.5: one that fails its tests is a malformed message.
 * @throws ProtocolError INVALID_SYNTAX instead of InvalidKeyExchange
 */
export function checkedAgreement<T>(agree: () => T): T {
  try {
    return agree();
  } catch (error) {
    if (!(error instanceof InvalidKeyExchange)) throw error;
    throw new ProtocolError(NotifyType.INVALID_SYNTAX, error.message);
  }
}

/** The key exchange methods of the proposals, in order. */
export function offeredMethods(proposals: readonly Proposal[]): number[] {
  return proposals.flatMap(({ transforms }) =>
    transforms.filter(({ type }) => type === TransformType.KE).map(({ id }) => id),
  );
}

/** The data of INVALID_KE_PAYLOAD: the method that is to be used instead (RFC 7296 1.3, 3.10.1). */
export function encodeMethod(method: number): Uint8Array {
  return Uint8Array.of(method >> 8, method & 255);
}

/** The method that an INVALID_KE_PAYLOAD asks for; undefined if its data are none. */
export function decodeMethod(data: Uint8Array): number | undefined {
  return data.length === 2 ? (data[0] << 8) | data[1] : undefined;
}

/** The responder's half of a key exchange. */
export interface ResponderHalf {
  readonly publicValue: Uint8Array;
  /** @throws ProtocolError */
  sharedSecret(): Uint8Array;
  /** There will be no shared secret: overwrites what it would have been computed of. */
  discard(): void;
}

/** A value that fails its tests ends it; nobody has proved anything, so there is no answer. @throws ProtocolError */
export function wholeHalf(crypto: CryptoProvider, { method, data }: KePayload): ResponderHalf {
  const { publicValue, sharedSecret } = checkedAgreement(() => crypto.answerKeyExchange(method, data));
  return { publicValue, sharedSecret: () => sharedSecret, discard: () => zero(sharedSecret) };
}

/** What costs most is computed when it is needed, once: a value that fails its tests then is not found out before. */
export function deferredHalf(crypto: CryptoProvider, { method, data }: KePayload): ResponderHalf {
  const keyExchange = crypto.keyExchange(method);
  return {
    publicValue: keyExchange.publicValue,
    sharedSecret() {
      try {
        return checkedAgreement(() => keyExchange.agree(data));
      } finally {
        keyExchange.destroy();
      }
    },
    discard: () => keyExchange.destroy(),
  };
}
