import createDebug from 'debug';
import type { CryptoProvider } from '../../crypto/provider.ts';
import { InboundSa, OutboundSa } from '../../esp/sa.ts';
import type { Origin } from '../../link/link.ts';
import { type Packet, packetBytes, packetFrom } from '../../link/packet.ts';
import type {
  Backend,
  BackendFactory,
  SaEvent,
  SaOperation,
  SaParameters,
  SaResult,
} from '../../link/sa-store.ts';
import { Usage } from '../usage.ts';
import { UserSpaceTunnel } from './tunnel.ts';

const log = createDebug('ike-telescope:backend');

interface InboundEntry {
  readonly sa: InboundSa;
  readonly usage: Usage;
  /** Where its newest packet came from. */
  path: Origin;
  readonly tunnel: UserSpaceTunnel;
  /** What came before it is still to be delivered: what comes now goes after that. */
  hasEarly: boolean;
}

/** An SPI that the peer may know already, though we do not have its SA yet, or not delivered what came before it. */
interface Reservation {
  readonly path: Origin;
  /** Came before the answer that says what the SA is: the peer may send as soon as it has answered (RFC 7296 2.8). */
  readonly early: { readonly packet: Packet; readonly origin: Origin }[];
}

const MAX_EARLY = 64;

/** SPIs 0 to 255 are reserved (RFC 4303 2.1). */
const FIRST_SPI = 256;

/** ESP in user space: one per link of a client, one per relay. */
export function userSpaceBackend(crypto: CryptoProvider): BackendFactory {
  return (...wiring) => new UserSpaceBackend(crypto, ...wiring);
}

class UserSpaceBackend implements Backend {
  readonly name = 'userspace';
  readonly #crypto: CryptoProvider;
  readonly #sendEsp: (packets: readonly Packet[], to: Origin) => void;
  readonly #onUnknownSpi: (spi: number, origin: Origin) => void;
  readonly #onSaEvent: (event: SaEvent) => void;
  readonly #inbound = new Map<number, InboundEntry>();
  readonly #reserved = new Map<number, Reservation>();
  readonly #tunnels = new Map<string, UserSpaceTunnel>();

  constructor(
    crypto: CryptoProvider,
    sendEsp: (packets: readonly Packet[], to: Origin) => void,
    onUnknownSpi: (spi: number, origin: Origin) => void,
    onSaEvent: (event: SaEvent) => void,
  ) {
    this.#crypto = crypto;
    this.#sendEsp = sendEsp;
    this.#onUnknownSpi = onUnknownSpi;
    this.#onSaEvent = onSaEvent;
  }

