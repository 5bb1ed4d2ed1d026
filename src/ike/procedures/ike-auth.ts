import { ConfigType } from '../../cp/attributes.ts';
import { assignedAddresses, configReply, configRequest, requestedAddresses } from '../../cp/configuration.ts';
import type { AssignedAddresses, EspSuite } from '../../link/sa-store.ts';
import { WireError } from '../../wire/reader.ts';
import { createAuth, identityOf, verifyAuth } from '../auth.ts';
import { certPayloads, demandedProof } from '../certificate-auth.ts';
import { selectorsFor, withoutKeyExchange } from '../child-policy.ts';
import {
  childInfo,
  decodeSpi,
  encodeSpi,
  installInbound,
  installOutbound,
  newTunnel,
  type Reservation,
  type SelectorPair,
  superviseChild,
  withReservedSpi,
} from '../child-sa.ts';
import type {
  InitiatorConfig,
  PeerClaim,
  RemoteAuthentication,
  ResponderConfig,
  ResponderProfile,
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
  ProtocolId,
} from '../payload/index.ts';
import { findNotify, findPayload, payloadOf } from '../payloads.ts';
import { exchange, farewell, type Message, type Procedure } from '../procedure.ts';
import { chooseProposal, encodeProposals, espSuite, verifyAnswer } from '../proposal.ts';
import { checkRules } from '../rules.ts';
import { authInputs, establish, type Role, type SaContext } from '../sa-context.ts';
import { isSubset } from '../traffic-selector.ts';
import type { Answer } from './answer.ts';
import { deleteIkePayload } from './delete.ts';

// RFC 7296 1.2:
//   HDR, SK {IDi, [CERT,] [N(INITIAL_CONTACT),] AUTH, [CP(CFG_REQUEST),] SAi2, TSi, TSr}  -->
//                        <--  HDR, SK {IDr, [CERT,] AUTH, [CP(CFG_REPLY),] SAr2, TSi, TSr}
// and, when there is an IKE SA but no Child SA (RFC 7296 1.2, 2.21.2):
//                        <--  HDR, SK {IDr, [CERT,] AUTH, N(error)}

/** Errors that end the IKE SA; the others only keep the Child SA from being made (RFC 7296 1.2, 2.21.2). */
const FATAL: readonly number[] = [
  NotifyType.AUTHENTICATION_FAILED,
  NotifyType.INVALID_SYNTAX,
  NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD,
];

/** The initiator's part: ends with an established IKE SA, and its Child SA unless the peer refused that one alone. */
export function* initiateIkeAuth(sa: SaContext, config: InitiatorConfig): Procedure<void> {
  yield* withReservedSpi(sa, (reserved) => authenticate(sa, config, reserved));
}

function* authenticate(sa: SaContext, config: InitiatorConfig, reserved: Reservation): Procedure<void> {
  const { payloads } = yield* exchange(ExchangeType.IKE_AUTH, encodeRequest(sa, config, reserved.spi));
  const error = payloads.find((payload) => payload.kind === 'NOTIFY' && isErrorNotify(payload));
  const refusal = error && (error as NotifyPayload).type;
  const idR = findPayload(payloads, 'IDr');
  const auth = findPayload(payloads, 'AUTH');
  if (refusal !== undefined && (FATAL.includes(refusal) || idR === undefined || auth === undefined)) {
    throw new RefusedError(refusal, 'IKE_AUTH');
  }
  let peer: Peer;
  try {
    checkRules(ExchangeType.IKE_AUTH, true, payloads);
    // RFC 7296 2.16: nothing of what the peer says counts until its AUTH payload has been verified.
    peer = verifyPeer(sa, config.remote, payloads);
  } catch (failure) {
    if (!(failure instanceof IkeError)) throw failure;
    const told = failure instanceof ProtocolError ? failure.notify : NotifyType.AUTHENTICATION_FAILED;
    // RFC 7296 2.21.2: in an INFORMATIONAL exchange of its own.
    return yield* leave([notify(told)], failure);
  }
  try {
    const agreement = refusal === undefined ? judgeChild(config, payloads) : undefined;
    establish(sa, peer);
    if (agreement !== undefined) yield* establishChild(sa, 'initiator', reserved, agreement);
    else sa.emit({ type: 'child-failed', error: new RefusedError(refusal!, 'the Child SA') });
  } catch (failure) {
    if (failure instanceof LocalError || failure instanceof ProtocolError) {
      return yield* leave([deleteIkePayload], failure);
    }
    throw failure;
  }
}

