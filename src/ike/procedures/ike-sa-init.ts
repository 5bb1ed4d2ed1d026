import type { KeyExchange } from '../../crypto/provider.ts';
import { KeyExchangeMethod, zero } from '../../crypto/transforms.ts';
import { concat, equalBytes } from '../../wire/bytes.ts';
import {
  type Announcement,
  announcementNotify,
  chooseLocal,
  decodeAnnouncements,
} from '../announced-methods.ts';
import { certReqPayload } from '../certificate-auth.ts';
import type { InitiatorConfig, ResponderConfig } from '../config.ts';
import { ExchangeType, NotifyType } from '../constants.ts';
import { IkeError, LocalError, ProtocolError, RefusedError } from '../errors.ts';
import {
  checkedAgreement,
  checkedNonce,
  decodeMethod,
  deferredHalf,
  encodeMethod,
  NONCE_LENGTH,
  offeredMethods,
  wholeHalf,
} from '../key-agreement.ts';
import { deriveIkeKeys, initialSkeyseed } from '../key-schedule.ts';
import { encodePlain } from '../message.ts';
import { detectNat, natDetectionNotifies, traversalOrigin } from '../nat-detection.ts';
import { isErrorNotify, type NotifyPayload, notify, type Payload, ProtocolId } from '../payload/index.ts';
import { findNotify, findPayload, payloadOf } from '../payloads.ts';
import { checkPpk, usePpkNotify, wantsPpk } from '../ppk.ts';
import { awaitResponse, initialExchange, type Message, type Procedure } from '../procedure.ts';
import {
  additionalMethods,
  chooseProposal,
  encodeProposals,
  type IkeSuite,
  ikeSuite,
  verifyAnswer,
} from '../proposal.ts';
import { Protection } from '../protection.ts';
import { encodePuzzle, type Puzzle, PuzzleSolver, puzzlePrf } from '../puzzle.ts';
import { PuzzleLock } from '../puzzle-lock.ts';
import { checkRules } from '../rules.ts';
import { headerFields, type Negotiated, type SaContext } from '../sa-context.ts';
import { chooseSignature, decodeHashAlgorithms, hashAlgorithmsNotify } from '../signature-auth.ts';
import { solverOf, workAt } from './solve-puzzle.ts';

// RFC 7296 1.2:
//   HDR, [N(COOKIE),] SAi1, KEi, Ni  -->
//                                    <--  HDR, SAr1, KEr, Nr

/** How often we follow a COOKIE, and an INVALID_KE_PAYLOAD: anybody on the way can send them (RFC 7296 2.6). */
const MAX_RETRIES = 2;
const KEMS: readonly number[] = [
  KeyExchangeMethod.ML_KEM_512,
  KeyExchangeMethod.ML_KEM_768,
  KeyExchangeMethod.ML_KEM_1024,
];
const SPI_UNKNOWN = new Uint8Array(8);
const NO_SPI = new Uint8Array(0);
/** RFC 6023 4: of the IKE SA. */
const CHILDLESS_SUPPORTED: NotifyPayload = {
  ...notify(NotifyType.CHILDLESS_IKEV2_SUPPORTED),
  protocol: ProtocolId.IKE,
};

/** What the initiator puts into its request; COOKIE and INVALID_KE_PAYLOAD change it (RFC 7296 2.6.1). */
interface Attempt {
  readonly nonce: Uint8Array;
  keyExchange: KeyExchange;
  cookie: Uint8Array | undefined;
  cookies: number;
  groups: number;
  /** Of the puzzle that came with the cookie. */
  solution: Uint8Array | undefined;
  puzzles: number;
  /** The puzzle that came with the cookie is too hard. */
  tooHard: LocalError | undefined;
}

