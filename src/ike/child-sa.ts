import { zero } from '../crypto/transforms.ts';
import type { Millis } from '../link/clock.ts';
import type { Origin } from '../link/link.ts';
import type { AssignedAddresses, EspSuite, SaParameters, TunnelPolicy } from '../link/sa-store.ts';
import { hex } from '../wire/bytes.ts';
import type { TrafficSelector } from '../wire/traffic-selector.ts';
import { childLimits } from './child-lifetime.ts';
import type { ChildActivity, NoncePair } from './collision.ts';
import { LocalError } from './errors.ts';
import { logChildKeys } from './key-log.ts';
import { deriveChildKeys } from './key-schedule.ts';
import { randomDelay, retryDelay } from './lifetime.ts';
import type { ChildSaInfo } from './output.ts';
import { childPath } from './peer-address.ts';
import { operation, type Procedure } from './procedure.ts';
import type { Role, SaContext } from './sa-context.ts';

/** How long packets that were sent before a replaced SA was deleted are still accepted (RFC 7296 2.8). */
const LATE_PACKETS: Millis = 5_000;
/** How long a peer may take to delete what it has replaced: longer than it goes on sending a request. */
const DELETE_PATIENCE: Millis = 180_000;

const ALARMS = ['rekey', 'expire', 'overdue', 'forget'] as const;

/**
 * What is due for a Child SA: to be rekeyed, to be deleted, to be given up because the Delete that the peer owes us has not
 * come, or, once it is deleted, to be forgotten.
 */
export type Alarm = (typeof ALARMS)[number];

/** The peer's exchange that replaces a Child SA, and what it made; undefined while that is being installed. */
export interface Rival {
  readonly nonces: NoncePair;
  child: ChildSa | undefined;
  /** Ours has won. */
  redundant: boolean;
}

/** A pair of ESP SAs. */
export interface ChildSa {
  readonly tunnel: TunnelPolicy;
  readonly spiIn: number;
  readonly spiOut: number;
  readonly suite: EspSuite;
  /** The method of the key exchange that it was made with; 0 without one of its own. */
  readonly keyExchange: number;
  readonly assigned?: AssignedAddresses;
  /** Where the peer is. */
  path: Origin;
  /** `late`: it is deleted at both ends, and only receives what was sent before. */
  state: ChildActivity | 'late';
  /** What we send on. Registered, it is held back: the peer may not be ready to receive on it (RFC 7296 2.8). */
  outbound:
    | { readonly state: 'registered'; readonly sa: SaParameters }
    | { readonly state: 'installed' | 'none' };
  rival: Rival | undefined;
  /** The peer closed it while we were rekeying it. */
  lost: boolean;
}

/** An SPI of ours that is taken, but not yet that of a Child SA. */
export interface Reservation {
  readonly spi: number;
  readonly path: Origin;
  /** The tunnel whose inbound SA is being installed with it. */
  tunnelId?: string;
}

/** What both ends have agreed on besides our SPI. */
export interface ChildAgreement {
  /** In the exchange that they did it in: KEYMAT goes by that (RFC 7296 2.17). */
  readonly role: Role;
  readonly spiOut: number;
  readonly suite: EspSuite;
  readonly nonces: NoncePair;
  /** The method of the exchange's own key exchange, if there was one; its secret, and those of additional ones. */
  readonly keyExchange?: { readonly method: number; readonly secrets: readonly Uint8Array[] };
  readonly assigned?: AssignedAddresses;
}

/** The four octets of an ESP SPI. */
export function encodeSpi(spi: number): Uint8Array {
  return Uint8Array.of(spi >>> 24, (spi >>> 16) & 255, (spi >>> 8) & 255, spi & 255);
}

/** @param bytes - four octets */
export function decodeSpi(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0);
}

/** What a user of the core is told of a Child SA. */
export function childInfo({ tunnel, spiIn, spiOut, suite, assigned }: ChildSa): ChildSaInfo {
  return { tunnel, spiIn, spiOut, suite, ...(assigned !== undefined && { assigned }) };
}

/** The Child SA that the peer receives on `spiOut`, late ones included. */
export function findByPeerSpi(sa: SaContext, spiOut: number): ChildSa | undefined {
  for (const child of sa.children.values()) if (child.spiOut === spiOut) return child;
  return undefined;
}

/** Whether it exists at both ends: what only receives late packets does not. */
export function isLive(sa: SaContext, { spiIn, state }: ChildSa): boolean {
  return sa.children.has(spiIn) && state !== 'late';
}

/** The Child SAs that exist at both ends, or those of one tunnel. */
export function liveChildren(sa: SaContext, tunnelId?: string): ChildSa[] {
  return [...sa.children.values()].filter(
    (child) => isLive(sa, child) && (tunnelId === undefined || child.tunnel.id === tunnelId),
  );
}

