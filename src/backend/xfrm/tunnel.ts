import type { Origin } from '../../link/link.ts';
import type { Packet } from '../../link/packet.ts';
import type { Tunnel, TunnelPolicy } from '../../link/sa-store.ts';
import type { Usage } from '../usage.ts';
import type {
  InstalledState,
  XfrmPolicy,
  XfrmRequest,
  XfrmScope,
  XfrmSelector,
  XfrmStateId,
  XfrmTemplate,
} from './model.ts';
import { xfrmSelectors } from './selectors.ts';
import { TUNNEL_PRIORITY } from './xfrm.ts';

/** An SA in the kernel. */
export interface KernelSa {
  readonly direction: 'inbound' | 'outbound';
  readonly id: XfrmStateId;
  readonly path: Origin;
  readonly usage: Usage;
}

type Carried = Pick<InstalledState, 'octets' | 'packets' | 'replayed' | 'badIcv'>;

const NOTHING: Carried = { octets: 0, packets: 0, replayed: 0, badIcv: 0 };

/** A policy of ours, what the kernel has of it, and what its SAs have carried when last looked at. */
export class XfrmTunnel implements Tunnel {
  readonly policy: TunnelPolicy;
  /** The reqid of its SAs and policies. */
  readonly reqid: number;
  readonly scope: XfrmScope;
  readonly inbound = new Map<number, KernelSa>();
  /** The newest first: it is the one that packets leave on. */
  readonly outbound: KernelSa[] = [];
  readonly #selectors: {
    readonly inbound: readonly XfrmSelector[];
    readonly outbound: readonly XfrmSelector[];
  };
  readonly #onClose: () => Promise<unknown>;
  readonly #carried = new WeakMap<Usage, Carried>();
  readonly #counters: Record<string, number> = {};

  /** @throws RangeError for traffic selectors that the kernel has no policies for */
  constructor(policy: TunnelPolicy, reqid: number, scope: XfrmScope, onClose: () => Promise<unknown>) {
    this.policy = policy;
    this.reqid = reqid;
    this.scope = scope;
    this.#selectors = {
      inbound: xfrmSelectors(policy.remote, policy.local),
      outbound: xfrmSelectors(policy.local, policy.remote),
    };
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

  /** Policies for what it receives: on any SA of ours, from wherever that is received. */
  inboundPolicies(): readonly XfrmPolicy[] {
    const template = { reqid: this.reqid, spi: 0 };
    return this.#selectors.inbound.flatMap((selector) =>
      (['in', 'fwd'] as const).map((direction) => ({
        direction,
        selector,
        ...this.scope,
        action: 'allow' as const,
        priority: TUNNEL_PRIORITY,
        template,
      })),
    );
  }

  /** Policies for what it sends: on `sa`, or not at all. */
  outboundPolicies(sa: KernelSa | undefined): readonly XfrmPolicy[] {
    const { reqid } = this;
    const template: XfrmTemplate =
      sa === undefined
        ? { reqid, spi: 0 }
        : { reqid, spi: sa.id.spi, path: { source: sa.path.localAddress, destination: sa.path.address } };
    return this.#selectors.outbound.map((selector) => ({
      direction: 'out',
      selector,
      ...this.scope,
      action: sa === undefined ? 'block' : 'allow',
      priority: TUNNEL_PRIORITY,
      template,
    }));
  }

  /** Has packets leave on `sa`, or not at all. */
  sendOn(sa: KernelSa | undefined): readonly XfrmRequest[] {
    return this.outboundPolicies(sa).map((policy) => ({ kind: 'update-policy', policy }));
  }

  /** Takes everything of it out of the kernel; nothing leaves in clear before its policies have gone. */
  removal(): readonly XfrmRequest[] {
    return [
      ...this.sendOn(undefined),
      ...this.sas.map(({ id }): XfrmRequest => ({ kind: 'delete-state', id })),
      ...[...this.inboundPolicies(), ...this.outboundPolicies(undefined)].map(
        (id): XfrmRequest => ({ kind: 'delete-policy', id }),
      ),
    ];
  }

  /** The SA that a state of ours is. */
  find({ destination, spi }: Pick<XfrmStateId, 'destination' | 'spi'>): KernelSa | undefined {
    return this.sas.find(({ id }) => id.spi === spi && id.destination === destination);
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