/** The initiator's part. Sets `sa.negotiated`, and moves the IKE SA to port 4500 if there is a NAT. */
export function* initiateIkeSaInit(sa: SaContext, config: InitiatorConfig): Procedure<void> {
  checkPpk(config);
  const attempt: Attempt = {
    nonce: sa.crypto.random(NONCE_LENGTH),
    keyExchange: sa.crypto.keyExchange(offeredMethods(config.ikeProposals)[0]),
    cookie: undefined,
    cookies: 0,
    groups: 0,
    solution: undefined,
    puzzles: 0,
    tooHard: undefined,
  };
  try {
    let request = encodeRequest(sa, config, attempt);
    let response = yield* initialExchange(request);
    let solver: PuzzleSolver | undefined;
    for (;;) {
      let verdict = judge(sa, config, attempt, request, response);
      // A useless response does not keep us from solving a puzzle: anybody on the way can send one.
      if (solver !== undefined && (verdict === 'stale' || verdict instanceof IkeError)) verdict = solver;
      solver = verdict instanceof PuzzleSolver ? verdict : undefined;
      if (verdict instanceof PuzzleSolver) {
        const heard = yield* workAt(verdict);
        if (!(heard instanceof Uint8Array)) {
          response = heard;
          continue;
        }
        attempt.solution = heard;
        solver = undefined;
        verdict = 'again';
      }
      switch (verdict) {
        case 'accepted':
          return;
        case 'again':
          request = encodeRequest(sa, config, attempt);
          response = yield* initialExchange(request);
          break;
        case 'stale':
          response = yield* awaitResponse();
          break;
        default:
          response = yield* awaitResponse(verdict);
      }
    }
  } finally {
    attempt.keyExchange.destroy();
  }
}

/** One fixed list of payloads in one order (T6): the same for every initiator at the same hop. */
function encodeRequest(sa: SaContext, config: InitiatorConfig, attempt: Attempt): Uint8Array {
  const spis = { spiI: sa.localSpi, spiR: SPI_UNKNOWN };
  const { method, publicValue } = attempt.keyExchange;
  return encodePlain(headerFields(sa, spis, ExchangeType.IKE_SA_INIT, 0, false), [
    ...(attempt.cookie === undefined ? [] : [notify(NotifyType.COOKIE, attempt.cookie)]),
    ...(attempt.solution === undefined ? [] : [{ kind: 'PS', data: attempt.solution } as const]),
    { kind: 'SA', proposals: encodeProposals(config.ikeProposals, ProtocolId.IKE, NO_SPI) },
    { kind: 'KE', method, data: publicValue },
    { kind: 'NONCE', data: attempt.nonce },
    hashAlgorithmsNotify(),
    ...(config.natDetection ? natDetectionNotifies(sa.crypto, spis, sa.origin) : []),
    ...(config.fragmentation ? [notify(NotifyType.IKEV2_FRAGMENTATION_SUPPORTED)] : []),
    ...usePpkNotify(config.ppk !== undefined),
    ...intermediateNotify(config.ikeProposals.flatMap(({ transforms }) => additionalMethods(transforms))),
  ]);
}

/**
 * What to make of a response, which is not authenticated: it is accepted, or asks for another request, or was already
 * dealt with, or is only a hint of what goes wrong.
 */
function judge(
  sa: SaContext,
  config: InitiatorConfig,
  attempt: Attempt,
  request: Uint8Array,
  response: Message,
): 'accepted' | 'again' | 'stale' | PuzzleSolver | IkeError {
  try {
    const puzzle = findNotify(response.payloads, NotifyType.PUZZLE);
    const cookie = findNotify(response.payloads, NotifyType.COOKIE);
    // RFC 8019 7.1.2: a puzzle without a cookie, and without an IKE SA, is malformed.
    if (puzzle !== undefined && cookie === undefined && !findPayload(response.payloads, 'SA')) return 'stale';
    checkRules(ExchangeType.IKE_SA_INIT, true, response.payloads);
    if (cookie !== undefined && puzzle !== undefined)
      return takePuzzle(sa, config, attempt, cookie.data, puzzle.data);
    if (cookie !== undefined) return takeCookie(attempt, cookie.data);
    const group = findNotify(response.payloads, NotifyType.INVALID_KE_PAYLOAD);
    if (group !== undefined) return takeGroup(sa, config, attempt, group.data);
    for (const payload of response.payloads) {
      if (payload.kind === 'NOTIFY' && isErrorNotify(payload)) return refused(payload.type);
    }
    accept(sa, config, attempt, request, response);
    return 'accepted';
  } catch (error) {
    if (error instanceof IkeError) return error;
    throw error;
  }
}

function refused(type: number): RefusedError {
  return new RefusedError(type, 'IKE_SA_INIT');
}