/** The Child SA of IKE_AUTH: its keys come from the nonces of IKE_SA_INIT (RFC 7296 2.17). */
interface FirstChild extends SelectorPair {
  readonly spiOut: number;
  readonly suite: EspSuite;
  readonly assigned?: AssignedAddresses;
}

/** Installs both SAs, inbound first (RFC 7296 2.8), and announces them. @throws LocalError */
function* establishChild(
  sa: SaContext,
  role: Role,
  reserved: Reservation,
  { spiOut, suite, assigned, ...selectors }: FirstChild,
): Procedure<void> {
  sa.lineage.assigned = assigned;
  const { nonceI, nonceR } = sa.negotiated!;
  const agreement = {
    role,
    spiOut,
    suite,
    nonces: { nonceI, nonceR },
    ...(assigned !== undefined && { assigned }),
  };
  const child = yield* installInbound(sa, reserved, agreement, newTunnel(sa, role, selectors));
  yield* installOutbound(sa, child);
  superviseChild(sa, child);
  sa.emit({ type: 'child-established', child: childInfo(child) });
}

function encodeRequest(sa: SaContext, config: InitiatorConfig, spi: number): Payload[] {
  const { local, child } = config;
  const id = idPayload('IDi', identityOf(local));
  return [
    id,
    ...certPayloads(local),
    ...(config.initialContact ? [notify(NotifyType.INITIAL_CONTACT)] : []),
    createAuth(local, authInputs(sa, 'initiator', id.body), sa.negotiated!.peerHashes),
    ...(child.addresses === undefined
      ? []
      : [{ kind: 'CP', type: ConfigType.CFG_REQUEST, attributes: configRequest(child.addresses) } as const]),
    {
      kind: 'SA',
      proposals: encodeProposals(withoutKeyExchange(config.childProposals), ProtocolId.ESP, encodeSpi(spi)),
    },
    { kind: 'TSi', selectors: child.tsI },
    { kind: 'TSr', selectors: child.tsR },
  ];
}

/** Checks what the peer made of our Child SA. @throws ProtocolError, LocalError */
function judgeChild(config: InitiatorConfig, payloads: readonly Payload[]): FirstChild {
  const { child } = config;
  const offered = withoutKeyExchange(config.childProposals);
  const chosen = verifyAnswer(offered, payloadOf(payloads, 'SA').proposals, ProtocolId.ESP);
  const tsI = payloadOf(payloads, 'TSi').selectors;
  const tsR = payloadOf(payloads, 'TSr').selectors;
  if (tsI.length === 0 || tsR.length === 0 || !isSubset(tsI, child.tsI) || !isSubset(tsR, child.tsR)) {
    throw new LocalError('the peer widened the traffic selectors that it was offered (RFC 7296 2.9)');
  }
  const assigned = child.addresses && assignment(payloads);
  const answer = { tsI, tsR, ...(assigned !== undefined && { assigned }) };
  const refused = config.acceptChild(answer);
  if (refused !== undefined) throw new LocalError(refused);
  return { ...answer, spiOut: decodeSpi(chosen.spi), suite: espSuite(chosen) };
}

function assignment(payloads: readonly Payload[]): AssignedAddresses | undefined {
  const reply = findPayload(payloads, 'CP');
  if (reply?.type !== ConfigType.CFG_REPLY) return undefined;
  try {
    return assignedAddresses(reply.attributes);
  } catch (error) {
    if (error instanceof WireError) throw new ProtocolError(NotifyType.INVALID_SYNTAX, error.message);
    throw error;
  }
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
  checkRules(ExchangeType.IKE_AUTH, false, payloads);
  const idI = payloadOf(payloads, 'IDi');
  const auth = payloadOf(payloads, 'AUTH');
  const profile = config.profile(claimOf(sa, payloads, idI, auth));
  if (profile === undefined) {
    return authenticationFailed(new AuthenticationError('no profile accepts the claim of the initiator'));
  }
  const idR = idPayload('IDr', identityOf(profile.local));
  let peer: Peer;
  let proof: AuthPayload;
  try {
    peer = verifyPeer(sa, profile.remote, payloads);
    proof = createAuth(profile.local, authInputs(sa, 'responder', idR.body), sa.negotiated!.peerHashes);
  } catch (error) {
    if (error instanceof AuthenticationError || error instanceof LocalError)
      return authenticationFailed(error);
    throw error;
  }
  sa.lineage.profile = profile;
  establish(sa, { ...peer, profile: profile.name });
  // RFC 7619 2.3: who is not authenticated must not have other IKE SAs closed.
  const { contactKey } = profile;
  if (
    contactKey !== undefined &&
    profile.remote.kind !== 'null' &&
    findNotify(payloads, NotifyType.INITIAL_CONTACT)
  ) {
    sa.emit({ type: 'initial-contact', contactKey });
  }
  const child = yield* answerChild(sa, config, profile, payloads);
  return { payloads: [idR, ...certPayloads(profile.local), proof, ...child] };
}

