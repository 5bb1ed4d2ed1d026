import type { Origin } from '../link/link.ts';
import type { SaContext } from './sa-context.ts';

/** Where ESP goes: in UDP if there is a NAT or IKE was on port 4500 from the start, though IKE may be there for MOBIKE alone. */
export function espPath({ origin, lineage }: SaContext): Origin {
  const { nat, startedInUdp } = lineage;
  const isPlain = nat !== undefined && !nat.local && !nat.remote && !startedInUdp;
  return origin.encapsulated && isPlain ? { ...origin, encapsulated: false } : origin;
}

/** An exchange about addresses is under way or waits: ESP is to move, and must not before (RFC 4555 3.7). */
export function isMoving({ underWay, lineage }: SaContext): boolean {
  return underWay === 'address' || lineage.mobility?.isQueued === true;
}

/** Where ESP of another Child SA goes: with that of the others, which waits for a new address to be checked (RFC 4555 3.7). */
export function childPath(sa: SaContext): Origin {
  const [sibling] = sa.children.values();
  return sibling?.path ?? espPath(sa);
}

/**
 * An authentic message came from `origin` that is none of those before: a NAT may have given the peer another address. Who is
 * behind a NAT itself does not believe it (RFC 7296 2.23); until IKE_AUTH the initiator may still move to port 4500. With MOBIKE
 * the initiator says when it moves (RFC 4555 3.8).
 */
export function followMessage(sa: SaContext, origin: Origin): void {
  const { role, nat, mobility } = sa.lineage;
  const isSettled = sa.established || role === 'initiator';
  if (isSettled && (nat?.local || mobility !== undefined)) return;
  if (role === 'initiator' && !nat?.remote) return;
  sa.origin = origin;
  if (origin.encapsulated) moveEncapsulated(sa, origin);
}

/** The same of an ESP packet in UDP that is newer than all before it. */
export function followEsp(sa: SaContext, origin: Origin): void {
  const { nat, mobility } = sa.lineage;
  if (!sa.established || !sa.origin.encapsulated || !origin.encapsulated) return;
  if (mobility === undefined) followMessage(sa, origin);
  else if (!nat?.local && nat?.remote) moveEncapsulated(sa, origin);
}

/** Messages and ESP go to `origin` from now on. */
export function movePeer(sa: SaContext, origin: Origin): void {
  sa.origin = origin;
  moveTunnels(sa);
}

/** ESP goes where messages go from now on. */
export function moveTunnels(sa: SaContext): void {
  const path = espPath(sa);
  move(sa, path, () => true);
}

function moveEncapsulated(sa: SaContext, origin: Origin): void {
  move(sa, origin, (path) => path.encapsulated);
}

function move(sa: SaContext, to: Origin, isConcerned: (path: Origin) => boolean): void {
  for (const child of sa.children.values()) {
    const { path, spiOut, tunnel, outbound } = child;
    if (!isConcerned(path) || isSame(path, to)) continue;
    child.path = to;
    if (outbound.state === 'registered')
      child.outbound = { state: 'registered', sa: { ...outbound.sa, path: to } };
    else if (outbound.state === 'installed')
      sa.submit({ kind: 'move', spi: spiOut, tunnelId: tunnel.id, path: to });
  }
}

function isSame(a: Origin, b: Origin): boolean {
  return (
    a.address === b.address &&
    a.localAddress === b.localAddress &&
    a.encapsulated === b.encapsulated &&
    (!a.encapsulated || a.port === b.port)
  );
}
