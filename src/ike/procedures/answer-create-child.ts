import { zero } from '../../crypto/transforms.ts';
import { rekeyProposals, selectorsFor } from '../child-policy.ts';
import {
  awaitDelete,
  type ChildAgreement,
  type ChildSa,
  childInfo,
  decodeSpi,
  encodeSpi,
  findByPeerSpi,
  installInbound,
  installOutbound,
  isLive,
  liveChildren,
  newTunnel,
  type Reservation,
  type Rival,
  releaseSpi,
  removeSas,
  reserveSpi,
  resumeUse,
  type SelectorPair,
  superviseChild,
} from '../child-sa.ts';
import { type ChildActivity, refusalToCreateChild, refusalToRekeyChild } from '../collision.ts';
import type { Proposal } from '../config.ts';
import { ExchangeType, NotifyType } from '../constants.ts';
import { LocalError, ProtocolError } from '../errors.ts';
import { checkedAgreement, checkedNonce, encodeMethod, NONCE_LENGTH } from '../key-agreement.ts';
import { type KePayload, type NotifyPayload, notify, type Payload, ProtocolId } from '../payload/index.ts';
import { findNotify, findPayload, payloadOf } from '../payloads.ts';
import { isMoving } from '../peer-address.ts';
import type { Message, Procedure } from '../procedure.ts';
import { additionalMethods, type Chosen, chooseProposal, espSuite, keyExchangeOf } from '../proposal.ts';
import { checkRules } from '../rules.ts';
import type { SaContext } from '../sa-context.ts';
import { narrow } from '../traffic-selector.ts';
import type { Answer } from './answer.ts';
import { childNotify, isSamePolicy, selectorPayloads } from './create-child.ts';
import { type FollowUp, postpone } from './ike-followup-ke.ts';

/** Pairs of SAs at a time: the one in use, two that a collision makes, and some that were replaced and are not forgotten yet. */
const MAX_SAS_PER_TUNNEL = 8;

/**
 * The peer's part: makes, or refuses, a Child SA, or one that replaces another. That is used once the peer does, or has
 * deleted the old one: only then is it ready to receive.
 * @throws ProtocolError INVALID_SYNTAX, which ends the IKE SA (RFC 7296 2.21.3)
 */
export function* answerCreateChild(sa: SaContext, { payloads }: Message): Procedure<Answer> {
  checkRules(ExchangeType.CREATE_CHILD_SA, false, payloads);
  try {
    const rekey = findNotify(payloads, NotifyType.REKEY_SA);
    const answer =
      rekey === undefined ? yield* answerNew(sa, payloads) : yield* answerRekey(sa, rekey, payloads);
    return { payloads: answer };
  } catch (error) {
    if (error instanceof LocalError) return { payloads: [notify(NotifyType.TEMPORARY_FAILURE)] };
    if (error instanceof ProtocolError && error.notify !== NotifyType.INVALID_SYNTAX) {
      return { payloads: [notify(error.notify, error.data)] };
    }
    throw error;
  }
}

function* answerNew(sa: SaContext, payloads: readonly Payload[]): Procedure<Payload[]> {
  const refusal = refusalToCreate(sa);
  if (refusal !== undefined) return [notify(refusal)];
  const { profile, assigned } = sa.lineage;
  const tunnels = new Set(liveChildren(sa).map(({ tunnel }) => tunnel.id));
  if (profile === undefined || tunnels.size >= (profile.maxChildren ?? 1)) {
    return [notify(NotifyType.NO_ADDITIONAL_SAS)];
  }
  if (profile.assigner !== undefined && assigned === undefined) {
    return [notify(NotifyType.FAILED_CP_REQUIRED)];
  }
  const chosen = choose(sa, sa.config.childProposals, payloads);
  const selectors = selectorsFor(profile, assigned, payloads);
  const offer = { chosen, payloads, nonceR: sa.crypto.random(NONCE_LENGTH), selectors };
  return yield* answerOffer(sa, offer, function* (reserved, agreement) {
    const tunnel = newTunnel(sa, 'responder', selectors);
    const granted = { ...agreement, ...(assigned !== undefined && { assigned }) };
    const child = yield* installInbound(sa, reserved, granted, tunnel);
    yield* installOutbound(sa, child);
    superviseChild(sa, child);
    sa.emit({ type: 'child-established', child: childInfo(child), role: 'responder' });
  });
}

/** There may be no Child SA left to say where ESP goes while an address is checked. */
function refusalToCreate(sa: SaContext): number | undefined {
  return isMoving(sa) ? NotifyType.TEMPORARY_FAILURE : refusalToCreateChild(sa.activity);
}

