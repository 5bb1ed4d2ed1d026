import { announcementNotify, chooseLocal, decodeAnnouncements } from '../announced-methods.ts';
import { createAuth, identityOf, verifyAuth } from '../auth.ts';
import { limitAuthentication, takeAuthLifetime } from '../auth-lifetime.ts';
import { certPayloads, demandedProof } from '../certificate-auth.ts';
import { type Reservation, withReservedSpi } from '../child-sa.ts';
import type {
  ChildRequest,
  InitiatorConfig,
  PeerClaim,
  PostQuantumKey,
  RemoteAuthentication,
  ResponderConfig,
} from '../config.ts';
import { AuthMethod, CertEncoding, ExchangeType, IdType, NotifyType, nameOf } from '../constants.ts';
import { AuthenticationError, IkeError, LocalError, ProtocolError, RefusedError } from '../errors.ts';
import type { Peer } from '../output.ts';
import {
  type AuthPayload,
  type CertPayload,
  type IdPayload,
  idPayload,
  isErrorNotify,
  type NotifyPayload,
  notify,
  type Payload,
} from '../payload/index.ts';
import { findNotify, findPayload, payloadOf } from '../payloads.ts';
import { espPath } from '../peer-address.ts';
import { choosePpk, settlePpk, withPpk } from '../ppk.ts';
import { exchange, farewell, type Message, type Procedure, solve } from '../procedure.ts';
import { checkAuthRules } from '../rules.ts';
import { authInputs, establish, type Negotiated, type Role, type SaContext } from '../sa-context.ts';
import type { Answer } from './answer.ts';
import { deleteIkePayload } from './delete.ts';
import {
  answerAddressRequest,
  answerChild,
  childPayloads,
  establishChild,
  judgeChild,
} from './first-child.ts';

// RFC 7296 1.2:
//   HDR, SK {IDi, [CERT,] [N(INITIAL_CONTACT),] AUTH, [CP(CFG_REQUEST),] SAi2, TSi, TSr}  -->
//                        <--  HDR, SK {IDr, [CERT,] AUTH, [CP(CFG_REPLY),] SAr2, TSi, TSr}
// and, when there is an IKE SA but no Child SA (RFC 7296 1.2, 2.21.2):
//                        <--  HDR, SK {IDr, [CERT,] AUTH, N(error)}
// and without a Child SA (RFC 6023 5):
//   HDR, SK {IDi, [CERT,] [N(INITIAL_CONTACT),] AUTH}  -->
//                        <--  HDR, SK {IDr, [CERT,] AUTH}

/** The Child SA that we ask for, and our SPI for it. */
interface Wanted {
  readonly child: ChildRequest;
  readonly reserved: Reservation;
}

/** A request with none of these is for an IKE SA without a Child SA (RFC 6023 5). */
const CHILD_KINDS: readonly Payload['kind'][] = ['SA', 'TSi', 'TSr'];

/** Errors that end the IKE SA; the others only keep the Child SA from being made (RFC 7296 1.2, 2.21.2). */
const FATAL: readonly number[] = [
  NotifyType.AUTHENTICATION_FAILED,
  NotifyType.INVALID_SYNTAX,
  NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD,
];

/**
 * The initiator's part: ends with an established IKE SA, and its Child SA unless there is to be none or the peer refused that
 * one alone.
 */
export function* initiateIkeAuth(sa: SaContext, config: InitiatorConfig): Procedure<void> {
  const { child } = config;
  if (child !== undefined) {
    yield* withReservedSpi(sa, (reserved) => authenticate(sa, config, { child, reserved }));
  } else if (sa.negotiated!.childless) yield* authenticate(sa, config);
  else {
    throw new LocalError(
      'the peer makes no IKE SA without a Child SA (it did not send CHILDLESS_IKEV2_SUPPORTED, RFC 6023): ask for a Child SA',
    );
  }
}

