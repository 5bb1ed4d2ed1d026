import type {
  Backend,
  BackendFactory,
  SaOperation,
  SaParameters,
  SaResult,
  Tunnel,
  TunnelPolicy,
} from '../link/sa-store.ts';

/** A data plane that carries nothing and records what it was told. */
export interface DryRun {
  /** The data plane: one per endpoint, all of them recorded together. */
  readonly backend: BackendFactory;
  /** Every operation that succeeded, in order; their keys are overwritten by the caller. */
  readonly operations: readonly SaOperation[];
  /** SAs that are installed now, as "inbound SPI" and "outbound SPI TUNNEL". */
  readonly installed: ReadonlySet<string>;
}

/** A new recording data plane, for tests of IKE and for negotiating without carrying. */
export function dryRun(): DryRun {
  const operations: SaOperation[] = [];
  const installed = new Set<string>();
  return { operations, installed, backend: () => new DryRunBackend(operations, installed) };
}

class DryRunBackend implements Backend {
  readonly name = 'dry-run';
  readonly #operations: SaOperation[];
  readonly #installed: Set<string>;
  readonly #tunnels = new Map<string, DryRunTunnel>();
  #nextSpi = 256;

  constructor(operations: SaOperation[], installed: Set<string>) {
    this.#operations = operations;
    this.#installed = installed;
  }

  async apply(operations: readonly SaOperation[]): Promise<readonly SaResult[]> {
    return operations.map((operation) => {
      const result = this.#applyOne(operation);
      if (result.ok) this.#operations.push(operation);
      return result;
    });
  }

  receive(): void {}

  tunnel(policyId: string): Tunnel {
    const tunnel = this.#tunnels.get(policyId);
    if (tunnel === undefined) throw new RangeError(`no tunnel under policy ${policyId}`);
    return tunnel;
  }

  async close(): Promise<void> {
    for (const tunnel of [...this.#tunnels.values()]) await tunnel.close();
  }

  #applyOne(operation: SaOperation): SaResult {
    switch (operation.kind) {
      case 'reserve':
        return { ok: true, spi: this.#nextSpi++ };
      case 'inbound':
      case 'outbound':
        return this.#install(operation.kind, operation.sa);
      case 'remove':
        this.#remove(keyOf(operation.direction, operation.spi, operation.tunnelId), operation.tunnelId);
        return { ok: true, spi: operation.spi };
      case 'move':
        return { ok: true, spi: operation.spi };
    }
  }

  #remove(key: string, tunnelId: string | undefined): void {
    this.#installed.delete(key);
    const tunnel = tunnelId === undefined ? undefined : this.#tunnels.get(tunnelId);
    tunnel?.keys.delete(key);
    if (tunnel?.keys.size === 0) this.#tunnels.delete(tunnel.policy.id);
  }

  #install(direction: 'inbound' | 'outbound', sa: SaParameters): SaResult {
    const key = keyOf(direction, sa.spi, sa.tunnel.id);
    if (this.#installed.has(key)) return { ok: false, error: `the ${direction} SPI is in use` };
    this.#installed.add(key);
    let tunnel = this.#tunnels.get(sa.tunnel.id);
    if (tunnel === undefined) {
      tunnel = new DryRunTunnel(sa.tunnel, (keys) => {
        this.#tunnels.delete(sa.tunnel.id);
        for (const installed of keys) this.#installed.delete(installed);
      });
      this.#tunnels.set(sa.tunnel.id, tunnel);
    }
    tunnel.keys.add(key);
    return { ok: true, spi: sa.spi };
  }
}

/** The peer chooses outbound SPIs, so they are unique in their tunnel only. */
function keyOf(direction: 'inbound' | 'outbound', spi: number, tunnelId: string | undefined): string {
  return direction === 'inbound' ? `inbound ${spi}` : `outbound ${spi} ${tunnelId}`;
}

class DryRunTunnel implements Tunnel {
  readonly policy: TunnelPolicy;
  readonly counters = { packetsDropped: 0 };
  readonly keys = new Set<string>();
  readonly #onClose: (keys: ReadonlySet<string>) => void;

  constructor(policy: TunnelPolicy, onClose: (keys: ReadonlySet<string>) => void) {
    this.policy = policy;
    this.#onClose = onClose;
  }

  send(packets: readonly unknown[]): void {
    this.counters.packetsDropped += packets.length;
  }

  onPackets(): void {}

  async close(): Promise<void> {
    this.#onClose(this.keys);
  }
}
