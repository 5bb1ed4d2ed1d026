import { type ChildSa, dropOutbound, encodeSpi, liveChildren, retire } from '../child-sa.ts';
import { ExchangeType } from '../constants.ts';
import { type DeletePayload, ProtocolId } from '../payload/index.ts';
import { exchange, farewell, type Procedure } from '../procedure.ts';
import type { SaContext } from '../sa-context.ts';
import { informational } from './informational.ts';

/** D of the IKE SA that the message is protected by: it has no SPI in it (RFC 7296 3.11). */
export const deleteIkePayload: DeletePayload = { kind: 'DELETE', protocol: ProtocolId.IKE, spis: [] };

/** RFC 7296 1.4.1: HDR, SK {D(our inbound SPIs)}  -->  <--  HDR, SK {D(the peer's inbound SPIs)} */
export function* deleteSpis(spis: readonly number[]): Procedure<void> {
  yield* informational([{ kind: 'DELETE', protocol: ProtocolId.ESP, spis: spis.map(encodeSpi) }]);
}

/** Deletes one pair of SAs; what is not needed to send on is not kept for the answer. */
export function* deleteChild(sa: SaContext, child: ChildSa): Procedure<void> {
  if (!sa.children.has(child.spiIn) || child.state === 'late') return;
  child.state = 'closing';
  const { tunnel, spiIn } = child;
  const others = liveChildren(sa, tunnel.id).filter((other) => other !== child);
  if (others.some(({ outbound }) => outbound.state === 'installed')) dropOutbound(sa, child);
  yield* deleteSpis([spiIn]);
  if (sa.children.has(spiIn)) retire(sa, child);
}

/** Deletes all that there is of a tunnel. */
export function* deleteTunnel(sa: SaContext, tunnelId: string): Procedure<void> {
  const children = liveChildren(sa, tunnelId);
  if (children.length === 0) return;
  for (const child of children) child.state = 'closing';
  yield* deleteSpis(children.map(({ spiIn }) => spiIn));
  for (const child of children) if (sa.children.has(child.spiIn)) retire(sa, child);
}

/** RFC 7296 1.4.1: HDR, SK {D}  -->  <--  HDR, SK {} */
export function* deleteIkeSa(): Procedure<'deleted'> {
  yield* farewell([deleteIkePayload]);
  return 'deleted';
}

/** Deletes an IKE SA that is not needed any more. Nobody waits for it, and if there is no answer it is gone all the same. */
export function* deleteReplaced(): Procedure<'deleted'> {
  try {
    yield* exchange(ExchangeType.INFORMATIONAL, [deleteIkePayload]);
  } catch {
    // The peer has a deadline of its own.
  }
  return 'deleted';
}
