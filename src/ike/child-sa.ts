import type { ProtectionKeys } from '../crypto/provider.ts';
import type { Origin } from '../link/link.ts';
import type { AssignedAddresses, EspSuite, SaParameters, TunnelPolicy } from '../link/sa-store.ts';
import { hex } from '../wire/bytes.ts';
import type { TrafficSelector } from '../wire/traffic-selector.ts';
import { LocalError } from './errors.ts';
import { deriveChildKeys } from './key-schedule.ts';
import { operation, type Procedure } from './procedure.ts';
import type { SaContext } from './sa-context.ts';

/** A pair of ESP SAs. */
export interface ChildSa {
  readonly tunnel: TunnelPolicy;
  readonly spiIn: number;
  readonly spiOut: number;
  readonly suite: EspSuite;
  /** Where the peer is. */
  path: Origin;
  readonly assigned?: AssignedAddresses;
  /** We have sent, or are about to send, a Delete for it (RFC 7296 1.4.1). */
  deleting: boolean;
}

/** An SPI of ours that is taken, but not yet that of a Child SA. */
export interface Reservation {
  readonly spi: number;
  readonly path: Origin;
  /** The tunnel whose inbound SA is being installed with it. */
  tunnelId?: string;
}

/** What both ends have agreed on besides. */
export interface ChildAgreement {
  readonly spiOut: number;
  readonly suite: EspSuite;
  readonly tsI: readonly TrafficSelector[];
  readonly tsR: readonly TrafficSelector[];
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

/**
 * Reserves an SPI for what `body` does with it (RFC 7296 2.8: before it appears on the wire), and gives it back unless that
 * has made a Child SA of it. @throws LocalError if there is none
 */
export function* withReservedSpi<R>(
  sa: SaContext,
  body: (reserved: Reservation) => Procedure<R>,
): Procedure<R> {
  const path = sa.origin;
  const result = yield* operation({ kind: 'reserve', path });
  if (!result.ok) throw new LocalError(`no SPI for the Child SA: ${result.error}`);
  const reserved: Reservation = { spi: result.spi, path };
  try {
    return yield* body(reserved);
  } finally {
    if (!sa.children.has(reserved.spi)) sa.submit({ kind: 'remove', direction: 'inbound', ...reserved });
  }
}

/**
 * Installs both SAs, inbound first (RFC 7296 2.8), and announces them. If that fails, or is ended, the outbound SA is
 * removed here and the inbound one with its SPI, by `withReservedSpi`.
 * @throws LocalError
 */
export function* installChild(
  sa: SaContext,
  reserved: Reservation,
  { spiOut, suite, tsI, tsR, assigned }: ChildAgreement,
): Procedure<void> {
  const { spi: spiIn, path } = reserved;
  const { suite: ike, keys, ...nonces } = sa.negotiated!;
  const { initiatorToResponder, responderToInitiator } = deriveChildKeys(
    sa.crypto,
    ike.prf,
    suite,
    keys.skD,
    nonces,
  );
  const isInitiator = sa.role === 'initiator';
  const tunnel: TunnelPolicy = {
    id: `${hex(sa.localSpi)}/${++sa.lineage.childCount}`,
    local: isInitiator ? tsI : tsR,
    remote: isInitiator ? tsR : tsI,
  };
  const parameters = (spi: number, keys: ProtectionKeys): SaParameters => ({
    spi,
    suite,
    keys,
    path,
    tunnel,
  });
  const inbound = parameters(spiIn, isInitiator ? responderToInitiator : initiatorToResponder);
  const outbound = parameters(spiOut, isInitiator ? initiatorToResponder : responderToInitiator);
  const child: ChildSa = {
    tunnel,
    spiIn,
    spiOut,
    suite,
    path,
    deleting: false,
    ...(assigned !== undefined && { assigned }),
  };
  reserved.tunnelId = tunnel.id;
  let installed = false;
  try {
    const first = yield* operation({ kind: 'inbound', sa: inbound });
    if (!first.ok) throw new LocalError(`the inbound SA cannot be installed: ${first.error}`);
    const second = yield* operation({ kind: 'outbound', sa: outbound });
    if (!second.ok) throw new LocalError(`the outbound SA cannot be installed: ${second.error}`);
    installed = true;
  } finally {
    if (!installed) removeSa(sa, child, 'outbound');
  }
  sa.children.set(spiIn, child);
  sa.emit({
    type: 'child-established',
    child: { tunnel, spiIn, spiOut, suite, ...(assigned !== undefined && { assigned }) },
  });
}

/** Takes a Child SA out of the IKE SA and of the backend. */
export function removeChild(sa: SaContext, child: ChildSa): void {
  if (!sa.children.delete(child.spiIn)) return;
  removeSas(sa, child);
  sa.emit({ type: 'child-closed', tunnelId: child.tunnel.id });
}

/** Removes what there is of it from the backend. */
export function removeSas(sa: SaContext, child: ChildSa): void {
  removeSa(sa, child, 'outbound');
  removeSa(sa, child, 'inbound');
}

/** Removes one direction of it from the backend. */
export function removeSa(sa: SaContext, child: ChildSa, direction: 'inbound' | 'outbound'): void {
  const { spiIn, spiOut, path, tunnel } = child;
  const spi = direction === 'inbound' ? spiIn : spiOut;
  sa.submit({ kind: 'remove', direction, spi, path, tunnelId: tunnel.id });
}

/** RFC 7296 2.23: like the IKE SA itself, its encapsulated ESP follows a peer whose address a NAT has changed. */
export function followPeer(sa: SaContext): void {
  const { origin } = sa;
  for (const child of sa.children.values()) {
    const { path, spiOut, tunnel } = child;
    if (!path.encapsulated || !origin.encapsulated) continue;
    if (path.address === origin.address && path.port === origin.port) continue;
    child.path = origin;
    sa.submit({ kind: 'move', spi: spiOut, tunnelId: tunnel.id, path: origin });
  }
}
