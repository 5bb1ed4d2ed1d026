import { zero } from '../../crypto/transforms.ts';
import { concat } from '../../wire/bytes.ts';
import { ExchangeType, NotifyType } from '../constants.ts';
import { clearMessage } from '../encrypted.ts';
import { ProtocolError, RefusedError } from '../errors.ts';
import { checkedAgreement } from '../key-agreement.ts';
import { deriveIkeKeys, rekeyedSkeyseed } from '../key-schedule.ts';
import { encodePayloads, isErrorNotify, type Payload } from '../payload/index.ts';
import { payloadOf } from '../payloads.ts';
import { exchange, type Message, type Procedure } from '../procedure.ts';
import { Protection } from '../protection.ts';
import { checkRules } from '../rules.ts';
import { headerFields, type SaContext } from '../sa-context.ts';
import type { Answer } from './answer.ts';

// RFC 9242, RFC 9370 2.2.2; for each additional key exchange:
//   HDR, SK {KEi(n)}  -->  <--  HDR, SK {KEr(n)}

/** The initiator's part: all the additional key exchanges, of which there may be none. */
export function* initiateIkeIntermediate(sa: SaContext): Procedure<void> {
  for (const method of sa.negotiated!.pendingMethods) {
    const keyExchange = sa.crypto.keyExchange(method);
    try {
      const request: Payload[] = [{ kind: 'KE', method, data: keyExchange.publicValue }];
      const response = yield* exchange(ExchangeType.IKE_INTERMEDIATE, request);
      const peerValue = takeValue(response, method, true);
      const sharedSecret = checkedAgreement(() => keyExchange.agree(peerValue));
      const sent = clearForm(sa, response.header.messageId, false, request);
      advance(sa, { request: sent, response: response.bytes }, sharedSecret);
    } finally {
      keyExchange.destroy();
    }
  }
}

/** The responder's part of one of them, which is due. The new keys are for what comes after the answer. @throws ProtocolError */
export function answerIkeIntermediate(sa: SaContext, message: Message): Answer {
  const [method] = sa.negotiated!.pendingMethods;
  const peerValue = takeValue(message, method, false);
  const { publicValue, sharedSecret } = checkedAgreement(() =>
    sa.crypto.answerKeyExchange(method, peerValue),
  );
  const payloads: Payload[] = [{ kind: 'KE', method, data: publicValue }];
  const response = clearForm(sa, message.header.messageId, true, payloads);
  return { payloads, whenSent: () => advance(sa, { request: message.bytes, response }, sharedSecret) };
}

/** The peer's value. @throws ProtocolError if there is none, or one of another method; RefusedError */
function takeValue({ payloads }: Message, method: number, isResponse: boolean): Uint8Array {
  for (const payload of payloads) {
    if (isResponse && payload.kind === 'NOTIFY' && isErrorNotify(payload))
      throw new RefusedError(payload.type, 'IKE_INTERMEDIATE');
  }
  checkRules(ExchangeType.IKE_INTERMEDIATE, isResponse, payloads);
  const ke = payloadOf(payloads, 'KE');
  if (ke.method === method) return ke.data;
  throw new ProtocolError(
    NotifyType.INVALID_SYNTAX,
    `key exchange method ${ke.method} in IKE_INTERMEDIATE, where ${method} was negotiated`,
  );
}

/** A message of ours as AUTH covers it (RFC 9242 3.3.2). */
function clearForm(
  sa: SaContext,
  messageId: number,
  isResponse: boolean,
  payloads: readonly Payload[],
): Uint8Array {
  const fields = headerFields(sa, sa.negotiated!, ExchangeType.IKE_INTERMEDIATE, messageId, isResponse);
  return clearMessage(fields, encodePayloads(payloads));
}

/** An exchange is over: new keys (RFC 9370 2.2.2), and IntAuth with the old ones (RFC 9242 3.3.2). Overwrites the secret. */
function advance(
  sa: SaContext,
  { request, response }: { readonly request: Uint8Array; readonly response: Uint8Array },
  sharedSecret: Uint8Array,
): void {
  const { crypto } = sa;
  const old = sa.negotiated!;
  const { keys: oldKeys, suite, intAuth } = old;
  const nothing = new Uint8Array(0);
  const [, ...pendingMethods] = old.pendingMethods;
  const skeyseed = rekeyedSkeyseed(crypto, suite.prf, oldKeys.skD, old, [sharedSecret]);
  const keys = deriveIkeKeys(crypto, suite, old, skeyseed, sa.config.keyLog);
  zero(sharedSecret, skeyseed);
  sa.negotiated = {
    ...old,
    keys,
    protection: new Protection(crypto, keys, sa.role, old.fragmentation),
    pendingMethods,
    intAuth: {
      initiator: crypto.prf(suite.prf, oldKeys.skPi, concat(intAuth?.initiator ?? nothing, request)),
      responder: crypto.prf(suite.prf, oldKeys.skPr, concat(intAuth?.responder ?? nothing, response)),
      exchanges: (intAuth?.exchanges ?? 0) + 1,
    },
  };
  oldKeys.destroy();
}