/** RFC 7296 2.6. */
function isCookie({ length }: Uint8Array): boolean {
  return length >= 1 && length <= 64;
}

/** RFC 7296 2.6: the cookie goes first, everything else stays as it was. */
function takeCookie(attempt: Attempt, cookie: Uint8Array): 'again' | 'stale' | IkeError {
  if (attempt.cookie !== undefined && equalBytes(attempt.cookie, cookie)) return 'stale';
  if (!isCookie(cookie) || attempt.cookies++ >= MAX_RETRIES) {
    return refused(NotifyType.COOKIE);
  }
  attempt.cookie = cookie;
  attempt.solution = undefined;
  return 'again';
}

/** RFC 8019 7.1.2: the cookie with the solution, or alone, which may be served if that is harder than we are willing to solve. */
function takePuzzle(
  sa: SaContext,
  config: InitiatorConfig,
  attempt: Attempt,
  cookie: Uint8Array,
  data: Uint8Array,
): 'again' | 'stale' | PuzzleSolver | IkeError {
  if (attempt.cookie !== undefined && equalBytes(attempt.cookie, cookie)) return attempt.tooHard ?? 'stale';
  if (!isCookie(cookie) || attempt.puzzles++ >= MAX_RETRIES) {
    return attempt.tooHard ?? refused(NotifyType.PUZZLE);
  }
  attempt.cookie = cookie;
  attempt.solution = undefined;
  const solver = solverOf(sa, config, data, cookie);
  attempt.tooHard = solver instanceof LocalError ? solver : undefined;
  return solver instanceof LocalError ? 'again' : solver;
}

/** RFC 7296 1.2, 2.7: the group that is asked for, if it was offered, with all of the proposals again. */
function takeGroup(
  sa: SaContext,
  config: InitiatorConfig,
  attempt: Attempt,
  data: Uint8Array,
): 'again' | 'stale' | IkeError {
  const method = decodeMethod(data);
  if (method === attempt.keyExchange.method) return 'stale';
  const isOffered = method !== undefined && offeredMethods(config.ikeProposals).includes(method);
  if (!isOffered || attempt.groups++ >= MAX_RETRIES) return refused(NotifyType.INVALID_KE_PAYLOAD);
  attempt.keyExchange.destroy();
  attempt.keyExchange = sa.crypto.keyExchange(method);
  return 'again';
}

/** @throws ProtocolError if it does not answer our request; LocalError if we could not go on with such a responder */
function accept(
  sa: SaContext,
  config: InitiatorConfig,
  { keyExchange, nonce }: Attempt,
  request: Uint8Array,
  { header, payloads, bytes }: Message,
): void {
  const suite = ikeSuite(
    verifyAnswer(config.ikeProposals, payloadOf(payloads, 'SA').proposals, ProtocolId.IKE),
  );
  const ke = payloadOf(payloads, 'KE');
  if (suite.keyExchange !== keyExchange.method || ke.method !== keyExchange.method) {
    throw syntax('the peer answered with another key exchange method than we used');
  }
  if (config.ppk?.mandatory && !wantsPpk(payloads))
    throw new LocalError('the responder does not use post-quantum preshared keys, or has none (RFC 8784)');
  if (suite.additional.length > 0 && !offersIntermediate(payloads)) {
    throw syntax('the peer chose additional key exchanges without the exchange for them (RFC 9370 2.2.1)');
  }
  const abilities = { peerHashes: peerHashes(payloads), peerMethods: peerMethods(payloads) };
  const local = chooseLocal([config.local, ...(config.alternatives ?? [])], abilities.peerMethods);
  if (local.kind === 'signature') chooseSignature(local, abilities);
  if (header.spiR.every((octet) => octet === 0)) throw syntax('the peer accepted without an SPI');
  const nonceR = checkedNonce(payloads, suite.prf);
  const spis = { spiI: header.spiI, spiR: header.spiR };
  const puzzle = findNotify(payloads, NotifyType.PUZZLE);
  const solver = puzzle && solverOf(sa, config, puzzle.data, concat(nonceR, header.spiR));
  if (solver instanceof LocalError) throw solver;
  sa.negotiated = negotiate(
    sa,
    checkedAgreement(() => keyExchange.agree(ke.data)),
    {
      ...spis,
      nonceI: nonce,
      nonceR,
      suite,
      firstMessages: { request, response: bytes },
      ...abilities,
      childless: findNotify(payloads, NotifyType.CHILDLESS_IKEV2_SUPPORTED) !== undefined,
      fragmentation: config.fragmentation === true && offersFragmentation(payloads),
      pendingMethods: suite.additional,
      usesPpk: config.ppk !== undefined && wantsPpk(payloads),
    },
  );
  sa.puzzle = solver;
  if (!config.natDetection) return;
  const nat = detectNat(sa.crypto, spis, payloads, sa.origin);
  sa.lineage.nat = nat;
  // RFC 4555 3.3: with MOBIKE, because there may be a NAT later.
  const isMoving = nat !== undefined && (nat.local || nat.remote || config.mobike);
  if (isMoving && !sa.origin.encapsulated) sa.origin = config.traversal ?? traversalOrigin(sa.origin);
}

