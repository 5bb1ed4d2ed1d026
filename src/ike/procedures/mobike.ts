import type { Origin } from '../../link/link.ts';
import { equalBytes } from '../../wire/bytes.ts';
import { NotifyType } from '../constants.ts';
import { ProtocolError, RefusedError } from '../errors.ts';
import type { Job } from '../job-queue.ts';
import { detectNat, natDetectionNotifies, seenAs } from '../nat-detection.ts';
import { type NotifyPayload, notify, type Payload } from '../payload/index.ts';
import { findNotify } from '../payloads.ts';
import { movePeer, moveTunnels } from '../peer-address.ts';
import type { Message, Procedure } from '../procedure.ts';
import type { SaContext } from '../sa-context.ts';
import { informational } from './informational.ts';

// RFC 4555 3.5, 3.7: the initiator tells the responder that its own address has changed, and that makes sure of it:
//   HDR, SK {N(UPDATE_SA_ADDRESSES), [N(NAT_DETECTION_*)]}  -->  <--  HDR, SK {[N(NAT_DETECTION_*)]}
//   HDR, SK {N(COOKIE2)}  <--  -->  HDR, SK {N(COOKIE2)}

/** Octets of a COOKIE2; 8 to 64 are allowed (RFC 4555 4.2.5). */
const COOKIE_LENGTH = 16;

/** The initiator's part: everything goes to `to` from now on, and the responder is told. @param sas - of one lineage */
export function changeAddress(sas: readonly SaContext[], to: Origin): void {
  const { mobility, role, current } = sas[0].lineage;
  if (mobility === undefined || role !== 'initiator') return;
  for (const sa of sas) movePeer(sa, to);
  enqueueOnce(current, updateAddresses);
}

/** One that waits already will see the newest address when its turn comes. */
function enqueueOnce(sa: SaContext, job: Job): void {
  const mobility = sa.lineage.mobility!;
  if (mobility.isQueued) return;
  mobility.isQueued = true;
  sa.enqueue('address', (current) => {
    mobility.isQueued = false;
    return job(current);
  });
}

function* updateAddresses(sa: SaContext): Procedure<void> {
  const { lineage, origin } = sa;
  const { payloads } = yield* informational([
    notify(NotifyType.UPDATE_SA_ADDRESSES),
    ...natNotifies(sa, origin),
  ]);
  // RFC 4555 3.5: if the address has changed again, another update is on its way.
  if (sa.origin !== origin) return;
  if (findNotify(payloads, NotifyType.UNACCEPTABLE_ADDRESSES) !== undefined) {
    throw new RefusedError(NotifyType.UNACCEPTABLE_ADDRESSES, 'our new address');
  }
  takeNat(sa, payloads, origin);
  moveTunnels(sa);
  lineage.mobility!.seen = { by: sa, as: seenAs(payloads) };
}

/** NAT detection for a liveness check, if a NAT in front of us may have changed its mapping (RFC 4555 3.8). */
export function mappingProbe(sa: SaContext): Payload[] {
  const { mobility, nat, role } = sa.lineage;
  return mobility !== undefined && role === 'initiator' && nat?.local ? natNotifies(sa, sa.origin) : [];
}

/** Looks at the answer to a liveness check: the responder is told if it sees us elsewhere than before. */
export function followMapping(sa: SaContext, payloads: readonly Payload[]): void {
  const { mobility } = sa.lineage;
  const as = seenAs(payloads);
  if (mobility === undefined || as === undefined) return;
  const { seen } = mobility;
  mobility.seen = { by: sa, as };
  // The hash covers the SPIs: that of another IKE SA cannot be compared.
  if (seen?.by === sa && seen.as !== undefined && !equalBytes(seen.as, as)) {
    enqueueOnce(sa, updateAddresses);
  }
}

/** What an INFORMATIONAL request has to say on addresses, and what belongs into its answer. */
export function answerMobility(sa: SaContext, { payloads, origin }: Message): Payload[] {
  const { mobility, role } = sa.lineage;
  if (mobility === undefined) return [];
  const cookie = findNotify(payloads, NotifyType.COOKIE2);
  const answer: Payload[] = cookie === undefined ? [] : [notify(NotifyType.COOKIE2, cookie.data)];
  const isUpdate = findNotify(payloads, NotifyType.UPDATE_SA_ADDRESSES) !== undefined;
  if (isUpdate && role === 'responder') {
    if (!mobility.accepts(origin)) return [...answer, notify(NotifyType.UNACCEPTABLE_ADDRESSES)];
    update(sa, payloads, origin);
  }
  if (seenAs(payloads) !== undefined) answer.push(...natNotifies(sa, origin));
  return answer;
}

/** RFC 4555 3.5: IKE goes to the new address at once, ESP when the initiator is known to be there. */
function update(sa: SaContext, payloads: readonly Payload[], to: Origin): void {
  const before = sa.origin;
  sa.origin = to;
  takeNat(sa, payloads, to);
  // ESP may still be where it was before an address that no cookie has come back from.
  const isChecked = [...sa.children.values()].every(({ path }) => path.address === to.address);
  if (isChecked && before.address === to.address) moveTunnels(sa);
  else enqueueOnce(sa, checkReturnRoutability);
}

function* checkReturnRoutability(sa: SaContext): Procedure<void> {
  const { origin, crypto } = sa;
  const cookie = crypto.random(COOKIE_LENGTH);
  const { payloads } = yield* informational([notify(NotifyType.COOKIE2, cookie)]);
  // RFC 4555 3.7: nobody else could know it.
  const echo = findNotify(payloads, NotifyType.COOKIE2);
  if (echo === undefined || !equalBytes(echo.data, cookie)) {
    throw new ProtocolError(NotifyType.INVALID_SYNTAX, 'the peer answered with another COOKIE2');
  }
  // The request may have been sent to two addresses; the newer one has a check of its own.
  if (sa.origin === origin) moveTunnels(sa);
}

function takeNat(sa: SaContext, payloads: readonly Payload[], from: Origin): void {
  const { lineage } = sa;
  if (lineage.nat !== undefined) {
    lineage.nat = detectNat(sa.crypto, sa.negotiated!, payloads, from) ?? lineage.nat;
  }
}

/** Only if both do NAT traversal. */
function natNotifies(sa: SaContext, to: Origin): NotifyPayload[] {
  return sa.lineage.nat === undefined ? [] : natDetectionNotifies(sa.crypto, sa.negotiated!, to);
}
