import type { Origin } from '../../link/link.ts';
import type { Packet } from '../../link/packet.ts';
import type { Tunnel, TunnelPolicy } from '../../link/sa-store.ts';
import type { Usage } from '../usage.ts';
import type { InstalledState, XfrmStateId } from './model.ts';
import type { TunnelPolicies } from './policies.ts';

/** An SA in the kernel. */
export interface KernelSa {
  readonly direction: 'inbound' | 'outbound';
  readonly id: XfrmStateId;
  readonly path: Origin;
  readonly usage: Usage;
}

type Carried = Pick<InstalledState, 'octets' | 'packets' | 'replayed' | 'badIcv'>;

const NOTHING: Carried = { octets: 0, packets: 0, replayed: 0, badIcv: 0 };

/** A policy of ours, its SAs in the kernel, and what they have carried when last looked at. */
export class XfrmTunnel implements Tunnel {
  readonly policy: TunnelPolicy;
  readonly policies: TunnelPolicies;
  readonly inbound = new Map<number, KernelSa>();
  readonly outbound: KernelSa[] = [];
  readonly #onClose: () => Promise<unknown>;
  readonly #carried = new WeakMap<Usage, Carried>();
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
    if (inbound?.id.destination === destination) return inbound;
    return this.outbound.find(({ id }) => id.spi === spi && id.destination === destination);
  }

  /** Counts what an SA has carried since it was looked at before. */
  observe({ usage, direction }: KernelSa, now: Carried): void {
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
