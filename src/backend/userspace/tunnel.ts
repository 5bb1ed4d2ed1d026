import { NextHeader, type OutboundSa } from '../../esp/sa.ts';
import type { Origin } from '../../link/link.ts';
import type { Packet } from '../../link/packet.ts';
import type { Tunnel, TunnelHandler, TunnelPolicy } from '../../link/sa-store.ts';
import { parseIpHeader } from '../../wire/ip.ts';
import type { Usage } from '../usage.ts';
import { selectorsCover } from './selectors.ts';

/** An outbound SA, where its packets go, and what it has carried. */
export interface OutboundEntry {
  readonly spi: number;
  readonly sa: OutboundSa;
  readonly path: Origin;
  readonly usage: Usage;
}

/** A policy with its user-space SAs: checks selectors on both sides of ESP (RFC 4301 5.1, 5.2). */
export class UserSpaceTunnel implements Tunnel {
  readonly policy: TunnelPolicy;
  /** Inbound SAs that the backend holds for it. */
  readonly inboundSpis = new Set<number>();
  readonly #outbound: OutboundEntry[] = [];
  readonly #sendEsp: (packets: readonly Packet[], to: Origin) => void;
  readonly #onClose: (policyId: string) => void;
  readonly #counters: Record<string, number> = {};
  #handler: TunnelHandler | undefined;

  constructor(
    policy: TunnelPolicy,
    sendEsp: (packets: readonly Packet[], to: Origin) => void,
    onClose: (policyId: string) => void,
  ) {
    this.policy = policy;
    this.#sendEsp = sendEsp;
    this.#onClose = onClose;
  }

  get counters(): Readonly<Record<string, number>> {
    return this.#counters;
  }

  onPackets(handler: TunnelHandler): void {
    this.#handler = handler;
  }

  /** The newest outbound SA is used; older ones stay until they are removed. */
  addOutbound(entry: OutboundEntry): void {
    this.#outbound.unshift(entry);
  }

  hasOutbound(spi: number): boolean {
    return this.#outbound.some((entry) => entry.spi === spi);
  }

  /** Whether no SA is left under it. */
  get isEmpty(): boolean {
    return this.#outbound.length === 0 && this.inboundSpis.size === 0;
  }

  moveOutbound(spi: number, path: Origin): void {
    const index = this.#outbound.findIndex((entry) => entry.spi === spi);
    if (index >= 0) this.#outbound[index] = { ...this.#outbound[index], path };
  }

  removeOutbound(spi: number): void {
    const index = this.#outbound.findIndex((entry) => entry.spi === spi);
    if (index < 0) return;
    this.#outbound[index].sa.destroy();
    this.#outbound.splice(index, 1);
  }

  send(packets: readonly Packet[]): void {
    const entry = this.#outbound[0];
    if (entry === undefined) {
      this.#count('no-outbound-sa', packets.length);
      return;
    }
    const { usage } = entry;
    const sealed: Packet[] = [];
    for (const packet of packets) {
      const header = parseIpHeader(packet.buffer, packet.start, packet.end);
      if (
        header === undefined ||
        !selectorsCover(this.policy.local, packet.buffer, header, 'source') ||
        !selectorsCover(this.policy.remote, packet.buffer, header, 'destination')
      ) {
        this.#count('outside-policy', 1);
      } else if (usage.isExhausted) {
        this.#count('lifetime-exhausted', 1);
      } else if (entry.sa.seal(packet, header.family === 4 ? NextHeader.IPV4 : NextHeader.IPV6)) {
        sealed.push(packet);
        const length = header.end - header.offset;
        usage.add(length);
        this.#count('packetsOut', 1);
        this.#count('octetsOut', length);
      } else {
        this.#count('sequence-exhausted', 1);
      }
    }
    if (sealed.length > 0) this.#sendEsp(sealed, entry.path);
    usage.report();
  }

  /** Checks opened packets against the policy and hands them on. `packet.end` is cut to the IP length (TFC padding). */
  deliver(packets: readonly { readonly packet: Packet; readonly nextHeader: number }[]): void {
    const accepted: Packet[] = [];
    for (const { packet, nextHeader } of packets) {
      const header = parseIpHeader(packet.buffer, packet.start, packet.end);
      const expected = nextHeader === NextHeader.IPV4 ? 4 : nextHeader === NextHeader.IPV6 ? 6 : undefined;
      if (header === undefined || header.family !== expected) {
        this.#count('malformed', 1);
      } else if (
        !selectorsCover(this.policy.remote, packet.buffer, header, 'source') ||
        !selectorsCover(this.policy.local, packet.buffer, header, 'destination')
      ) {
        this.#count('outside-policy', 1);
      } else {
        packet.end = header.end;
        accepted.push(packet);
        this.#count('packetsIn', 1);
        this.#count('octetsIn', header.end - header.offset);
      }
    }
    if (accepted.length === 0) return;
    if (this.#handler === undefined) this.#count('no-handler', accepted.length);
    else this.#handler(accepted);
  }

  /** Counts an inbound packet that ESP refused. */
  countRefused(reason: string): void {
    this.#count(reason, 1);
  }

  async close(): Promise<void> {
    for (const { sa } of this.#outbound.splice(0)) sa.destroy();
    this.#handler = undefined;
    this.#onClose(this.policy.id);
  }

  #count(name: string, by: number): void {
    this.#counters[name] = (this.#counters[name] ?? 0) + by;
  }
}
