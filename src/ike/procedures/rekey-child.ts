import type { SaUsed } from '../../link/sa-store.ts';
import { coverSame, rekeyProposals } from '../child-policy.ts';
import {
  type Alarm,
  awaitDelete,
  type ChildAgreement,
  type ChildSa,
  childInfo,
  dropOutbound,
  installInbound,
  installOutbound,
  isLive,
  liveChildren,
  type Reservation,
  type Rival,
  removeChild,
  removeSas,
  retire,
  retryLater,
  superviseChild,
  takeOver,
} from '../child-sa.ts';
import { losesCollision, type NoncePair } from '../collision.ts';
import { NotifyType } from '../constants.ts';
import { IkeError, LocalError, RefusedError } from '../errors.ts';
import type { Procedure } from '../procedure.ts';
import type { SaContext } from '../sa-context.ts';
import { type AgreedChild, isFatal, requestChild } from './create-child.ts';
import { deleteChild, deleteSpis } from './delete.ts';
import { abandonFollowUp } from './ike-followup-ke.ts';
import { CLOSED_BY_PEER } from './informational.ts';

/** Refusals that are not for good; the peer does not remember an exchange, or has no use for it now (RFC 9370 2.2.4). */
const RETRIED: readonly number[] = [NotifyType.TEMPORARY_FAILURE, NotifyType.STATE_NOT_FOUND];

/** Does what an alarm of a Child SA is for. */
export function wakeChild(sa: SaContext, child: ChildSa, alarm: Alarm): void {
  switch (alarm) {
    case 'rekey':
      sa.enqueue('rekey', (current) => rekeyChild(current, child));
      return;
    case 'expire':
    case 'overdue':
      expireChild(sa, child);
      return;
    case 'forget':
      removeSas(sa, child);
  }
}

/** Does what an event of the backend asks for. */
export function followSaEvent(sa: SaContext, { kind, direction, spi, tunnelId }: SaUsed): void {
  const children = liveChildren(sa, tunnelId);
  const child = children.find(({ spiIn, spiOut }) => spi === (direction === 'inbound' ? spiIn : spiOut));
  if (child === undefined) return;
  if (kind !== 'used') wakeChild(sa, child, kind === 'soft' ? 'rekey' : 'expire');
  else {
    // RFC 7296 2.8: who sends on a new SA is ready to receive on it.
    const replaced = children.find(({ state, rival }) => state === 'rekeyed' && rival?.child === child);
    if (replaced !== undefined) takeOver(sa, child, replaced);
  }
}

/** It must not be used any more, whatever the peer says to that. */
function expireChild(sa: SaContext, child: ChildSa): void {
  const { spiIn, state, rival } = child;
  if (!isLive(sa, child)) return;
  // The peer has replaced it, and is the one to delete it.
  if (rival?.child !== undefined) takeOver(sa, rival.child, child);
  else if (state !== 'closing') {
    sa.lineage.childLoss = new IkeError('a Child SA has reached the end of its lifetime');
    sa.enqueue('delete', () => deleteSpis([spiIn]));
  }
  removeChild(sa, child);
}

/**
 * Replaces a Child SA by one with the same policy and algorithms (RFC 7296 1.3.3, 2.8): receives on the new SA, then sends
 * on it, then deletes the old one. Both stay as they are if the peer has replaced it as well, with better nonces.
 */
export function* rekeyChild(sa: SaContext, old: ChildSa): Procedure<void> {
  if (old.state !== 'idle' || !sa.children.has(old.spiIn)) return;
  if (old.outbound.state === 'registered') {
    // The peer may not know of it yet, and would say that there is no such Child SA.
    retryLater(sa, old);
    return;
  }
  old.state = 'rekeying';
  const wanted = {
    proposals: rekeyProposals(sa.config.childProposals, old.suite),
    tsI: old.tunnel.local,
    tsR: old.tunnel.remote,
    replaces: old,
    claim: (nonces: NoncePair) => claimRekey(sa, old, nonces),
  };
  try {
    yield* requestChild(sa, wanted, (reserved, agreed) => replace(sa, old, reserved, agreed));
  } catch (error) {
    if (!(error instanceof LocalError) && !(error instanceof RefusedError && !isFatal(error))) throw error;
    takeFailure(sa, old, error);
  } finally {
    settle(sa, old);
  }
}

/**
 * Additional key exchanges are still to be done: false if the peer's rekey is the one that counts. Otherwise it is given up,
 * and another one refused.
 */