function* authenticate(sa: SaContext, config: InitiatorConfig, wanted?: Wanted): Procedure<void> {
  const solution = sa.puzzle && ((yield* solve(sa.puzzle)) as Uint8Array);
  const plain = sa.negotiated!;
  const ppk = plain.usesPpk ? config.ppk : undefined;
  if (ppk !== undefined) sa.negotiated = withPpk(sa, ppk);
  const request = encodeRequest(sa, config, plain, wanted);
  const { payloads } = yield* exchange(ExchangeType.IKE_AUTH, request, solution);
  const error = payloads.find((payload) => payload.kind === 'NOTIFY' && isErrorNotify(payload));
  const refusal = error && (error as NotifyPayload).type;
  const idR = findPayload(payloads, 'IDr');
  const auth = findPayload(payloads, 'AUTH');
  if (refusal !== undefined && (FATAL.includes(refusal) || idR === undefined || auth === undefined)) {
    throw new RefusedError(refusal, 'IKE_AUTH');
  }
  let peer: Peer;
  try {
    checkAuthRules(true, payloads, wanted === undefined);
    if (ppk !== undefined) settlePpk(sa, plain, ppk, payloads);
    // RFC 7296 2.16: nothing of what the peer says counts until its AUTH payload has been verified.
    peer = verifyPeer(sa, config.remote, payloads);
  } catch (failure) {
    if (!(failure instanceof IkeError)) throw failure;
    const told = failure instanceof ProtocolError ? failure.notify : NotifyType.AUTHENTICATION_FAILED;
    // RFC 7296 2.21.2: in an INFORMATIONAL exchange of its own.
    return yield* leave([notify(told)], failure);
  }
  try {
    const agreement =
      wanted && refusal === undefined ? judgeChild(config, wanted.child, payloads) : undefined;
    establish(sa, peer);
    if (config.mobike && findNotify(payloads, NotifyType.MOBIKE_SUPPORTED) !== undefined)
      sa.lineage.mobility = { accepts: () => false, isQueued: false };
    takeAuthLifetime(sa, payloads);
    if (wanted === undefined) return;
    if (agreement !== undefined) yield* establishChild(sa, 'initiator', wanted.reserved, agreement);
    else sa.emit({ type: 'child-failed', error: new RefusedError(refusal!, 'the Child SA') });
  } catch (failure) {
    if (failure instanceof LocalError || failure instanceof ProtocolError) {
      return yield* leave([deleteIkePayload], failure);
    }
    throw failure;
  }
}

/** @param plain - what was negotiated, without a post-quantum preshared key */
function encodeRequest(
  sa: SaContext,
  config: InitiatorConfig,
  plain: Negotiated,
  wanted: Wanted | undefined,
): Payload[] {
  const { peerMethods, usesPpk } = plain;
  const ppk = usesPpk ? config.ppk : undefined;
  const local = chooseLocal([config.local, ...(config.alternatives ?? [])], peerMethods);
  const id = idPayload('IDi', identityOf(local));
  const inputs = authInputs(sa, 'initiator', id.body);
  return [
    id,
    ...certPayloads(local),
    ...(config.initialContact ? [notify(NotifyType.INITIAL_CONTACT)] : []),
    // RFC 9593 3.1: a responder that announces its methods understands ours.
    ...(config.announceMethods && peerMethods !== undefined
      ? [announcementNotify([config.remote.kind], sa.crypto)]
      : []),
    createAuth(local, inputs, plain),
    ...(wanted === undefined ? [] : childPayloads(config, wanted.child, wanted.reserved.spi)),
    ...(ppk === undefined ? [] : [notify(NotifyType.PPK_IDENTITY, ppk.id)]),
    ...(ppk?.mandatory === false
      ? [notify(NotifyType.NO_PPK_AUTH, createAuth(local, { ...inputs, skP: plain.keys.skPi }, plain).data)]
      : []),
    ...(config.mobike ? [notify(NotifyType.MOBIKE_SUPPORTED)] : []),
  ];
}

/** Tells the peer that the IKE SA is over, and fails: always with `failure`, whatever comes of that. */
function* leave(payloads: readonly Payload[], failure: IkeError): Procedure<never> {
  yield* farewell(payloads);
  throw failure;
}

