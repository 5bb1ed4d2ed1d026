import type { TunnelPolicy } from '../../link/sa-store.ts';
import type { KernelSa } from './kernel-sa.ts';
import type { XfrmPolicy, XfrmRequest, XfrmScope, XfrmSelector, XfrmTemplate } from './model.ts';
import { xfrmSelectors } from './selectors.ts';
import type { XfrmTunnel } from './tunnel.ts';
import { TUNNEL_PRIORITY } from './xfrm.ts';

/**
 * The kernel's policies for a tunnel. The kernel has one policy for the same packets, so two tunnels with one peer share theirs: both
 * ends may have set one up at the same time.
 */
export class TunnelPolicies {
  /** That of all their SAs. */
  readonly reqid: number;
  readonly scope: XfrmScope;
  /** The same for all tunnels that share them. */
  readonly key: string;
  readonly tunnels = new Set<XfrmTunnel>();
  /** The outbound SAs of all, the newest first: it is the one that packets leave on. */
  readonly senders: KernelSa[] = [];
  readonly #selectors: {
    readonly inbound: readonly XfrmSelector[];
    readonly outbound: readonly XfrmSelector[];
  };

  /** @throws RangeError for traffic selectors that the kernel has no policies for */
  constructor(policy: TunnelPolicy, { reqid, scope, key }: Pick<TunnelPolicies, 'reqid' | 'scope' | 'key'>) {
    this.reqid = reqid;
    this.scope = scope;
    this.key = key;
    this.#selectors = {
      inbound: xfrmSelectors(policy.remote, policy.local),
      outbound: xfrmSelectors(policy.local, policy.remote),
    };
  }

  /** For what is received: on any SA of ours, from wherever that is received. */
  inbound(): readonly XfrmPolicy[] {
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

  /** For what is sent: on `sa`, or not at all. */
  outbound(sa: KernelSa | undefined): readonly XfrmPolicy[] {
    const { reqid } = this;
    const template: XfrmTemplate =
      sa === undefined
        ? { reqid, spi: 0 }
        : { reqid, spi: sa.state.spi, path: { source: sa.path.localAddress, destination: sa.path.address } };
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
    return this.outbound(sa).map((policy) => ({ kind: 'update-policy', policy }));
  }

  /** Takes a tunnel out of the kernel; with the last one, nothing leaves in clear before the policies have gone. */
  removal(tunnel: XfrmTunnel): readonly XfrmRequest[] {
    const next = this.senders.find((sa) => !tunnel.outbound.includes(sa));
    const isLast = this.tunnels.size === 1;
    return [
      ...(isLast || next !== this.senders[0] ? this.sendOn(next) : []),
      ...tunnel.sas.map(({ state }): XfrmRequest => ({ kind: 'delete-state', id: state })),
      ...(isLast ? [...this.inbound(), ...this.outbound(undefined)] : []).map(
        (id): XfrmRequest => ({ kind: 'delete-policy', id }),
      ),
    ];
  }
}
