import { type ChildSa, encodeSpi, removeChild } from '../child-sa.ts';
import { ExchangeType } from '../constants.ts';
import { type DeletePayload, ProtocolId } from '../payload/index.ts';
import { exchange, farewell, type Procedure } from '../procedure.ts';
import type { SaContext } from '../sa-context.ts';
import { informational } from './informational.ts';

/** D of the IKE SA that the message is protected by: it has no SPI in it (RFC 7296 3.11). */
export const deleteIkePayload: DeletePayload = { kind: 'DELETE', protocol: ProtocolId.IKE, spis: [] };

/** RFC 7296 1.4.1: HDR, SK {D(our inbound SPI)}  -->  <--  HDR, SK {D(the peer's inbound SPI)} */
export function* deleteChild(sa: SaContext, child: ChildSa): Procedure<void> {
  if (!sa.children.has(child.spiIn)) return;
  child.deleting = true;
  yield* informational([{ kind: 'DELETE', protocol: ProtocolId.ESP, spis: [encodeSpi(child.spiIn)] }]);
  removeChild(sa, child);
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