  async apply(operations: readonly SaOperation[]): Promise<readonly SaResult[]> {
    return operations.map((operation) => this.#applyOne(operation));
  }

  tunnel(policyId: string): UserSpaceTunnel {
    const tunnel = this.#tunnels.get(policyId);
    if (tunnel === undefined) throw new RangeError(`no tunnel under policy ${policyId}`);
    return tunnel;
  }

  /** All packets of a batch come from one origin; runs of one SPI are handed on together. */
  receive(packets: readonly Packet[], origin: Origin): void {
    const opened = new Map<UserSpaceTunnel, { packet: Packet; nextHeader: number }[]>();
    const used = new Set<Usage>();
    const moved = new Set<UserSpaceTunnel>();
    for (const packet of packets) {
      if (packet.end - packet.start < 8) continue;
      const spi = readSpi(packet);
      const entry = this.#inbound.get(spi);
      if (entry === undefined || entry.hasEarly) {
        this.#receiveEarly(spi, packet, origin);
        continue;
      }
      if (!samePath(entry.path, origin)) continue;
      if (entry.usage.isExhausted) {
        entry.tunnel.countRefused('lifetime-exhausted');
        continue;
      }
      const result = entry.sa.open(packet);
      if (!result.ok) {
        entry.tunnel.countRefused(result.reason);
        continue;
      }
      if (entry.sa.isNewest && hasMoved(entry.path, origin)) {
        entry.path = origin;
        moved.add(entry.tunnel);
      }
      entry.usage.add(packet.end - packet.start);
      used.add(entry.usage);
      const list = opened.get(entry.tunnel);
      if (list === undefined) opened.set(entry.tunnel, [{ packet, nextHeader: result.nextHeader }]);
      else list.push({ packet, nextHeader: result.nextHeader });
    }
    for (const [tunnel, list] of opened) tunnel.deliver(list);
    for (const usage of used) usage.report();
    for (const { policy } of moved) this.#onSaEvent({ kind: 'moved', tunnelId: policy.id, path: origin });
  }

  async close(): Promise<void> {
    for (const tunnel of [...this.#tunnels.values()]) await tunnel.close();
    this.#inbound.clear();
    this.#reserved.clear();
  }

  #receiveEarly(spi: number, packet: Packet, origin: Origin): void {
    const reservation = this.#reserved.get(spi);
    if (reservation === undefined) this.#onUnknownSpi(spi, origin);
    else if (samePath(reservation.path, origin) && reservation.early.length < MAX_EARLY)
      reservation.early.push({ packet: packetFrom(packetBytes(packet)), origin });
  }

  #applyOne(operation: SaOperation): SaResult {
    switch (operation.kind) {
      case 'reserve':
        return { ok: true, spi: this.#reserve(operation.path) };
      case 'inbound':
        return this.#installInbound(operation.sa);
      case 'outbound':
        return this.#installOutbound(operation.sa);
      case 'remove':
        this.#remove(operation.direction, operation.spi, operation.tunnelId);
        return { ok: true, spi: operation.spi };
      case 'move':
        this.#tunnels.get(operation.tunnelId)?.moveOutbound(operation.spi, operation.path);
        return { ok: true, spi: operation.spi };
    }
  }

  #reserve(path: Origin): number {
    for (;;) {
      const octets = this.#crypto.random(4);
      const spi = new DataView(octets.buffer, octets.byteOffset).getUint32(0);
      if (spi >= FIRST_SPI && !this.#inbound.has(spi) && !this.#reserved.has(spi)) {
        this.#reserved.set(spi, { path, early: [] });
        return spi;
      }
    }
  }

  #installInbound(sa: SaParameters): SaResult {
    if (this.#inbound.has(sa.spi)) return { ok: false, error: 'the inbound SPI is in use' };
    const usage = new Usage('inbound', sa, this.#onSaEvent);
    const tunnel = this.#tunnelOf(sa);
    const hasEarly = (this.#reserved.get(sa.spi)?.early.length ?? 0) > 0;
    const entry = { sa: new InboundSa(this.#crypto, sa), usage, path: sa.path, tunnel, hasEarly };
    this.#inbound.set(sa.spi, entry);
    tunnel.inboundSpis.add(sa.spi);
    if (hasEarly) queueMicrotask(() => this.#deliverEarly(sa.spi, entry));
    else this.#reserved.delete(sa.spi);
    return { ok: true, spi: sa.spi };
  }

  /** Apart from the operation: what a handler makes of the packets is no result of that. */
  #deliverEarly(spi: number, entry: InboundEntry): void {
    const early = this.#reserved.get(spi)?.early ?? [];
    this.#reserved.delete(spi);
    entry.hasEarly = false;
    for (const { packet, origin } of early) {
      try {
        this.receive([packet], origin);
      } catch (error) {
        log('a handler did not take an early packet: %o', error);
      }
    }
  }

  #installOutbound(sa: SaParameters): SaResult {
    if (this.#tunnels.get(sa.tunnel.id)?.hasOutbound(sa.spi)) {
      return { ok: false, error: 'the outbound SPI is in use' };
    }
    const usage = new Usage('outbound', sa, this.#onSaEvent);
    const { spi, path } = sa;
    this.#tunnelOf(sa).addOutbound({ spi, sa: new OutboundSa(this.#crypto, sa), path, usage });
    return { ok: true, spi: sa.spi };
  }

  /** A tunnel goes with its last SA. */
  #remove(direction: 'inbound' | 'outbound', spi: number, tunnelId: string | undefined): void {
    const tunnel = tunnelId === undefined ? undefined : this.#tunnels.get(tunnelId);
    if (direction === 'outbound') tunnel?.removeOutbound(spi);
    else this.#removeInbound(spi);
    if (tunnel?.isEmpty) this.#forget(tunnel.policy.id);
  }

  #removeInbound(spi: number): void {
    const entry = this.#inbound.get(spi);
    entry?.sa.destroy();
    entry?.tunnel.inboundSpis.delete(spi);
    this.#inbound.delete(spi);
    this.#reserved.delete(spi);
  }

  #tunnelOf(sa: SaParameters): UserSpaceTunnel {
    const existing = this.#tunnels.get(sa.tunnel.id);
    if (existing !== undefined) return existing;
    const tunnel = new UserSpaceTunnel(sa.tunnel, this.#sendEsp, (id) => this.#forget(id));
    this.#tunnels.set(sa.tunnel.id, tunnel);
    return tunnel;
  }

  #forget(policyId: string): void {
    const tunnel = this.#tunnels.get(policyId);
    if (tunnel === undefined) return;
    this.#tunnels.delete(policyId);
    for (const spi of tunnel.inboundSpis) this.#removeInbound(spi);
  }
}

function readSpi(packet: Packet): number {
  const { buffer, start } = packet;
  return (
    ((buffer[start] << 24) | (buffer[start + 1] << 16) | (buffer[start + 2] << 8) | buffer[start + 3]) >>> 0
  );
}

/** Only in UDP has ESP a port, and a NAT that changes it. */
function hasMoved(from: Origin, to: Origin): boolean {
  return from.encapsulated && to.encapsulated && (from.address !== to.address || from.port !== to.port);
}

/** An SA belongs to the link and the overlay that its IKE SA was made through; the address may change behind a NAT. */
function samePath(a: Origin, b: Origin): boolean {
  return a.linkId === b.linkId && a.overlayPeer === b.overlayPeer;
}
