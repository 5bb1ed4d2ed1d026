import type { Packet } from '../../link/packet.ts';
import type { Tunnel, TunnelPolicy } from '../../link/sa-store.ts';
import type { Usage } from '../usage.ts';
import { type KernelSa, NOTHING, sum } from './kernel-sa.ts';
import type { XfrmStateId, XfrmUse } from './model.ts';
import type { TunnelPolicies } from './policies.ts';

/** A policy of ours, its SAs in the kernel, and what they have carried when last looked at. */
export class XfrmTunnel implements Tunnel {
  readonly policy: TunnelPolicy;
  readonly policies: TunnelPolicies;
  readonly inbound = new Map<number, KernelSa>();
  readonly outbound: KernelSa[] = [];
  readonly #onClose: () => Promise<unknown>;
  readonly #carried = new WeakMap<Usage, XfrmUse>();
  readonly #counters: Record<string, number> = {};

  constructor(policy: TunnelPolicy, policies: TunnelPolicies, onClose: () => Promise<unknown>) {
    this.policy = policy;
    this.policies = policies;
    this.#onClose = onClose;
  }

  get counters(): Readonly<Record<string, number>> {
    return this.#counters;
  }

  get sas(): readonly KernelSa[] {
    return [...this.outbound, ...this.inbound.values()];
  }

  /** Packets are the kernel's affair. */
  send(packets: readonly Packet[]): void {
    this.#count('not-by-the-kernel', packets.length);
  }

  onPackets(): void {}

  async close(): Promise<void> {
    await this.#onClose();
  }

  /** The SA that a state of ours is. */
  find({ destination, spi }: Pick<XfrmStateId, 'destination' | 'spi'>): KernelSa | undefined {
    const inbound = this.inbound.get(spi);
    if (inbound?.state.destination === destination) return inbound;
    return this.outbound.find(({ state }) => state.spi === spi && state.destination === destination);
  }

  /** Has `other` in the place of an SA, of which it is what became. */
  replace(sa: KernelSa, other: KernelSa): void {
    if (sa.direction === 'inbound') this.inbound.set(sa.state.spi, other);
    else for (const list of [this.outbound, this.policies.senders]) list[list.indexOf(sa)] = other;
  }

  /** Counts what an SA has carried since it was looked at before. @param use - what it has where it is now */
  observe({ usage, direction, before: moved }: KernelSa, use: XfrmUse): void {
    const now = sum(moved, use);
    const before = this.#carried.get(usage) ?? NOTHING;
    if (now.packets < before.packets) return; // an event that is older than what was seen
    const suffix = direction === 'inbound' ? 'In' : 'Out';
    this.#count(`packets${suffix}`, now.packets - before.packets);
    this.#count(`octets${suffix}`, now.octets - before.octets);
    this.#count('replayed', now.replayed - before.replayed);
    this.#count('bad-icv', now.badIcv - before.badIcv);
    this.#carried.set(usage, now);
    usage.reach(now.packets, now.octets);
    usage.report();
  }

  #count(name: string, by: number): void {
    if (by !== 0) this.#counters[name] = (this.#counters[name] ?? 0) + by;
  }
}