function authenticationFailed(error: IkeError): Answer {
  return { payloads: [notify(NotifyType.AUTHENTICATION_FAILED)], end: { error } };
}

/** The part of the response that is about the Child SA; its failure leaves the IKE SA as it is (RFC 7296 1.2). */
function* answerChild(
  sa: SaContext,
  config: ResponderConfig,
  profile: ResponderProfile,
  payloads: readonly Payload[],
): Procedure<Payload[]> {
  try {
    return yield* createChild(sa, config, profile, payloads);
  } catch (error) {
    if (!(error instanceof ProtocolError || error instanceof LocalError)) throw error;
    profile.assigner?.release(sa.lineage);
    sa.emit({ type: 'child-failed', error });
    return [
      error instanceof ProtocolError
        ? notify(error.notify, error.data)
        : notify(NotifyType.TEMPORARY_FAILURE),
    ];
  }
}

function* createChild(
  sa: SaContext,
  config: ResponderConfig,
  profile: ResponderProfile,
  payloads: readonly Payload[],
): Procedure<Payload[]> {
  const ours = withoutKeyExchange(config.childProposals);
  const chosen = chooseProposal(ours, payloadOf(payloads, 'SA').proposals, ProtocolId.ESP);
  if (chosen === undefined) {
    throw new ProtocolError(NotifyType.NO_PROPOSAL_CHOSEN, 'no ESP proposal is acceptable here');
  }
  const assigned = assign(sa, profile, payloads);
  const { tsI, tsR } = selectorsFor(profile, assigned, payloads);
  return yield* withReservedSpi(sa, function* (reserved) {
    const agreement = { spiOut: decodeSpi(chosen.spi), suite: espSuite(chosen), tsI, tsR };
    const granted = { ...agreement, ...(assigned !== undefined && { assigned }) };
    yield* establishChild(sa, 'responder', reserved, granted);
    const proposal = { ...chosen, protocol: ProtocolId.ESP, spi: encodeSpi(reserved.spi) };
    return [
      ...(assigned === undefined
        ? []
        : [{ kind: 'CP', type: ConfigType.CFG_REPLY, attributes: configReply(assigned) } as const]),
      { kind: 'SA', proposals: [proposal] },
      { kind: 'TSi', selectors: tsI },
      { kind: 'TSr', selectors: tsR },
    ];
  });
}

/** RFC 7296 2.19, 3.15.4. @throws ProtocolError */
function assign(
  sa: SaContext,
  profile: ResponderProfile,
  payloads: readonly Payload[],
): AssignedAddresses | undefined {
  if (profile.assigner === undefined) return undefined;
  const request = findPayload(payloads, 'CP');
  if (request?.type !== ConfigType.CFG_REQUEST) {
    throw new ProtocolError(NotifyType.FAILED_CP_REQUIRED, 'the initiator did not ask for an address');
  }
  const assigned = profile.assigner.assign(sa.lineage, requestedAddresses(request.attributes));
  if (assigned === undefined) {
    throw new ProtocolError(NotifyType.INTERNAL_ADDRESS_FAILURE, 'there is no address to assign');
  }
  return assigned;
}

function claimOf(sa: SaContext, payloads: readonly Payload[], id: IdPayload, auth: AuthPayload): PeerClaim {
  const key = payloads.find(
    (payload): payload is CertPayload =>
      payload.kind === 'CERT' && payload.encoding === CertEncoding.RAW_PUBLIC_KEY,
  );
  return {
    identity: { type: id.type, data: id.data },
    method: auth.method,
    origin: sa.origin,
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
