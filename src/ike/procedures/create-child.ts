import type { TunnelPolicy } from '../../link/sa-store.ts';
import { coverSame, rekeyProposals, selectorsFor } from '../child-policy.ts';
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
  removeSas,
  resumeUse,
  type SelectorPair,
  superviseChild,
  withReservedSpi,
} from '../child-sa.ts';
import { type ChildActivity, refusalToCreateChild, refusalToRekeyChild } from '../collision.ts';
import type { Proposal } from '../config.ts';
import { ExchangeType, NotifyType } from '../constants.ts';
import { LocalError, ProtocolError, RefusedError } from '../errors.ts';
import type { Job } from '../job-queue.ts';
import {
  checkedAgreement,
  checkedNonce,
  decodeMethod,
  encodeMethod,
  NONCE_LENGTH,
  offeredMethods,
} from '../key-agreement.ts';
import { retryDelay } from '../lifetime.ts';
import {
  isErrorNotify,
  type KePayload,
  type NotifyPayload,
  notify,
  type Payload,
  ProtocolId,
} from '../payload/index.ts';
import { findNotify, findPayload, payloadOf } from '../payloads.ts';
import { exchange, type Message, type Procedure } from '../procedure.ts';
import {
  type Chosen,
  chooseProposal,
  encodeProposals,
  espSuite,
  keyExchangeOf,
  verifyAnswer,
} from '../proposal.ts';
import { checkRules } from '../rules.ts';
import type { SaContext } from '../sa-context.ts';
import { isSubset, narrow } from '../traffic-selector.ts';
import type { Answer } from './answer.ts';
import { deleteSpis } from './delete.ts';

// RFC 7296 1.3.1, 1.3.3:
//   HDR, SK {[N(REKEY_SA),] SA, Ni, [KEi,] TSi, TSr}  -->
//                                    <--  HDR, SK {SA, Nr, [KEr,] TSi, TSr}

/** How often we follow INVALID_KE_PAYLOAD. */
const MAX_RETRIES = 2;
const NO_METHOD = -1;
/** Pairs of SAs at a time: the one in use, two that a collision makes, and some that were replaced and are not forgotten yet. */
const MAX_SAS_PER_TUNNEL = 8;

const FATAL: readonly number[] = [
  NotifyType.INVALID_SYNTAX,
  NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD,
  NotifyType.AUTHENTICATION_FAILED,
];

/** The Child SA that a CREATE_CHILD_SA request of ours asks for. */
export interface WantedChild extends SelectorPair {
  readonly proposals: readonly Proposal[];
  /** The one that it replaces. */
  readonly replaces?: ChildSa;
}

/** What the peer made of it, with its own SPI. */
export interface AgreedChild extends SelectorPair {
  readonly agreement: ChildAgreement;
}

/**
 * Our part of the exchange, again with the method that the peer asks for. Its answer goes to `use`, with the SPI that is
 * ours; that is given back unless `use` makes a Child SA of it.
 * @throws RefusedError; LocalError if there is no SPI; ProtocolError for what is no answer to it
 */
export function* requestChild<R>(
  sa: SaContext,
  wanted: WantedChild,
  use: (reserved: Reservation, agreed: AgreedChild) => Procedure<R>,
): Procedure<R> {
  const methods = offeredMethods(wanted.proposals);
  // What the peer wanted the last time spares a retry.
  const last = methods.find((method) => method !== 0 && method === wanted.replaces?.keyExchange);
  let method = last ?? methods[0] ?? 0;
  sa.lineage.strayDeletes = new Set();
  try {
    for (let retries = 0; ; retries++) {
      const result = yield* withReservedSpi(sa, function* (reserved) {
        const agreed = yield* negotiate(sa, wanted, reserved, method);
        return typeof agreed === 'number' ? agreed : { value: yield* use(reserved, agreed) };
      });
      if (typeof result !== 'number') return result.value;
      if (!methods.includes(result) || result === method || retries === MAX_RETRIES) {
        throw new RefusedError(NotifyType.INVALID_KE_PAYLOAD, 'the Child SA');
      }
      method = result;
    }
  } finally {
    sa.lineage.strayDeletes = undefined;
  }
}

