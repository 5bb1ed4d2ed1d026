import type { Origin } from '../../link/link.ts';
import type { SaLimits, SaParameters } from '../../link/sa-store.ts';
import type { Usage } from '../usage.ts';
import { xfrmAlgorithms } from './algorithms.ts';
import type { XfrmReplay, XfrmState, XfrmUse } from './model.ts';
import type { TunnelPolicies } from './policies.ts';

/** Sequence numbers that are told apart from replays (RFC 4303 3.4.3), as in user space. */
const REPLAY_WINDOW = 1024;
/** What may have left between the look at an SA's sequence number and its deletion: no number is used twice with one key. */
const SEQUENCE_GAP = 2 ** 16;
/** The last number of an SA without ESN: the kernel sends nothing after it. */
const LAST_SHORT = 2 ** 32 - 1;
/** Seconds for IKE to remove an SA at the end of its life, before the kernel does so on its own: we may be dead, or stopped. */
const LIFETIME_MARGIN = 300;

/** An SA in the kernel. */
export interface KernelSa {
  readonly direction: 'inbound' | 'outbound';
  readonly path: Origin;
  /** As it was installed, with its keys, which the kernel may not tell: whoever lets go of the SA calls `forgetKeys`. */
  readonly state: XfrmState;
  readonly usage: Usage;
  /** What it had carried where it was before it moved. */
  readonly before: XfrmUse;
}

/** Of an SA that is new. */
export const NOTHING: XfrmUse = { octets: 0, packets: 0, replayed: 0, badIcv: 0 };

/** @throws UnsupportedAlgorithm, RangeError */
export function stateOf(
  direction: KernelSa['direction'],
  { spi, suite, keys, path, limits = {}, lifetime }: SaParameters,
  { reqid, scope }: Pick<TunnelPolicies, 'reqid' | 'scope'>,
): XfrmState {
  return {
    ...endsOf(direction, path),
    spi,
    ...scope,
    reqid,
    algorithms: xfrmAlgorithms(suite, keys),
    replay: { extended: suite.esn, sent: 0, received: 0, window: REPLAY_WINDOW },
    limits,
    ...(lifetime !== undefined && { lifetime: Math.ceil(lifetime / 1000) + LIFETIME_MARGIN }),
  };
}

/** Overwrites the keys. */
export function forgetKeys({ algorithms }: XfrmState): void {
  algorithms.key.fill(0);
  if ('authenticationKey' in algorithms) algorithms.authenticationKey.fill(0);
}

/** The same SA by another path. */
export function byPath(sa: KernelSa, path: Origin): KernelSa {
  const { encapsulation: _, ...kept } = sa.state;
  return { ...sa, path, state: { ...kept, ...endsOf(sa.direction, path) } };
}

/** Whether the kernel's SA is the same by either path: what comes in is told by its source only in UDP. */
export function isSamePlace(sa: KernelSa, path: Origin): boolean {
  const [a, b] = [sa.state, endsOf(sa.direction, path)];
  const isInUdp = a.encapsulation !== undefined;
  return (
    a.destination === b.destination &&
    (a.source === b.source || (sa.direction === 'inbound' && !isInUdp)) &&
    a.encapsulation?.sourcePort === b.encapsulation?.sourcePort &&
    a.encapsulation?.destinationPort === b.encapsulation?.destinationPort
  );
}

/**
 * The state with which an SA that was deleted goes on: it keeps its keys, and the rest of its limits; its lifetime begins anew, for we are
 * alive.
 * @param replay - what the kernel told of it last
 */
export function continuation({ direction, state, before }: KernelSa, replay: XfrmReplay): XfrmState {
  const sent = replay.sent + (direction === 'outbound' ? SEQUENCE_GAP : 0);
  const last = state.replay.extended ? sent : Math.min(sent, LAST_SHORT);
  return { ...state, replay: { ...replay, sent: last }, limits: rest(state.limits, before) };
}

export function sum(a: XfrmUse, b: XfrmUse): XfrmUse {
  return {
    octets: a.octets + b.octets,
    packets: a.packets + b.packets,
    replayed: a.replayed + b.replayed,
    badIcv: a.badIcv + b.badIcv,
  };
}

/** What is left of limits. */
function rest(limits: SaLimits, { octets, packets }: XfrmUse): SaLimits {
  const carried = { softOctets: octets, hardOctets: octets, softPackets: packets, hardPackets: packets };
  return Object.fromEntries(
    Object.entries(limits).map(([name, limit]) => [
      name,
      Math.max(0, limit - carried[name as keyof SaLimits]),
    ]),
  );
}

/** Where an SA's packets come from and go to. */
function endsOf(
  direction: KernelSa['direction'],
  { address, port, localAddress, localPort, encapsulated }: Origin,
): Pick<XfrmState, 'source' | 'destination' | 'encapsulation'> {
  const [peer, self] = [
    { address, port },
    { address: localAddress, port: localPort },
  ];
  const [from, to] = direction === 'inbound' ? [peer, self] : [self, peer];
  return {
    source: from.address,
    destination: to.address,
    ...(encapsulated && { encapsulation: { sourcePort: from.port, destinationPort: to.port } }),
  };
}
