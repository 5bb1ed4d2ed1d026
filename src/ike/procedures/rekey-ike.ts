import type { KeyExchange } from '../../crypto/provider.ts';
import { TransformType, zero } from '../../crypto/transforms.ts';
import { losesCollision, type NoncePair, refusalToRekeyIke } from '../collision.ts';
import type { Proposal } from '../config.ts';
import { ExchangeType, NotifyType } from '../constants.ts';
import { NoAnswerError, ProtocolError, RefusedError } from '../errors.ts';
import {
  checkedAgreement,
  checkedNonce,
  decodeMethod,
  encodeMethod,
  NONCE_LENGTH,
  offeredMethods,
} from '../key-agreement.ts';
import { deriveIkeKeys, rekeyedSkeyseed } from '../key-schedule.ts';
import { retryDelay } from '../lifetime.ts';
import { isErrorNotify, type NotifyPayload, notify, type Payload, ProtocolId } from '../payload/index.ts';
import { findPayload, payloadOf } from '../payloads.ts';
import { exchange, farewell, type Message, type Procedure } from '../procedure.ts';
import { type Chosen, chooseProposal, encodeProposals, ikeSuite, verifyAnswer } from '../proposal.ts';
import { Protection } from '../protection.ts';
import { checkRules } from '../rules.ts';
import type { Negotiated, Role, SaContext } from '../sa-context.ts';
import { dismiss, inherit } from '../succession.ts';
import type { Answer } from './answer.ts';
import { deleteIkePayload, deleteReplaced } from './delete.ts';
import { abandonFollowUp, FOLLOW_UP_PATIENCE, type FollowUp, followUp, postpone } from './ike-followup-ke.ts';

// RFC 7296 1.3.2: HDR, SK {SA, Ni, KEi}  -->  <--  HDR, SK {SA, Nr, KEr}

/** Octets of an IKE SPI (RFC 7296 3.3.1). */
const SPI_LENGTH = 8;

/** A peer that goes on with TEMPORARY_FAILURE for so long does not agree with us on the state of the IKE SA (RFC 7296 2.25). */
const RETRY_PATIENCE = 300_000;

/** Refusals that are not for good; the peer does not remember an exchange, or has no use for it now (RFC 9370 2.2.4). */
const RETRIED: readonly number[] = [NotifyType.TEMPORARY_FAILURE, NotifyType.STATE_NOT_FOUND];

/** What the peer agreed to. */
interface Agreement {
  readonly localSpi: Uint8Array;
  readonly negotiated: Negotiated;
}

/**
 * The part of the one who rekeys: ends when the IKE SA has been replaced and deleted, or is the peer's to delete because its
 * own rekey is the one that counts (RFC 7296 2.8.2). One that is refused goes on as it was.
 */
export function* rekeyIke(sa: SaContext): Procedure<'deleted' | undefined> {
  if (sa.activity !== 'idle') return undefined;
  sa.activity = 'rekeying';
  try {
    const agreement = yield* negotiate(sa);
    return yield* conclude(sa, agreement);
  } catch (error) {
    const { candidate } = sa.lineage;
    // RFC 7296 2.8.2: the peer has finished its own rekey, and what we asked is forgotten.
    if (error instanceof NoAnswerError && candidate !== undefined) inherit(candidate);
    if (error instanceof ProtocolError) yield* farewell([deleteIkePayload]);
    throw error;
  } finally {
    if (sa.activity === 'rekeying' || sa.activity === 'replacing') sa.activity = 'idle';
  }
}

/** Asks for a new IKE SA, a second time if another key exchange method is wanted; undefined if the peer refuses. */
function* negotiate(sa: SaContext): Procedure<Agreement | undefined> {
  const { crypto } = sa;
  const proposals = preferring(sa.config.ikeProposals, sa.negotiated!.suite.keyExchange);
  const methods = offeredMethods(proposals);
  const localSpi = crypto.random(SPI_LENGTH);
  const tried: number[] = [];
  for (let method = methods[0]; ; ) {
    tried.push(method);
    const keyExchange = crypto.keyExchange(method);
    try {
      const nonceI = crypto.random(NONCE_LENGTH);
      const { payloads } = yield* exchange(ExchangeType.CREATE_CHILD_SA, [
        { kind: 'SA', proposals: encodeProposals(proposals, ProtocolId.IKE, localSpi) },
        { kind: 'NONCE', data: nonceI },
        { kind: 'KE', method, data: keyExchange.publicValue },
      ]);
      const refusal = payloads.find(
        (payload): payload is NotifyPayload => payload.kind === 'NOTIFY' && isErrorNotify(payload),
      );
      if (refusal === undefined)
        return yield* accept(sa, proposals, keyExchange, { localSpi, nonceI, payloads });
      const wanted = refusal.type === NotifyType.INVALID_KE_PAYLOAD ? decodeMethod(refusal.data) : undefined;
      const isPossible = wanted !== undefined && methods.includes(wanted) && !tried.includes(wanted);
      if (!isPossible || tried.length > 1 || sa.lineage.current !== sa) {
        takeRefusal(sa, refusal.type);
        return undefined;
      }
      method = wanted;
    } finally {
      keyExchange.destroy();
    }
  }
}