/** The responder's answer; `refused` says why there is no IKE SA. */
export interface InitAnswer {
  readonly response: Uint8Array;
  readonly refused?: ProtocolError;
}

/**
 * The responder's part. Sets `sa.negotiated` unless it refuses, with an error notify and an SPI of zero (RFC 7296 2.6).
 * @throws ProtocolError for a request that is not to be answered
 */
export function answerIkeSaInit(sa: SaContext, config: ResponderConfig, request: Message): InitAnswer {
  const { payloads, header } = request;
  checkRules(ExchangeType.IKE_SA_INIT, false, payloads);
  const offered = payloadOf(payloads, 'SA').proposals;
  const chosen = chooseProposal(config.ikeProposals, offered, ProtocolId.IKE);
  if (chosen === undefined) {
    const message = 'the initiator offers no IKE proposal that is acceptable here';
    return refuse(sa, request, new ProtocolError(NotifyType.NO_PROPOSAL_CHOSEN, message));
  }
  const suite = ikeSuite(chosen);
  if (suite.additional.length > 0 && !offersIntermediate(payloads)) {
    const message =
      'the initiator offers additional key exchanges without the exchange for them (RFC 9370 2.2.1)';
    return refuse(sa, request, new ProtocolError(NotifyType.NO_PROPOSAL_CHOSEN, message));
  }
  const ke = payloadOf(payloads, 'KE');
  if (ke.method !== suite.keyExchange) {
    const message = `the initiator used key exchange method ${ke.method}, not ${suite.keyExchange}`;
    const group = encodeMethod(suite.keyExchange);
    return refuse(sa, request, new ProtocolError(NotifyType.INVALID_KE_PAYLOAD, message, group));
  }
  const nonceI = checkedNonce(payloads, suite.prf);
  const nonceR = sa.crypto.random(NONCE_LENGTH);
  const spis = { spiI: header.spiI, spiR: sa.localSpi };
  const hashes = peerHashes(payloads);
  const fragmentation = offersFragmentation(payloads);
  const usesPpk = config.usesPpk === true && wantsPpk(payloads);
  sa.lineage.nat = detectNat(sa.crypto, { spiI: header.spiI, spiR: SPI_UNKNOWN }, payloads, sa.origin);
  const puzzle = authPuzzle(config, suite, payloads);
  const half = puzzle === undefined ? wholeHalf(sa.crypto, ke) : deferredHalf(sa.crypto, ke);
  const response = encodePlain(headerFields(sa, spis, ExchangeType.IKE_SA_INIT, 0, true), [
    { kind: 'SA', proposals: [{ ...chosen, protocol: ProtocolId.IKE, spi: NO_SPI }] },
    { kind: 'KE', method: suite.keyExchange, data: half.publicValue },
    { kind: 'NONCE', data: nonceR },
    ...(puzzle === undefined ? [] : [notify(NotifyType.PUZZLE, encodePuzzle(puzzle))]),
    ...(hashes === undefined ? [] : [hashAlgorithmsNotify()]),
    ...(sa.lineage.nat === undefined ? [] : natDetectionNotifies(sa.crypto, spis, sa.origin)),
    ...(fragmentation ? [notify(NotifyType.IKEV2_FRAGMENTATION_SUPPORTED)] : []),
    ...authenticationPolicy(config),
    ...usePpkNotify(usesPpk),
    ...intermediateNotify(suite.additional),
  ]);
  const agreed = {
    ...spis,
    nonceI,
    nonceR,
    suite,
    firstMessages: { request: request.bytes, response },
    peerHashes: hashes,
    peerMethods: undefined,
    childless: config.childless !== undefined,
    fragmentation,
    pendingMethods: suite.additional,
    usesPpk,
  };
  const compute = () => {
    sa.negotiated = negotiate(sa, half.sharedSecret(), agreed);
    sa.lock = undefined;
  };
  if (puzzle === undefined) compute();
  else sa.lock = new PuzzleLock(sa.crypto, puzzle, concat(nonceR, sa.localSpi), { ...half, compute });
  return { response };
}

