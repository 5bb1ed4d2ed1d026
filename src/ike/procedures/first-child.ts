import { ConfigType } from '../../cp/attributes.ts';
import { assignedAddresses, configReply, configRequest, requestedAddresses } from '../../cp/configuration.ts';
import type { AssignedAddresses, EspSuite } from '../../link/sa-store.ts';
import { WireError } from '../../wire/reader.ts';
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
import type { ChildRequest, InitiatorConfig, ResponderConfig, ResponderProfile } from '../config.ts';
import { NotifyType } from '../constants.ts';
import { LocalError, ProtocolError } from '../errors.ts';
import { notify, type Payload, ProtocolId } from '../payload/index.ts';
import { findPayload, payloadOf } from '../payloads.ts';
import type { Procedure } from '../procedure.ts';
import { chooseProposal, encodeProposals, espSuite, verifyAnswer } from '../proposal.ts';
import type { Role, SaContext } from '../sa-context.ts';
import { isSubset } from '../traffic-selector.ts';

// The Child SA that IKE_AUTH makes (RFC 7296 1.2), as far as it is not about authentication:
//   [CP(CFG_REQUEST),] SAi2, TSi, TSr  -->
//                                      <--  [CP(CFG_REPLY),] SAr2, TSi, TSr

/** What both agree on. Its keys come from the nonces of IKE_SA_INIT (RFC 7296 2.17). */
export interface FirstChild extends SelectorPair {
  readonly spiOut: number;
  readonly suite: EspSuite;
  readonly assigned?: AssignedAddresses;
}

/** Installs both SAs, inbound first (RFC 7296 2.8), and announces them. @throws LocalError */
export function* establishChild(
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
  sa.emit({ type: 'child-established', child: childInfo(child), role });
}

/** The initiator's part of the request that is about the Child SA. */
export function childPayloads(config: InitiatorConfig, child: ChildRequest, spi: number): Payload[] {
  const { addresses, tsI, tsR } = child;
  const proposals = withoutKeyExchange(config.childProposals);
  return [
    ...(addresses === undefined
      ? []
      : [{ kind: 'CP', type: ConfigType.CFG_REQUEST, attributes: configRequest(addresses) } as const]),
    { kind: 'SA', proposals: encodeProposals(proposals, ProtocolId.ESP, encodeSpi(spi)) },
    { kind: 'TSi', selectors: tsI },
    { kind: 'TSr', selectors: tsR },
  ];
}

/** Checks what the peer made of our Child SA. @throws ProtocolError, LocalError */
export function judgeChild(
  config: InitiatorConfig,
  child: ChildRequest,
  payloads: readonly Payload[],
): FirstChild {
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

/**
 * The addresses in a response that has no Child SA, for one that CREATE_CHILD_SA makes later (RFC 6023 5); that there are none
 * leaves the IKE SA as it is.
 */
export function answerAddressRequest(
  sa: SaContext,
  profile: ResponderProfile,
  payloads: readonly Payload[],
): Payload[] {
  if (findPayload(payloads, 'CP') === undefined) return [];
  try {
    const assigned = assign(sa, profile, payloads);
    sa.lineage.assigned = assigned;
    return replyPayloads(assigned);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return [notify(error.notify)];
  }
}

/** The responder's part of the response that is about the Child SA; its failure leaves the IKE SA as it is (RFC 7296 1.2). */
export function* answerChild(
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
      ...replyPayloads(assigned),
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

function replyPayloads(assigned: AssignedAddresses | undefined): Payload[] {
  if (assigned === undefined) return [];
  return [{ kind: 'CP', type: ConfigType.CFG_REPLY, attributes: configReply(assigned) }];
}
