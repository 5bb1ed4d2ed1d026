import { takeAuthLifetime } from '../auth-lifetime.ts';
import {
  type ChildSa,
  decodeSpi,
  dropOutbound,
  encodeSpi,
  findByPeerSpi,
  isLive,
  liveChildren,
  resumeUse,
  retire,
  takeOver,
} from '../child-sa.ts';
import { ExchangeType, NotifyType } from '../constants.ts';
import { IkeError, RefusedError } from '../errors.ts';
import { type DeletePayload, type Payload, ProtocolId } from '../payload/index.ts';
import { findNotify } from '../payloads.ts';
import { exchange, type Message, type Procedure } from '../procedure.ts';
import { checkRules } from '../rules.ts';
import type { SaContext } from '../sa-context.ts';
import { inherit } from '../succession.ts';
import type { Answer } from './answer.ts';
import { answerMobility } from './mobike.ts';

// RFC 7296 1.4: HDR, SK {[N,] [D,] ...}  -->  <--  HDR, SK {[N,] [D,] ...}

/** What an IKE SA is closed with that was there for the tunnel. */
export const CLOSED_BY_PEER = 'the peer closed the tunnel';
/** Of Child SAs that we do not know yet: it is one that the peer can have made meanwhile, or few in a collision. */
const MAX_STRAYS = 16;

/** Errors of ours or of the peer's that end the IKE SA without a Delete (RFC 7296 2.21.2, 2.21.3). */
const FATAL = [NotifyType.AUTHENTICATION_FAILED, NotifyType.INVALID_SYNTAX];

/** @throws RefusedError if the peer says that our request is malformed, which ends the IKE SA (RFC 7296 2.21.3) */
export function* informational(payloads: readonly Payload[]): Procedure<Message> {
  const response = yield* exchange(ExchangeType.INFORMATIONAL, payloads);
  if (findNotify(response.payloads, NotifyType.INVALID_SYNTAX) !== undefined) {
    throw new RefusedError(NotifyType.INVALID_SYNTAX, 'INFORMATIONAL');
  }
  return response;
}

/** Answers deletes and liveness checks, and takes AUTH_LIFETIME; other notifies and configuration are ignored. @throws ProtocolError */
export function answerInformational(sa: SaContext, message: Message): Answer {
  const { payloads } = message;
  checkRules(ExchangeType.INFORMATIONAL, false, payloads);
  for (const type of FATAL) {
    if (findNotify(payloads, type) === undefined) continue;
    return { payloads: [], end: { error: new RefusedError(type, 'the IKE SA') } };
  }
  takeAuthLifetime(sa, payloads);
  const mobility = answerMobility(sa, message);
  const deletes = payloads.filter((payload): payload is DeletePayload => payload.kind === 'DELETE');
  if (deletes.some(({ protocol }) => protocol === ProtocolId.IKE)) {
    const { current, candidate } = sa.lineage;
    // RFC 7296 2.8.2: the peer has finished its own rekey, unaware of ours, which is forgotten.
    if (current === sa && candidate !== undefined) inherit(candidate);
    return { payloads: [], end: {} };
  }
  const closed = deletes
    .filter(({ protocol }) => protocol === ProtocolId.ESP)
    .flatMap(({ spis }) => spis)
    .flatMap((spi) => closeChild(sa, spi));
  if (closed.length === 0) return { payloads: mobility };
  return { payloads: [{ kind: 'DELETE', protocol: ProtocolId.ESP, spis: closed }, ...mobility] };
}

/** Closes the Child SA that the peer receives on `spi`; our inbound SPI, if the answer is to name it. */
function closeChild(sa: SaContext, spi: Uint8Array): Uint8Array[] {
  if (spi.length !== 4) return [];
  const child = findByPeerSpi(sa, decodeSpi(spi));
  if (child === undefined || !isLive(sa, child) || child.lost) {
    const { strayDeletes } = sa.lineage;
    if (child === undefined && (strayDeletes?.size ?? MAX_STRAYS) < MAX_STRAYS)
      strayDeletes!.add(decodeSpi(spi));
    return [];
  }
  if (child.state === 'closing') {
    // RFC 7296 1.4.1: the deletes have crossed. The inbound SA goes when ours is answered.
    dropOutbound(sa, child);
    return [];
  }
  const successor = child.rival?.child;
  const isReplaced = successor !== undefined && isLive(sa, successor);
  if ((child.state === 'rekeying' || child.state === 'replacing') && !isReplaced) {
    // It may be that the peer has answered our request to replace it, and does not wait for us to delete it.
    child.lost = true;
    return [encodeSpi(child.spiIn)];
  }
  if (isReplaced) takeOver(sa, successor, child);
  retire(sa, child);
  keepReplaced(sa, child);
  if (liveChildren(sa, child.tunnel.id).length === 0) sa.lineage.childLoss = new IkeError(CLOSED_BY_PEER);
  return [encodeSpi(child.spiIn)];
}

/** If the peer has given up what it had replaced another by, that one is not replaced. */
function keepReplaced(sa: SaContext, closed: ChildSa): void {
  for (const child of liveChildren(sa, closed.tunnel.id)) {
    if (child.rival?.child === closed && child.outbound.state === 'installed') resumeUse(sa, child);
  }
}
