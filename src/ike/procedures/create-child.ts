import { zero } from '../../crypto/transforms.ts';
import type { TunnelPolicy } from '../../link/sa-store.ts';
import { coverSame } from '../child-policy.ts';
import {
  type ChildAgreement,
  type ChildSa,
  childInfo,
  decodeSpi,
  encodeSpi,
  findByPeerSpi,
  installInbound,
  installOutbound,
  liveChildren,
  newTunnel,
  type Reservation,
  type SelectorPair,
  superviseChild,
  withReservedSpi,
} from '../child-sa.ts';
import type { NoncePair } from '../collision.ts';
import type { Proposal } from '../config.ts';
import { ExchangeType, NotifyType } from '../constants.ts';
import { LocalError, ProtocolError, RefusedError } from '../errors.ts';
import type { Job } from '../job-queue.ts';
import {
  checkedAgreement,
  checkedNonce,
  decodeMethod,
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
import { findNotify, payloadOf } from '../payloads.ts';
import { exchange, type Procedure } from '../procedure.ts';
import { additionalMethods, encodeProposals, espSuite, keyExchangeOf, verifyAnswer } from '../proposal.ts';
import { checkRules } from '../rules.ts';
import type { SaContext } from '../sa-context.ts';
import { isSubset } from '../traffic-selector.ts';
import { deleteSpis } from './delete.ts';
import { followUp } from './ike-followup-ke.ts';

// RFC 7296 1.3.1, 1.3.3:
//   HDR, SK {[N(REKEY_SA),] SA, Ni, [KEi,] TSi, TSr}  -->
//                                    <--  HDR, SK {SA, Nr, [KEr,] TSi, TSr}

/** How often we follow INVALID_KE_PAYLOAD. */
const MAX_RETRIES = 2;
const NO_METHOD = -1;
/** A peer that has no time for a Child SA for so long, some minutes, does not want it (RFC 7296 2.25). */
const MAX_TEMPORARY_FAILURES = 40;

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
  /** Asked before additional key exchanges are done: whether ours is the one that counts. */
  claim?(nonces: NoncePair): boolean;
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
        const secrets: Uint8Array[] = [];
        try {
          const agreed = yield* negotiate(sa, wanted, reserved, method, secrets);
          return typeof agreed === 'number' ? agreed : { value: yield* use(reserved, agreed) };
        } finally {
          zero(...secrets);
        }
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

/**
 * One request and its answer; a number is the method that the peer asks for instead.
 * @param secrets - SK(0) to SK(n) are added to it as they come, for the caller to overwrite
 */
function* negotiate(
  sa: SaContext,
  wanted: WantedChild,
  reserved: Reservation,
  method: number,
  secrets: Uint8Array[],
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
    const nonces = { nonceI, nonceR };
    if (chosenMethod !== 0 && keyExchange !== undefined)
      secrets.push(checkedAgreement(() => keyExchange.agree(keyOf(payloads, method))));
    const additional = additionalMethods(chosen.transforms);
    if (additional.length > 0) {
      if (wanted.claim?.(nonces) === false)
        throw new LocalError('the peer replaces the Child SA as well, with better nonces');
      yield* followUp(sa, additional, payloads, secrets);
    }
    return {
      tsI: payloadOf(payloads, 'TSi').selectors,
      tsR: payloadOf(payloads, 'TSr').selectors,
      agreement: {
        role: 'initiator',
        spiOut,
        suite: espSuite(chosen),
        nonces,
        ...(secrets.length > 0 && { keyExchange: { method, secrets } }),
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
export function childNotify(type: number, spi: number): NotifyPayload {
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

/**
 * Makes a Child SA besides those that there are; says how that went.
 * @param tries - how often it is asked for while the peer answers with TEMPORARY_FAILURE
 */
export function* createChild(
  sa: SaContext,
  selectors: SelectorPair,
  tries = MAX_TEMPORARY_FAILURES,
): Procedure<void> {
  const wanted = { proposals: sa.config.childProposals, ...selectors };
  if (liveChildren(sa).some(({ tunnel }) => isSamePolicy(tunnel, selectors))) {
    const error = new LocalError('there is a Child SA with these traffic selectors');
    sa.emit({ type: 'child-failed', error });
    return;
  }
  try {
    yield* requestChild(sa, wanted, (reserved, agreed) => establishChild(sa, wanted, reserved, agreed));
  } catch (error) {
    const isTemporary = error instanceof RefusedError && error.notify === NotifyType.TEMPORARY_FAILURE;
    if (isTemporary && tries > 1) {
      const at = sa.now + retryDelay(sa.crypto);
      const again: Job = (current) => createChild(current, selectors, tries - 1);
      sa.lineage.agenda.set(`create at ${at}`, at, (current) => current.enqueue('create', again));
    } else if (error instanceof LocalError || (error instanceof RefusedError && !isFatal(error))) {
      sa.emit({ type: 'child-failed', error });
    } else throw error;
  }
}

/** Whether a tunnel carries just this, as its initiator sees it. */
export function isSamePolicy({ local, remote }: TunnelPolicy, { tsI, tsR }: SelectorPair): boolean {
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
    sa.emit({ type: 'child-established', child: childInfo(child), role: 'initiator' });
  } catch (error) {
    if (error instanceof LocalError) yield* deleteSpis([reserved.spi]);
    throw error;
  }
}

/** TSi and TSr of both requests and responses. */
export function selectorPayloads({ tsI, tsR }: SelectorPair): Payload[] {
  return [
    { kind: 'TSi', selectors: tsI },
    { kind: 'TSr', selectors: tsR },
  ];
}