/** What the peer asks for, as we agree to it. */
interface Offer {
  readonly chosen: Chosen;
  readonly payloads: readonly Payload[];
  readonly nonceR: Uint8Array;
  readonly selectors: SelectorPair;
}

/**
 * The answer to an offer: `make` makes the Child SA of it, at once, or at the end of additional key exchanges (RFC 9370 2.2.4).
 * @param abandon - it does not come to that
 * @throws LocalError if the peer has asked too often, or there is no SPI
 */
function* answerOffer(
  sa: SaContext,
  { chosen, payloads, nonceR, selectors }: Offer,
  make: (reserved: Reservation, agreement: ChildAgreement) => Procedure<void>,
  abandon: () => void = () => {},
): Procedure<Payload[]> {
  if (!sa.lineage.exchangeBudget.allow(sa.now))
    throw new LocalError('the peer asks for more Child SAs than the budget of its IKE SA allows');
  const reserved = yield* reserveSpi(sa);
  let isPostponed = false;
  try {
    const { agreement, response } = agree(sa, reserved, chosen, payloads, nonceR);
    const answer = [...response, ...selectorPayloads(selectors)];
    const methods = additionalMethods(chosen.transforms);
    if (methods.length === 0) {
      yield* make(reserved, agreement);
      return answer;
    }
    isPostponed = true;
    const { method, secrets } = agreement.keyExchange!;
    const pending: FollowUp = {
      methods,
      *complete(additional) {
        const refusal = refusalToCreate(sa);
        if (refusal !== undefined) {
          pending.abandon();
          return [notify(refusal)];
        }
        const keyExchange = { method, secrets: [...secrets, ...additional] };
        return yield* completeOffer(sa, reserved, make(reserved, { ...agreement, keyExchange }));
      },
      abandon() {
        zero(...secrets);
        releaseSpi(sa, reserved);
        abandon();
      },
    };
    return [...answer, postpone(sa, pending)];
  } finally {
    if (!isPostponed) releaseSpi(sa, reserved);
  }
}

/** The last additional key exchange is done: an error notify, if that comes to nothing. */
function* completeOffer(sa: SaContext, reserved: Reservation, make: Procedure<void>): Procedure<Payload[]> {
  try {
    yield* make;
    return [];
  } catch (error) {
    if (error instanceof LocalError) return [notify(NotifyType.TEMPORARY_FAILURE)];
    throw error;
  } finally {
    releaseSpi(sa, reserved);
  }
}

function* answerRekey(
  sa: SaContext,
  rekey: NotifyPayload,
  payloads: readonly Payload[],
): Procedure<Payload[]> {
  const isNamed = rekey.protocol === ProtocolId.ESP && rekey.spi.length === 4;
  // What the peer put into a notify that is not well formed is not repeated.
  if (!isNamed) return [notify(NotifyType.CHILD_SA_NOT_FOUND)];
  const spi = decodeSpi(rekey.spi);
  const old = findByPeerSpi(sa, spi);
  const refusal = refusalToRekeyChild(sa.activity, old && activityOf(old));
  if (refusal === NotifyType.CHILD_SA_NOT_FOUND) {
    // It may be what an outstanding request of ours has made.
    const isPossible = old === undefined && sa.lineage.strayDeletes !== undefined;
    return [isPossible ? notify(NotifyType.TEMPORARY_FAILURE) : childNotify(refusal, spi)];
  }
  if (refusal !== undefined || old === undefined) return [notify(refusal ?? NotifyType.TEMPORARY_FAILURE)];
  if (isCrowded(sa, old)) return [notify(NotifyType.TEMPORARY_FAILURE)];
  const { childProposals } = sa.config;
  const chosen = choose(sa, [...rekeyProposals(childProposals, old.suite), ...childProposals], payloads);
  const selectors = selectorsInUse(old, payloads);
  if (selectors === undefined) return [notify(NotifyType.TS_UNACCEPTABLE)];
  const nonceR = sa.crypto.random(NONCE_LENGTH);
  const nonces = { nonceI: checkedNonce(payloads, sa.negotiated!.suite.prf), nonceR };
  // Noted before anything else happens: an answer to a request of ours that rekeys the same one is judged by it.
  const rival: Rival = { nonces, child: undefined, redundant: false };
  old.rival = rival;
  const giveUp = () => {
    if (!rival.redundant) resumeUse(sa, old);
  };
  const replace = function* (reserved: Reservation, agreement: ChildAgreement): Procedure<void> {
    try {
      const child = yield* installInbound(sa, reserved, { ...agreement, ...assignedOf(old) }, old.tunnel);
      rival.child = child;
      if (!joinRekey(sa, old, child, rival)) {
        removeSas(sa, child);
        throw new LocalError('the Child SA was closed while the peer rekeyed it');
      }
      superviseChild(sa, child);
    } catch (error) {
      resumeUse(sa, old);
      throw error;
    }
  };
  try {
    return yield* answerOffer(sa, { chosen, payloads, nonceR, selectors }, replace, giveUp);
  } catch (error) {
    resumeUse(sa, old);
    throw error;
  }
}