function claimRekey(sa: SaContext, old: ChildSa, nonces: NoncePair): boolean {
  const { rival } = old;
  if (rival !== undefined && losesCollision(nonces, rival.nonces)) return false;
  old.state = 'replacing';
  if (rival !== undefined) makeRedundant(sa, rival);
  return true;
}

/** Our request has come to nothing, or could not be made. */
function takeFailure(sa: SaContext, old: ChildSa, error: RefusedError | LocalError): void {
  // RFC 7296 2.8.1: the peer's own exchange is what it refuses ours for.
  if (old.rival?.redundant === false || (old.state !== 'rekeying' && old.state !== 'replacing')) return;
  if (error instanceof LocalError || RETRIED.includes(error.notify)) retryLater(sa, old);
  else if (error.notify === NotifyType.CHILD_SA_NOT_FOUND) old.lost = true;
}

/** What becomes of the old one if it was not replaced by ours. */
function settle(sa: SaContext, old: ChildSa): void {
  const { state, rival } = old;
  if (!isLive(sa, old) || (state !== 'rekeying' && state !== 'replacing')) return;
  old.state = 'idle';
  if (old.lost) {
    sa.lineage.childLoss = new IkeError(CLOSED_BY_PEER);
    removeChild(sa, old);
  } else if (rival?.redundant) old.rival = undefined;
  else if (rival?.child !== undefined) awaitDelete(sa, old);
}

function* replace(
  sa: SaContext,
  old: ChildSa,
  reserved: Reservation,
  { agreement, tsI, tsR }: AgreedChild,
): Procedure<void> {
  const { tunnel, assigned } = old;
  const isClosed = () => sa.lineage.strayDeletes?.has(agreement.spiOut) === true;
  if (isClosed()) {
    if (!isRedundant(old, agreement)) yield* closeReplaced(sa, old);
    return;
  }
  if (liveChildren(sa, tunnel.id).length === 0) return yield* deleteSpis([reserved.spi]);
  let child: ChildSa;
  try {
    if (!coverSame(tsI, tunnel.local) || !coverSame(tsR, tunnel.remote)) {
      throw new LocalError('the peer changed the traffic selectors in a rekey (RFC 7296 2.9.2)');
    }
    const granted = { ...agreement, ...(assigned !== undefined && { assigned }) };
    child = yield* installInbound(sa, reserved, granted, tunnel);
    if (liveChildren(sa, tunnel.id).length === 1) {
      // The tunnel was closed meanwhile.
      removeSas(sa, child);
      return yield* deleteSpis([reserved.spi]);
    }
    // The peer may send on it until it knows that it is redundant.
    if (isRedundant(old, agreement)) return yield* deleteChild(sa, child);
    // It is decided: from now on the peer is refused to rekey the old one.
    if (old.state === 'rekeying' || old.state === 'replacing') old.state = 'closing';
    if (!isClosed()) yield* installOutbound(sa, child);
  } catch (error) {
    if (old.state === 'closing') old.state = 'rekeying';
    if (error instanceof LocalError) yield* deleteSpis([reserved.spi]);
    throw error;
  }
  if (isClosed() || !isLive(sa, child)) {
    removeSas(sa, child);
    return yield* closeReplaced(sa, old);
  }
  superviseChild(sa, child);
  sa.emit({ type: 'child-rekeyed', child: childInfo(child) });
  if (old.rival !== undefined) makeRedundant(sa, old.rival);
  if (old.lost) retire(sa, old);
  else yield* deleteChild(sa, old);
}

/** RFC 7296 2.8.1: the peer has replaced it as well, with better nonces. */
function isRedundant({ rival }: ChildSa, { nonces }: ChildAgreement): boolean {
  return rival !== undefined && losesCollision(nonces, rival.nonces);
}

/** Ours has won: the peer deletes its own. */
function makeRedundant(sa: SaContext, rival: Rival): void {
  rival.redundant = true;
  const { child } = rival;
  if (child === undefined) abandonFollowUp(sa);
  if (child === undefined || !isLive(sa, child)) return;
  awaitDelete(sa, child);
  dropOutbound(sa, child);
}

/** The peer has closed the new one, perhaps before we had it: the tunnel is what it means to close. */
function* closeReplaced(sa: SaContext, old: ChildSa): Procedure<void> {
  sa.lineage.childLoss = new IkeError(CLOSED_BY_PEER);
  if (old.lost) retire(sa, old);
  else yield* deleteChild(sa, old);
}