/** The traffic selectors of an exchange: its initiator's side and its responder's. */
export interface SelectorPair {
  /** Inner addresses on the side of the exchange's initiator. */
  readonly tsI: readonly TrafficSelector[];
  /** Inner addresses on the side of its responder. */
  readonly tsR: readonly TrafficSelector[];
}

/** A policy for a new tunnel, as seen from our side; `role` is that in the exchange that makes it. */
export function newTunnel(sa: SaContext, role: Role, { tsI, tsR }: SelectorPair): TunnelPolicy {
  return {
    id: `${hex(sa.localSpi)}/${++sa.lineage.childCount}`,
    local: role === 'initiator' ? tsI : tsR,
    remote: role === 'initiator' ? tsR : tsI,
  };
}

/** Reserves an SPI, before it appears on the wire (RFC 7296 2.8). @throws LocalError if there is none */
export function* reserveSpi(sa: SaContext): Procedure<Reservation> {
  const path = childPath(sa);
  const result = yield* operation({ kind: 'reserve', path });
  if (!result.ok) throw new LocalError(`no SPI for the Child SA: ${result.error}`);
  return { spi: result.spi, path };
}

/** Gives it back, unless there is a Child SA of it now. */
export function releaseSpi(sa: SaContext, reserved: Reservation): void {
  if (!sa.children.has(reserved.spi)) sa.submit({ kind: 'remove', direction: 'inbound', ...reserved });
}

/** Reserves an SPI for what `body` makes of it. @throws LocalError if there is none */
export function* withReservedSpi<R>(
  sa: SaContext,
  body: (reserved: Reservation) => Procedure<R>,
): Procedure<R> {
  const reserved = yield* reserveSpi(sa);
  try {
    return yield* body(reserved);
  } finally {
    releaseSpi(sa, reserved);
  }
}

/**
 * Derives the keys and installs the inbound SA; the outbound one is only registered.
 * @throws LocalError
 */
export function* installInbound(
  sa: SaContext,
  reserved: Reservation,
  agreement: ChildAgreement,
  tunnel: TunnelPolicy,
): Procedure<ChildSa> {
  const { role, spiOut, suite, nonces, keyExchange, assigned } = agreement;
  const { suite: ike, keys } = sa.negotiated!;
  const { spi: spiIn } = reserved;
  // The others may have moved since it was reserved.
  const path = childPath(sa);
  const derived = deriveChildKeys(sa.crypto, ike.prf, suite, keys.skD, nonces, keyExchange?.secrets);
  if (keyExchange !== undefined) zero(...keyExchange.secrets);
  const { initiatorToResponder, responderToInitiator } = derived;
  const isInitiator = role === 'initiator';
  const { childLifetime } = sa.config;
  const limits = childLimits(childLifetime, suite);
  const common = {
    suite,
    path,
    tunnel,
    ...(limits !== undefined && { limits }),
    ...(childLifetime !== undefined && { lifetime: childLifetime.hard }),
  };
  const fromPeer = isInitiator ? responderToInitiator : initiatorToResponder;
  const toPeer = isInitiator ? initiatorToResponder : responderToInitiator;
  const inbound: SaParameters = { ...common, spi: spiIn, keys: fromPeer };
  const outbound: SaParameters = { ...common, spi: spiOut, keys: toPeer };
  logChildKeys(sa.config.keyLog, inbound, outbound);
  const child: ChildSa = {
    tunnel,
    spiIn,
    spiOut,
    suite,
    path,
    keyExchange: keyExchange?.method ?? 0,
    ...(assigned !== undefined && { assigned }),
    state: 'idle',
    outbound: { state: 'registered', sa: outbound },
    rival: undefined,
    lost: false,
  };
  reserved.tunnelId = tunnel.id;
  try {
    const result = yield* operation({ kind: 'inbound', sa: inbound });
    if (!result.ok) throw new LocalError(`the inbound SA cannot be installed: ${result.error}`);
    sa.children.set(spiIn, child);
    return child;
  } finally {
    if (!sa.children.has(spiIn)) dropOutbound(sa, child);
  }
}

/** Installs the registered outbound SA. @throws LocalError, and then the Child SA is none */
export function* installOutbound(sa: SaContext, child: ChildSa): Procedure<void> {
  const registered = takeRegistered(child);
  if (registered === undefined) return;
  let installed = false;
  try {
    const result = yield* operation({ kind: 'outbound', sa: registered });
    if (!result.ok) throw new LocalError(`the outbound SA cannot be installed: ${result.error}`);
    installed = true;
  } finally {
    if (!installed) {
      dropOutbound(sa, child);
      forget(sa, child);
    }
  }
}

/** Both ends can use it from now on: sends on it, instead of on what it replaces, and says so. */
export function takeOver(sa: SaContext, child: ChildSa, replaced: ChildSa): void {
  const registered = takeRegistered(child);
  if (registered === undefined) return;
  sa.submit({ kind: 'outbound', sa: registered }, (result) => {
    if (!result.ok) sa.lineage.current.wake(child, 'expire');
  });
  dropOutbound(sa, replaced);
  sa.emit({ type: 'child-rekeyed', child: childInfo(child) });
}

