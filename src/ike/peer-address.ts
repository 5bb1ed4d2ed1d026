import type { Origin } from '../link/link.ts';
import type { SaContext } from './sa-context.ts';

/**
 * An authentic message came from `origin` that is none of those before: a NAT may have given the peer another address. Who is
 * behind a NAT itself does not believe it (RFC 7296 2.23); until IKE_AUTH the initiator may still move to port 4500.
 */
export function followMessage(sa: SaContext, origin: Origin): void {
  const { role, nat } = sa.lineage;
  if (role === 'responder' ? sa.established && nat?.local : nat?.local || !nat?.remote) return;
  movePeer(sa, origin);
}

/** The same of an ESP packet in UDP that is newer than all before it. */
export function followEsp(sa: SaContext, origin: Origin): void {
  if (sa.established && sa.origin.encapsulated && origin.encapsulated) followMessage(sa, origin);
}

/** Messages go to `origin` from now on, and ESP in UDP does. */
function movePeer(sa: SaContext, origin: Origin): void {
  sa.origin = origin;
  for (const child of sa.children.values()) {
    const { path, spiOut, tunnel, outbound } = child;
    if (!path.encapsulated || !origin.encapsulated) continue;
    if (path.address === origin.address && path.port === origin.port) continue;
    child.path = origin;
    if (outbound.state === 'registered')
      child.outbound = { state: 'registered', sa: { ...outbound.sa, path: origin } };
    else if (outbound.state === 'installed')
      sa.submit({ kind: 'move', spi: spiOut, tunnelId: tunnel.id, path: origin });
  }
}