/** The responder's part. The response is made only when the Child SA is installed. */
export function* answerIkeAuth(
  sa: SaContext,
  config: ResponderConfig,
  { payloads }: Message,
): Procedure<Answer> {
  // RFC 7296 2.16: who leaves AUTH out wants EAP.
  if (findPayload(payloads, 'AUTH') === undefined) {
    return authenticationFailed(new AuthenticationError('the initiator wants EAP, which is not done here'));
  }
  const { childless } = sa.negotiated!;
  const isChildless = childless && !payloads.some(({ kind }) => CHILD_KINDS.includes(kind));
  if (config.childless === 'required' && !isChildless) {
    throw new ProtocolError(
      NotifyType.INVALID_SYNTAX,
      'only IKE SAs without a Child SA are made here (RFC 6023)',
    );
  }
  checkAuthRules(false, payloads, isChildless);
  const idI = payloadOf(payloads, 'IDi');
  const auth = payloadOf(payloads, 'AUTH');
  const profile = config.profile(claimOf(sa, payloads, idI, auth));
  if (profile === undefined) {
    return authenticationFailed(new AuthenticationError('no profile accepts the claim of the initiator'));
  }
  const idR = idPayload('IDr', identityOf(profile.local));
  let peer: Peer;
  let proof: AuthPayload;
  let ppk: PostQuantumKey | undefined;
  try {
    const choice = choosePpk(sa, profile, payloads);
    ppk = choice.ppk;
    if (ppk !== undefined) sa.negotiated = withPpk(sa, ppk);
    peer = verifyPeer(sa, profile.remote, choice.payloads);
    const announced = findNotify(payloads, NotifyType.SUPPORTED_AUTH_METHODS);
    proof = createAuth(profile.local, authInputs(sa, 'responder', idR.body), {
      peerHashes: sa.negotiated!.peerHashes,
      peerMethods: announced && decodeAnnouncements(announced.data),
    });
  } catch (error) {
    if (error instanceof AuthenticationError || error instanceof LocalError)
      return authenticationFailed(error);
    throw error;
  }
  sa.lineage.profile = profile;
  establish(sa, { ...peer, profile: profile.name });
  // RFC 7619 2.3: who is not authenticated must not have other IKE SAs closed.
  const { contactKey } = profile;
  const isMobile =
    profile.mobike !== undefined && findNotify(payloads, NotifyType.MOBIKE_SUPPORTED) !== undefined;
  if (isMobile) sa.lineage.mobility = { accepts: (origin) => profile.mobike!(origin), isQueued: false };
  if (
    contactKey !== undefined &&
    profile.remote.kind !== 'null' &&
    findNotify(payloads, NotifyType.INITIAL_CONTACT)
  ) {
    sa.emit({ type: 'initial-contact', contactKey });
  }
  const child = isChildless
    ? answerAddressRequest(sa, profile, payloads)
    : yield* answerChild(sa, config, profile, payloads);
  return {
    payloads: [
      idR,
      ...certPayloads(profile.local),
      proof,
      ...child,
      ...limitAuthentication(sa, profile),
      ...(ppk === undefined ? [] : [notify(NotifyType.PPK_IDENTITY)]),
      ...(isMobile ? [notify(NotifyType.MOBIKE_SUPPORTED)] : []),
    ],
  };
}

function authenticationFailed(error: IkeError): Answer {
  return { payloads: [notify(NotifyType.AUTHENTICATION_FAILED)], end: { error } };
}

function claimOf(sa: SaContext, payloads: readonly Payload[], id: IdPayload, auth: AuthPayload): PeerClaim {
  const key = payloads.find(
    (payload): payload is CertPayload =>
      payload.kind === 'CERT' && payload.encoding === CertEncoding.RAW_PUBLIC_KEY,
  );
  return {
    identity: { type: id.type, data: id.data },
    method: auth.method,
    origin: espPath(sa),
    ...(key !== undefined && { publicKey: key.data }),
  };
}

/**
 * Verifies what the peer proves of itself (RFC 7296 2.15). With NULL authentication that is nothing, whatever its ID payload
 * says (RFC 7619 2.2).
 * @throws AuthenticationError, LocalError
 */
function verifyPeer(sa: SaContext, remote: RemoteAuthentication, payloads: readonly Payload[]): Peer {
  const side = sa.role === 'initiator' ? 'responder' : 'initiator';
  const id = payloadOf(payloads, side === 'responder' ? 'IDr' : 'IDi');
  const auth = payloadOf(payloads, 'AUTH');
  const identity = { type: id.type, data: id.data };
  const proof = demandedProof(remote, sa.crypto, identity, payloads);
  const { peerHashes } = sa.negotiated!;
  if (!verifyAuth(proof, auth, authInputs(sa, side, id.body), peerHashes)) {
    throw new AuthenticationError(missingProof(side, remote, auth));
  }
  return {
    identity: remote.kind === 'null' ? { type: IdType.ID_NULL, data: new Uint8Array(0) } : identity,
    method: auth.method,
    ...(proof.kind === 'signature' && { publicKey: proof.publicKey }),
  };
}

function missingProof(side: Role, { kind }: RemoteAuthentication, { method }: AuthPayload): string {
  const proof = {
    null: `that it is the ${side} of this exchange`,
    'shared-key': 'that it knows the shared key',
    signature: 'that it has the pinned key: it may have a new one, or somebody on the way impersonates it',
    certificate: 'that it has the key of its certificate',
  }[kind];
  return `the ${side} did not prove ${proof} (it used the method ${nameOf(AuthMethod, method)})`;
}