/** One request and its answer; a number is the method that the peer asks for instead. */
function* negotiate(
  sa: SaContext,
  wanted: WantedChild,
  reserved: Reservation,
  method: number,
): Procedure<AgreedChild | number> {
  const nonceI = sa.crypto.random(NONCE_LENGTH);
  const keyExchange = method === 0 ? undefined : sa.crypto.keyExchange(method);
  const { proposals, replaces } = wanted;
  try {
    const { payloads } = yield* exchange(ExchangeType.CREATE_CHILD_SA, [
      ...(replaces === undefined ? [] : [childNotify(NotifyType.REKEY_SA, replaces.spiIn)]),
      { kind: 'SA', proposals: encodeProposals(proposals, ProtocolId.ESP, encodeSpi(reserved.spi)) },
      { kind: 'NONCE', data: nonceI },
      ...(keyExchange === undefined
        ? []
        : [{ kind: 'KE', method, data: keyExchange.publicValue } satisfies KePayload]),
      ...selectorPayloads(wanted),
    ]);
    const demanded = findNotify(payloads, NotifyType.INVALID_KE_PAYLOAD);
    if (demanded !== undefined) return decodeMethod(demanded.data) ?? NO_METHOD;
    refuseErrors(payloads);
    checkRules(ExchangeType.CREATE_CHILD_SA, true, payloads);
    const chosen = verifyAnswer(proposals, payloadOf(payloads, 'SA').proposals, ProtocolId.ESP);
    const nonceR = checkedNonce(payloads, sa.negotiated!.suite.prf);
    const chosenMethod = keyExchangeOf(chosen);
    if (chosenMethod !== 0 && chosenMethod !== method)
      throw syntax('the peer chose a key exchange that we did not do');
    const spiOut = decodeSpi(chosen.spi);
    if (findByPeerSpi(sa, spiOut) !== undefined) throw syntax('the peer answered with an SPI that is in use');
    const secret =
      chosenMethod === 0 || keyExchange === undefined
        ? undefined
        : checkedAgreement(() => keyExchange.agree(keyOf(payloads, method)));
    return {
      tsI: payloadOf(payloads, 'TSi').selectors,
      tsR: payloadOf(payloads, 'TSr').selectors,
      agreement: {
        role: 'initiator',
        spiOut,
        suite: espSuite(chosen),
        nonces: { nonceI, nonceR },
        ...(secret !== undefined && { keyExchange: { method, secret } }),
      },
    };
  } finally {
    keyExchange?.destroy();
  }
}

function refuseErrors(payloads: readonly Payload[]): void {
  const error = payloads.find((payload) => payload.kind === 'NOTIFY' && isErrorNotify(payload));
  if (error !== undefined) throw new RefusedError((error as NotifyPayload).type, 'the Child SA');
}

/** REKEY_SA or CHILD_SA_NOT_FOUND, which name a Child SA by the inbound SPI of the request's sender (RFC 7296 3.10). */
function childNotify(type: number, spi: number): NotifyPayload {
  return notify(type, undefined, ProtocolId.ESP, encodeSpi(spi));
}

/** The peer's value. @throws ProtocolError if it is missing, or of another method */
function keyOf(payloads: readonly Payload[], method: number): Uint8Array {
  const ke = payloadOf(payloads, 'KE');
  if (ke.method !== method) throw syntax(`a KE payload of method ${ke.method}, not ${method}`);
  return ke.data;
}

function syntax(message: string): ProtocolError {
  return new ProtocolError(NotifyType.INVALID_SYNTAX, message);
}