/** The puzzle for IKE_AUTH. A KEM's ciphertext is in the response already: nothing would be left to be computed. */
function authPuzzle(
  config: ResponderConfig,
  suite: IkeSuite,
  payloads: readonly Payload[],
): Puzzle | undefined {
  const { authPuzzleDifficulty: difficulty } = config;
  if (difficulty === undefined) return undefined;
  // IKE_INTERMEDIATE would need the keys before IKE_AUTH comes.
  if (KEMS.includes(suite.keyExchange) || suite.additional.length > 0) return undefined;
  const prf = puzzlePrf(payloads);
  return prf === undefined ? undefined : { prf, difficulty };
}

/** What the responder says of how initiators are to prove themselves; nothing unless it is told to. */
function authenticationPolicy(config: ResponderConfig): Payload[] {
  const { crypto, certificateAuthorities, announcedMethods, childless } = config;
  return [
    ...(childless === undefined ? [] : [CHILDLESS_SUPPORTED]),
    ...(announcedMethods === undefined ? [] : [announcementNotify(announcedMethods, crypto)]),
    ...(certificateAuthorities === undefined ? [] : [certReqPayload(crypto, certificateAuthorities)]),
  ];
}

function refuse(sa: SaContext, { header }: Message, error: ProtocolError): InitAnswer {
  const spis = { spiI: header.spiI, spiR: SPI_UNKNOWN };
  const fields = headerFields(sa, spis, ExchangeType.IKE_SA_INIT, 0, true);
  return { response: encodePlain(fields, [notify(error.notify, error.data)]), refused: error };
}

/** Overwrites the shared secret. */
function negotiate(
  sa: SaContext,
  sharedSecret: Uint8Array,
  agreed: Omit<Negotiated, 'keys' | 'protection'>,
): Negotiated {
  const skeyseed = initialSkeyseed(sa.crypto, agreed.suite.prf, agreed, sharedSecret);
  const keys = deriveIkeKeys(sa.crypto, agreed.suite, agreed, skeyseed, sa.config.keyLog);
  zero(sharedSecret, skeyseed);
  return { ...agreed, keys, protection: new Protection(sa.crypto, keys, sa.role, agreed.fragmentation) };
}

function peerHashes(payloads: readonly Payload[]): ReadonlySet<number> | undefined {
  const found = findNotify(payloads, NotifyType.SIGNATURE_HASH_ALGORITHMS);
  return found && decodeHashAlgorithms(found.data);
}

/** RFC 7383 2.3. */
function offersFragmentation(payloads: readonly Payload[]): boolean {
  return findNotify(payloads, NotifyType.IKEV2_FRAGMENTATION_SUPPORTED) !== undefined;
}

/** RFC 9242 3.1: only with additional key exchanges, which are all that we use IKE_INTERMEDIATE for. */
function intermediateNotify(methods: readonly number[]): NotifyPayload[] {
  return methods.length === 0 ? [] : [notify(NotifyType.INTERMEDIATE_EXCHANGE_SUPPORTED)];
}

function offersIntermediate(payloads: readonly Payload[]): boolean {
  return findNotify(payloads, NotifyType.INTERMEDIATE_EXCHANGE_SUPPORTED) !== undefined;
}

function syntax(message: string): ProtocolError {
  return new ProtocolError(NotifyType.INVALID_SYNTAX, message);
}

function peerMethods(payloads: readonly Payload[]): readonly Announcement[] | undefined {
  const found = findNotify(payloads, NotifyType.SUPPORTED_AUTH_METHODS);
  return found && decodeAnnouncements(found.data);
}