/** @throws RefusedError if the peer says that our request is malformed, which ends the IKE SA (RFC 7296 2.21.3) */
function takeRefusal(sa: SaContext, type: number): void {
  if (type === NotifyType.INVALID_SYNTAX) throw new RefusedError(type, 'the rekeying of the IKE SA');
  const { agenda, now } = sa;
  const isOurs = sa.activity === 'rekeying' || sa.activity === 'replacing';
  if (!RETRIED.includes(type) || !isOurs) {
    agenda.delete('disagreement');
    return;
  }
  agenda.set('rekey', now + retryDelay(sa.crypto), () => sa.rekey());
  agenda.start('disagreement', now + RETRY_PATIENCE, () =>
    sa.close(new RefusedError(type, 'every request to rekey the IKE SA')),
  );
}

/**
 * Does the additional key exchanges; undefined if the peer refuses one, or there are some and ours is not the rekey that counts.
 * @throws ProtocolError if it does not answer our request; RefusedError
 */
function* accept(
  sa: SaContext,
  proposals: readonly Proposal[],
  keyExchange: KeyExchange,
  request: {
    readonly localSpi: Uint8Array;
    readonly nonceI: Uint8Array;
    readonly payloads: readonly Payload[];
  },
): Procedure<Agreement | undefined> {
  const { localSpi, nonceI, payloads } = request;
  checkRules(ExchangeType.CREATE_CHILD_SA, true, payloads);
  const chosen = verifyAnswer(proposals, payloadOf(payloads, 'SA').proposals, ProtocolId.IKE);
  const ke = findPayload(payloads, 'KE');
  if (chosen.spi.length !== SPI_LENGTH) throw syntax('the peer rekeyed the IKE SA without a new SPI');
  if (
    ke === undefined ||
    ikeSuite(chosen).keyExchange !== keyExchange.method ||
    ke.method !== keyExchange.method
  )
    throw syntax('the peer rekeyed the IKE SA with another key exchange method than we used');
  const { prf, additional } = ikeSuite(chosen);
  const nonceR = checkedNonce(payloads, prf);
  const inputs = { spiI: localSpi, spiR: chosen.spi.slice(), nonceI, nonceR };
  const secrets = [checkedAgreement(() => keyExchange.agree(ke.data))];
  try {
    if (additional.length > 0) {
      if (!claimRekey(sa, inputs)) return undefined;
      yield* followUp(sa, additional, payloads, secrets);
    }
    return { localSpi, negotiated: derive(sa, 'initiator', chosen, secrets, inputs) };
  } catch (error) {
    if (!(error instanceof RefusedError)) throw error;
    takeRefusal(sa, error.notify);
    return undefined;
  } finally {
    zero(...secrets);
  }
}

/**
 * Additional key exchanges are still to be done: false if the peer's rekey is the one that counts, or the IKE SA is being
 * closed. Otherwise the peer's is given up, and another one refused.
 */
function claimRekey(sa: SaContext, nonces: NoncePair): boolean {
  const { lineage, followUp } = sa;
  const { candidate } = lineage;
  const theirs = candidate?.negotiated ?? followUp?.nonces;
  if (lineage.current !== sa || sa.activity === 'closing') return false;
  if (theirs !== undefined && losesCollision(nonces, theirs)) {
    yieldRekey(sa);
    return false;
  }
  if (sa.activity === 'rekeying') sa.activity = 'replacing';
  if (candidate !== undefined) dismiss(candidate);
  lineage.candidate = undefined;
  abandonFollowUp(sa);
  return true;
}

/** The peer's rekey counts: ours is tried again if the peer does not end it, in the time that it has for that. */
function yieldRekey(sa: SaContext): void {
  const { agenda, now } = sa;
  agenda.delete('disagreement');
  agenda.set('rekey', now + FOLLOW_UP_PATIENCE + retryDelay(sa.crypto), () => sa.rekey());
}

/** Makes the new IKE SA, if there is an agreement on one, and settles which one counts. */
function* conclude(sa: SaContext, agreement: Agreement | undefined): Procedure<'deleted' | undefined> {
  const { lineage, origin } = sa;
  const { candidate } = lineage;
  if (agreement === undefined) {
    // RFC 7296 2.8.2: the peer has refused because it has finished its own rekey.
    if (candidate !== undefined) inherit(candidate);
    return undefined;
  }
  const made = lineage.found({ role: 'initiator', origin, ...agreement }, sa);
  const isRedundant = candidate !== undefined && losesCollision(agreement.negotiated, candidate.negotiated!);
  if (isRedundant) inherit(candidate);
  const pending = sa.followUp?.nonces;
  const isLosing = pending !== undefined && losesCollision(agreement.negotiated, pending);
  // It was replaced already if the peer has begun to use its own: that knew all the nonces before us.
  if (isLosing || lineage.current !== sa) {
    if (isLosing) yieldRekey(sa);
    made.close();
    return undefined;
  }
  inherit(made);
  if (candidate !== undefined) dismiss(candidate);
  return yield* deleteReplaced();
}