/** The tunnel has more SAs that were replaced, and are still there, than peers need that delete them. */
function isCrowded({ children }: SaContext, { tunnel }: ChildSa): boolean {
  let count = 0;
  for (const child of children.values()) if (child.tunnel.id === tunnel.id) count++;
  return count >= MAX_SAS_PER_TUNNEL;
}

/** Late ones do not exist for the peer. One that the peer has replaced already is not replaced again. */
function activityOf({ state, lost, rival }: ChildSa): ChildActivity | undefined {
  if (state === 'late' || lost) return undefined;
  return rival === undefined ? state : 'rekeyed';
}

/** The successor is installed: false if there is nothing left for it to replace. */
function joinRekey(sa: SaContext, old: ChildSa, child: ChildSa, { redundant }: Rival): boolean {
  if (redundant) awaitDelete(sa, child);
  else if (!isLive(sa, old) || old.state === 'closing') return false;
  else if (old.state === 'idle') awaitDelete(sa, old);
  return true;
}

function assignedOf({ assigned }: ChildSa): Pick<ChildAgreement, 'assigned'> {
  return assigned === undefined ? {} : { assigned };
}

/** RFC 7296 2.9.2: all of what is in use, and nothing else; undefined if that is not what is offered. */
function selectorsInUse({ tunnel }: ChildSa, payloads: readonly Payload[]): SelectorPair | undefined {
  const tsI = narrow(payloadOf(payloads, 'TSi').selectors, tunnel.remote);
  const tsR = narrow(payloadOf(payloads, 'TSr').selectors, tunnel.local);
  return isSamePolicy(tunnel, { tsI: tsR, tsR: tsI }) ? { tsI, tsR } : undefined;
}

/**
 * Our choice of the offered proposals. @throws ProtocolError NO_PROPOSAL_CHOSEN, also for an SPI that the peer uses already;
 * INVALID_KE_PAYLOAD if the initiator has done another key exchange
 */
function choose(sa: SaContext, ours: readonly Proposal[], payloads: readonly Payload[]): Chosen {
  const { proposals } = payloadOf(payloads, 'SA');
  const fresh = proposals.filter(({ spi }) => spi.length !== 4 || !findByPeerSpi(sa, decodeSpi(spi)));
  const chosen = chooseProposal(ours, fresh, ProtocolId.ESP);
  if (chosen === undefined) {
    throw new ProtocolError(NotifyType.NO_PROPOSAL_CHOSEN, 'no ESP proposal is acceptable here');
  }
  const method = keyExchangeOf(chosen);
  if (method !== 0 && findPayload(payloads, 'KE')?.method !== method) {
    const message = `the initiator did not use key exchange method ${method}`;
    throw new ProtocolError(NotifyType.INVALID_KE_PAYLOAD, message, encodeMethod(method));
  }
  return chosen;
}

/** The responder's side of the agreement, and what tells the initiator of it but for the traffic selectors. */
function agree(
  sa: SaContext,
  reserved: Reservation,
  chosen: Chosen,
  payloads: readonly Payload[],
  nonceR: Uint8Array,
): { readonly agreement: ChildAgreement; readonly response: readonly Payload[] } {
  const nonceI = checkedNonce(payloads, sa.negotiated!.suite.prf);
  const method = keyExchangeOf(chosen);
  const answer =
    method === 0
      ? undefined
      : checkedAgreement(() => sa.crypto.answerKeyExchange(method, payloadOf(payloads, 'KE').data));
  return {
    agreement: {
      role: 'responder',
      spiOut: decodeSpi(chosen.spi),
      suite: espSuite(chosen),
      nonces: { nonceI, nonceR },
      ...(answer !== undefined && { keyExchange: { method, secrets: [answer.sharedSecret] } }),
    },
    response: [
      {
        kind: 'SA',
        proposals: [{ ...chosen, protocol: ProtocolId.ESP, spi: encodeSpi(reserved.spi) }],
      },
      { kind: 'NONCE', data: nonceR },
      ...(answer === undefined ? [] : [{ kind: 'KE', method, data: answer.publicValue } satisfies KePayload]),
    ],
  };
}
