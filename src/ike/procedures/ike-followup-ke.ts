import { zero } from '../../crypto/transforms.ts';
import type { Millis } from '../../link/clock.ts';
import { equalBytes } from '../../wire/bytes.ts';
import type { NoncePair } from '../collision.ts';
import { ExchangeType, NotifyType } from '../constants.ts';
import { ProtocolError, RefusedError } from '../errors.ts';
import { checkedAgreement } from '../key-agreement.ts';
import { isErrorNotify, type KePayload, type NotifyPayload, notify, type Payload } from '../payload/index.ts';
import { findNotify, payloadOf } from '../payloads.ts';
import { exchange, type Message, type Procedure } from '../procedure.ts';
import { checkRules } from '../rules.ts';
import type { SaContext } from '../sa-context.ts';

// RFC 9370 2.2.4; after CREATE_CHILD_SA, whose response ends with N(ADDITIONAL_KEY_EXCHANGE), for each additional key
// exchange, the last one without a notify in the response:
//   HDR, SK {KEi(n), N(ADDITIONAL_KEY_EXCHANGE)}  -->  <--  HDR, SK {KEr(n), N(ADDITIONAL_KEY_EXCHANGE)}

/** Octets of what we have the peer say to go on with an exchange. */
const LINK_LENGTH = 8;
/** How long a peer may take to go on with one: longer than it goes on sending a request. */
export const FOLLOW_UP_PATIENCE: Millis = 180_000;
/** The name of its entry in the agenda. */
const FOLLOW_UP = 'follow-up';

/** A CREATE_CHILD_SA exchange of the peer's that is answered, and needs more key exchanges. */
export interface FollowUp {
  /** Methods that are still to be done, in order. */
  readonly methods: readonly number[];
  /** Nonces of the rekey of an IKE SA. */
  readonly nonces?: NoncePair;
  /** Makes what was agreed on, with SK(1) to SK(n), in order. Returns an error notify if that comes to nothing. */
  complete(secrets: readonly Uint8Array[]): Procedure<readonly Payload[]>;
  /** It does not come to that. */
  abandon(): void;
}

/** One under way. */
export interface PendingFollowUp extends FollowUp {
  /** What the peer has to say to go on with it. */
  readonly link: Uint8Array;
  readonly secrets: readonly Uint8Array[];
}

/**
 * Our part, after the response to CREATE_CHILD_SA: all of the additional key exchanges, one after the other.
 * @param secrets - SK(1) to SK(n) are added to what the caller overwrites, also if this fails
 * @throws RefusedError; ProtocolError for what is no answer
 */
export function* followUp(
  sa: SaContext,
  methods: readonly number[],
  response: readonly Payload[],
  secrets: Uint8Array[],
): Procedure<void> {
  let payloads = response;
  for (const method of methods) {
    const link = findNotify(payloads, NotifyType.ADDITIONAL_KEY_EXCHANGE);
    if (link === undefined) throw syntax('the peer does not go on with additional key exchanges');
    const keyExchange = sa.crypto.keyExchange(method);
    try {
      const message = yield* exchange(ExchangeType.IKE_FOLLOWUP_KE, [
        { kind: 'KE', method, data: keyExchange.publicValue },
        notify(NotifyType.ADDITIONAL_KEY_EXCHANGE, link.data),
      ]);
      payloads = message.payloads;
      refuseErrors(payloads);
      checkRules(ExchangeType.IKE_FOLLOWUP_KE, true, payloads);
      const { data } = keOf(payloads, method);
      secrets.push(checkedAgreement(() => keyExchange.agree(data)));
    } finally {
      keyExchange.destroy();
    }
  }
}

/** Has the peer go on with additional key exchanges: what tells it, for the response to its CREATE_CHILD_SA request. */
export function postpone(sa: SaContext, followUp: FollowUp): NotifyPayload {
  return expect(sa, { ...followUp, secrets: [] });
}

/** Whatever the peer had begun will not be gone on with. */
export function abandonFollowUp(sa: SaContext): void {
  const { followUp } = sa;
  if (followUp === undefined) return;
  forget(sa);
  zero(...followUp.secrets);
  followUp.abandon();
}

/** The peer's part; the last one makes what was agreed on. @throws ProtocolError INVALID_SYNTAX, which ends the IKE SA */
export function* answerFollowUp(sa: SaContext, { payloads }: Message): Procedure<readonly Payload[]> {
  checkRules(ExchangeType.IKE_FOLLOWUP_KE, false, payloads);
  const { followUp } = sa;
  const named = findNotify(payloads, NotifyType.ADDITIONAL_KEY_EXCHANGE);
  if (followUp === undefined || named === undefined || !equalBytes(named.data, followUp.link)) {
    return [notify(NotifyType.STATE_NOT_FOUND)];
  }
  const [method, ...methods] = followUp.methods;
  const { data } = keOf(payloads, method);
  const { publicValue, sharedSecret } = checkedAgreement(() => sa.crypto.answerKeyExchange(method, data));
  const ke: KePayload = { kind: 'KE', method, data: publicValue };
  const secrets = [...followUp.secrets, sharedSecret];
  if (methods.length > 0) return [ke, expect(sa, { ...followUp, methods, secrets })];
  forget(sa);
  try {
    const refusal = yield* followUp.complete(secrets);
    return refusal.length > 0 ? refusal : [ke];
  } finally {
    zero(...secrets);
  }
}

/** The link is another one each time. */
function expect(sa: SaContext, followUp: Omit<PendingFollowUp, 'link'>): NotifyPayload {
  const link = sa.crypto.random(LINK_LENGTH);
  sa.followUp = { ...followUp, link };
  sa.agenda.set(FOLLOW_UP, sa.now + FOLLOW_UP_PATIENCE, () => abandonFollowUp(sa));
  return notify(NotifyType.ADDITIONAL_KEY_EXCHANGE, link);
}

function forget(sa: SaContext): void {
  sa.followUp = undefined;
  sa.agenda.delete(FOLLOW_UP);
}

function refuseErrors(payloads: readonly Payload[]): void {
  for (const payload of payloads) {
    if (payload.kind === 'NOTIFY' && isErrorNotify(payload))
      throw new RefusedError(payload.type, 'an additional key exchange');
  }
}

function keOf(payloads: readonly Payload[], method: number): KePayload {
  const ke = payloadOf(payloads, 'KE');
  if (ke.method !== method) throw syntax(`a KE payload of method ${ke.method}, not ${method}`);
  return ke;
}

function syntax(message: string): ProtocolError {
  return new ProtocolError(NotifyType.INVALID_SYNTAX, message);
}