/** Whether a CREATE_CHILD_SA request is for a new IKE SA: that is what it proposes. */
export function isIkeRekey({ payloads }: Message): boolean {
  return findPayload(payloads, 'SA')?.proposals.some(({ protocol }) => protocol === ProtocolId.IKE) === true;
}

/** The part of the one who is asked: the new IKE SA is there before the response is sent (RFC 7296 2.8). @throws ProtocolError */
export function answerRekeyIke(sa: SaContext, { payloads }: Message): Answer {
  const { lineage, crypto } = sa;
  checkRules(ExchangeType.CREATE_CHILD_SA, false, payloads);
  const refusal = refusalToRekeyIke(sa.activity, isChangingChildren(sa));
  if (refusal !== undefined || lineage.candidate !== undefined) {
    return refuse(refusal ?? NotifyType.TEMPORARY_FAILURE);
  }
  const { suite } = sa.negotiated!;
  const offered = payloadOf(payloads, 'SA').proposals.filter(({ spi }) => spi.length === SPI_LENGTH);
  const chosen = chooseProposal(
    preferring(sa.config.ikeProposals, suite.keyExchange),
    offered,
    ProtocolId.IKE,
  );
  if (chosen === undefined) return refuse(NotifyType.NO_PROPOSAL_CHOSEN);
  const { prf, keyExchange: method, additional } = ikeSuite(chosen);
  const ke = findPayload(payloads, 'KE');
  if (ke?.method !== method) return refuse(NotifyType.INVALID_KE_PAYLOAD, encodeMethod(method));
  if (!lineage.exchangeBudget.allow(sa.now)) return refuse(NotifyType.TEMPORARY_FAILURE);
  const nonceI = checkedNonce(payloads, prf);
  const nonceR = crypto.random(NONCE_LENGTH);
  const localSpi = crypto.random(SPI_LENGTH);
  const inputs = { spiI: chosen.spi.slice(), spiR: localSpi, nonceI, nonceR };
  const { publicValue, sharedSecret } = checkedAgreement(() => crypto.answerKeyExchange(method, ke.data));
  const payloadsOut: Payload[] = [
    { kind: 'SA', proposals: [{ ...chosen, protocol: ProtocolId.IKE, spi: localSpi }] },
    { kind: 'NONCE', data: nonceR },
    { kind: 'KE', method, data: publicValue },
  ];
  const make = (secrets: readonly Uint8Array[]) => {
    const negotiated = derive(sa, 'responder', chosen, secrets, inputs);
    const made = lineage.found({ role: 'responder', localSpi, origin: sa.origin, negotiated }, sa);
    if (sa.activity === 'rekeying') lineage.candidate = made;
    else inherit(made);
  };
  if (additional.length === 0) {
    make([sharedSecret]);
    return { payloads: payloadsOut };
  }
  const pending: FollowUp = {
    methods: additional,
    nonces: inputs,
    // biome-ignore lint/correctness/useYield: it never waits
    *complete(secrets) {
      const late = refusalToRekeyIke(sa.activity, isChangingChildren(sa));
      if (late !== undefined) {
        pending.abandon();
        return [notify(late)];
      }
      make([sharedSecret, ...secrets]);
      return [];
    },
    abandon: () => zero(sharedSecret),
  };
  return { payloads: [...payloadsOut, postpone(sa, pending)] };
}

/** We are creating, rekeying or closing a Child SA, or are about to move all of them to another address. */
function isChangingChildren({ underWay }: SaContext): boolean {
  return underWay === 'create' || underWay === 'rekey' || underWay === 'delete' || underWay === 'address';
}

function refuse(type: number, data?: Uint8Array): Answer {
  return { payloads: [notify(type, data)] };
}

/** SKEYSEED with the old PRF, all else with the new one (RFC 7296 2.18). Overwrites the secrets. */
function derive(
  sa: SaContext,
  role: Role,
  chosen: Chosen,
  secrets: readonly Uint8Array[],
  inputs: Pick<Negotiated, 'spiI' | 'spiR' | 'nonceI' | 'nonceR'>,
): Negotiated {
  const { crypto } = sa;
  const old = sa.negotiated!;
  const suite = ikeSuite(chosen);
  const skeyseed = rekeyedSkeyseed(crypto, old.suite.prf, old.keys.skD, inputs, secrets);
  const keys = deriveIkeKeys(crypto, suite, inputs, skeyseed, sa.config.keyLog);
  zero(...secrets, skeyseed);
  const protection = new Protection(crypto, keys, role, old.fragmentation);
  return { ...old, ...inputs, suite, keys, protection };
}

/** The proposals, each with the key exchange method that is in use first: the peer can do that one. */
function preferring(proposals: readonly Proposal[], method: number): Proposal[] {
  const isInUse = ({ type, id }: Proposal['transforms'][number]) =>
    type === TransformType.KE && id === method;
  return proposals.map(({ transforms }) => ({
    transforms: [...transforms.filter(isInUse), ...transforms.filter((transform) => !isInUse(transform))],
  }));
}

function syntax(message: string): ProtocolError {
  return new ProtocolError(NotifyType.INVALID_SYNTAX, message);
}
