import { IntegrityTransform, SequenceNumbers, TransformType } from '../crypto/transforms.ts';
import type { AssignedAddresses, EspSuite } from '../link/sa-store.ts';
import { hostPrefix, prefixOf } from '../wire/address.ts';
import { prefixSelector, type TrafficSelector } from '../wire/traffic-selector.ts';
import type { SelectorPair } from './child-sa.ts';
import type { Proposal, ResponderProfile } from './config.ts';
import { NotifyType } from './constants.ts';
import { ProtocolError } from './errors.ts';
import type { Payload, Transform } from './payload/index.ts';
import { payloadOf } from './payloads.ts';
import { isSubset, narrow } from './traffic-selector.ts';

const { ENCR, INTEG, ESN } = TransformType;

/** What is offered and accepted in IKE_AUTH, where a Child SA has no key exchange of its own (RFC 7296 1.2). */
export function withoutKeyExchange(proposals: readonly Proposal[]): Proposal[] {
  return proposals.map(({ transforms }) => ({ transforms: transforms.filter((t) => !isKeyExchange(t)) }));
}

/**
 * What a rekey offers: the algorithms in use, so that the packets stay as long as they are, with the methods of key exchange
 * that go with them.
 */
export function rekeyProposals(proposals: readonly Proposal[], suite: EspSuite): Proposal[] {
  const { encryption, keyLength, integrity, esn } = suite;
  const inUse: Readonly<Record<number, (transform: Transform) => boolean>> = {
    [ENCR]: (t) => t.id === encryption && (t.keyLength ?? keyLength) === keyLength,
    [INTEG]: (t) => t.id === integrity,
    [ESN]: (t) => t.id === (esn ? SequenceNumbers.EXTENDED : SequenceNumbers.SHORT),
  };
  return proposals
    .map(({ transforms }) => ({ transforms: transforms.filter((t) => inUse[t.type]?.(t) ?? true) }))
    .filter(({ transforms }) => {
      const needed = integrity === IntegrityTransform.NONE ? [ENCR, ESN] : [ENCR, INTEG, ESN];
      return needed.every((type) => transforms.some((t) => t.type === type));
    });
}

/** All but the algorithms of ESP itself. */
function isKeyExchange({ type }: Transform): boolean {
  return type !== ENCR && type !== INTEG && type !== ESN;
}

/** What the initiator of a new Child SA may have of what it asks for (RFC 7296 2.9). @throws ProtocolError TS_UNACCEPTABLE */
export function selectorsFor(
  profile: ResponderProfile,
  assigned: AssignedAddresses | undefined,
  payloads: readonly Payload[],
): SelectorPair {
  const offered = payloadOf(payloads, 'TSi').selectors;
  const tsI = assigned === undefined ? narrow(offered, profile.tsRemote) : exactly(assigned, offered);
  const tsR = narrow(payloadOf(payloads, 'TSr').selectors, profile.tsLocal);
  if (tsI.length === 0 || tsR.length === 0) {
    throw new ProtocolError(NotifyType.TS_UNACCEPTABLE, 'no traffic selectors are acceptable here');
  }
  return { tsI, tsR };
}

/** The assigned addresses, or IPv6 block, that the offer has room for, and nothing else of it (RFC 7619 2.5). */
function exactly({ ip4, ip6 }: AssignedAddresses, offered: readonly TrafficSelector[]): TrafficSelector[] {
  return [
    ...(ip4 === undefined ? [] : [hostPrefix(ip4)]),
    ...(ip6 === undefined ? [] : [prefixOf(ip6.address, ip6.prefixLength)]),
  ]
    .map(prefixSelector)
    .filter((selector) => isSubset([selector], offered));
}

/** Whether two lists cover the same traffic: a rekey must not change what is in use (RFC 7296 2.9.2). */
export function coverSame(a: readonly TrafficSelector[], b: readonly TrafficSelector[]): boolean {
  return isSubset(a, b) && isSubset(b, a);
}