/** Makes a Child SA besides those that there are; says how that went. */
export function* createChild(sa: SaContext, selectors: SelectorPair): Procedure<void> {
  const wanted = { proposals: sa.config.childProposals, ...selectors };
  if (liveChildren(sa).some(({ tunnel }) => isSamePolicy(tunnel, selectors))) {
    const error = new LocalError('there is a Child SA with these traffic selectors');
    sa.emit({ type: 'child-failed', error });
    return;
  }
  try {
    yield* requestChild(sa, wanted, (reserved, agreed) => establishChild(sa, wanted, reserved, agreed));
  } catch (error) {
    if (error instanceof RefusedError && error.notify === NotifyType.TEMPORARY_FAILURE) {
      const at = sa.now + retryDelay(sa.crypto);
      const again: Job = (current) => createChild(current, selectors);
      sa.lineage.agenda.set(`create at ${at}`, at, (current) => current.enqueue('create', again));
    } else if (error instanceof LocalError || (error instanceof RefusedError && !isFatal(error))) {
      sa.emit({ type: 'child-failed', error });
    } else throw error;
  }
}

function isSamePolicy({ local, remote }: TunnelPolicy, { tsI, tsR }: SelectorPair): boolean {
  return coverSame(local, tsI) && coverSame(remote, tsR);
}

/** Whether a refusal ends the IKE SA (RFC 7296 2.21.3). */
export function isFatal({ notify }: RefusedError): boolean {
  return FATAL.includes(notify);
}

function* establishChild(
  sa: SaContext,
  wanted: WantedChild,
  reserved: Reservation,
  { agreement, ...selectors }: AgreedChild,
): Procedure<void> {
  const { tsI, tsR } = selectors;
  if (sa.lineage.strayDeletes?.has(agreement.spiOut))
    throw new LocalError('the peer closed the Child SA at once');
  try {
    if (tsI.length === 0 || tsR.length === 0 || !isSubset(tsI, wanted.tsI) || !isSubset(tsR, wanted.tsR)) {
      throw new LocalError('the peer widened the traffic selectors that it was offered (RFC 7296 2.9)');
    }
    const child = yield* installInbound(sa, reserved, agreement, newTunnel(sa, 'initiator', selectors));
    yield* installOutbound(sa, child);
    superviseChild(sa, child);
    sa.emit({ type: 'child-established', child: childInfo(child) });
  } catch (error) {
    if (error instanceof LocalError) yield* deleteSpis([reserved.spi]);
    throw error;
  }
}

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
  const refusal = refusalToCreateChild(sa.activity);
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
  return yield* withReservedSpi(sa, function* (reserved) {
    const { agreement, response } = agree(sa, reserved, chosen, payloads, sa.crypto.random(NONCE_LENGTH));
    const tunnel = newTunnel(sa, 'responder', selectors);
    const granted = { ...agreement, ...(assigned !== undefined && { assigned }) };
    const child = yield* installInbound(sa, reserved, granted, tunnel);
    yield* installOutbound(sa, child);
    superviseChild(sa, child);
    sa.emit({ type: 'child-established', child: childInfo(child) });
    return [...response, ...selectorPayloads(selectors)];
  });
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
  try {
    return yield* withReservedSpi(sa, function* (reserved) {
      const { agreement, response } = agree(sa, reserved, chosen, payloads, nonceR);
      const child = yield* installInbound(sa, reserved, { ...agreement, ...assignedOf(old) }, old.tunnel);
      rival.child = child;
      if (!joinRekey(sa, old, child, rival)) {
        removeSas(sa, child);
        throw new LocalError('the Child SA was closed while the peer rekeyed it');
      }
      superviseChild(sa, child);
      return [...response, ...selectorPayloads(selectors)];
    });
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
      ...(answer !== undefined && { keyExchange: { method, secret: answer.sharedSecret } }),
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

function selectorPayloads({ tsI, tsR }: SelectorPair): Payload[] {
  return [
    { kind: 'TSi', selectors: tsI },
    { kind: 'TSr', selectors: tsR },
  ];
}