function takeRegistered(child: ChildSa): SaParameters | undefined {
  const { outbound } = child;
  if (outbound.state !== 'registered') return undefined;
  child.outbound = { state: 'installed' };
  return outbound.sa;
}

/** Another has taken its place, and the peer is to delete it. */
export function awaitDelete(sa: SaContext, child: ChildSa): void {
  child.state = 'rekeyed';
  setAlarm(sa, child, 'overdue', sa.now + DELETE_PATIENCE);
}

/** What should have taken its place has come to nothing: it is used on, and rekeyed again if it was time for that. */
export function resumeUse(sa: SaContext, child: ChildSa): void {
  child.rival = undefined;
  if (child.state === 'rekeyed') {
    child.state = 'idle';
    clearAlarm(sa, child, 'overdue');
  }
  if (child.state !== 'idle') return;
  if (sa.config.childLifetime === undefined) return;
  const at = sa.now + retryDelay(sa.crypto);
  sa.lineage.agenda.start(alarmName(child, 'rekey'), at, (current) => current.wake(child, 'rekey'));
}

/** Has us never send on it again. */
export function dropOutbound(sa: SaContext, child: ChildSa): void {
  const { outbound } = child;
  child.outbound = { state: 'none' };
  if (outbound.state === 'registered') zero(outbound.sa.keys.encryption, outbound.sa.keys.integrity);
  else if (outbound.state === 'installed') removeSa(sa, child, 'outbound');
}

/**
 * It is deleted at both ends: late packets are accepted for a while if another SA has replaced it, and else the tunnel is
 * gone.
 */
export function retire(sa: SaContext, child: ChildSa): void {
  dropOutbound(sa, child);
  child.state = 'late';
  if (liveChildren(sa, child.tunnel.id).length === 0) {
    removeTunnel(sa, child.tunnel.id);
    return;
  }
  for (const alarm of ALARMS) clearAlarm(sa, child, alarm);
  setAlarm(sa, child, 'forget', sa.now + LATE_PACKETS);
}

/** Takes a Child SA out of the IKE SA and of the backend at once, and its tunnel if it was the last. */
export function removeChild(sa: SaContext, child: ChildSa): void {
  removeSas(sa, child);
  if (liveChildren(sa, child.tunnel.id).length === 0) removeTunnel(sa, child.tunnel.id);
}

/** Removes every Child SA of a tunnel, and says that it is closed. */
function removeTunnel(sa: SaContext, tunnelId: string): void {
  for (const child of [...sa.children.values()]) if (child.tunnel.id === tunnelId) removeSas(sa, child);
  sa.emit({ type: 'child-closed', tunnelId });
}

/** Removes what there is of it. */
export function removeSas(sa: SaContext, child: ChildSa): void {
  dropOutbound(sa, child);
  removeSa(sa, child, 'inbound');
  forget(sa, child);
}

function forget(sa: SaContext, child: ChildSa): void {
  sa.children.delete(child.spiIn);
  for (const alarm of ALARMS) clearAlarm(sa, child, alarm);
}

/** Removes one direction of it from the backend. */
function removeSa(sa: SaContext, child: ChildSa, direction: 'inbound' | 'outbound'): void {
  const { spiIn, spiOut, path, tunnel } = child;
  const spi = direction === 'inbound' ? spiIn : spiOut;
  sa.submit({ kind: 'remove', direction, spi, path, tunnelId: tunnel.id });
}

/** Has it rekeyed and deleted in time. */
export function superviseChild(sa: SaContext, child: ChildSa): void {
  const { childLifetime: lifetime, crypto } = sa.config;
  if (lifetime === undefined) return;
  const { soft, hard, jitter } = lifetime;
  setAlarm(sa, child, 'rekey', sa.now + soft - randomDelay(crypto, jitter));
  setAlarm(sa, child, 'expire', sa.now + hard);
}

/** RFC 7296 2.25: what is refused for now is not asked for again at once. */
export function retryLater(sa: SaContext, child: ChildSa): void {
  setAlarm(sa, child, 'rekey', sa.now + retryDelay(sa.crypto));
}

/** Has `SaContext.wake` called for it at that time. */
export function setAlarm(sa: SaContext, child: ChildSa, alarm: Alarm, at: Millis): void {
  sa.lineage.agenda.set(alarmName(child, alarm), at, (current) => current.wake(child, alarm));
}

function clearAlarm(sa: SaContext, child: ChildSa, alarm: Alarm): void {
  sa.lineage.agenda.delete(alarmName(child, alarm));
}

function alarmName({ spiIn }: ChildSa, alarm: Alarm): string {
  return `child ${spiIn} ${alarm}`;
}
