import { createHash } from 'node:crypto';
import type { Packet } from '../../src/link/packet.ts';
import type { Backend, BackendFactory, SaOperation, SaParameters, Tunnel } from '../../src/link/sa-store.ts';
import { hex } from '../../src/wire/bytes.ts';
import type { TrafficSelector } from '../../src/wire/traffic-selector.ts';

/** What both ends of an SA must have alike: its SPI, algorithms, keys, and the traffic that it carries. */
type SaName = string;

/** The SAs that are installed in backends, as their operations tell. */
export class SaLedger {
  readonly inbound = new Map<SaName, string>();
  readonly outbound = new Map<SaName, string>();
  readonly reserved = new Set<number>();
  /** Called after each change. */
  onChange: (operation: SaOperation) => void = () => {};

  get size(): number {
    return this.inbound.size + this.outbound.size + this.reserved.size;
  }

  /** A backend whose SAs are entered here. */
  over(inner: BackendFactory): BackendFactory {
    return (...sinks) => this.#watched(inner(...sinks));
  }

  #watched(backend: Backend): Backend {
    return {
      name: backend.name,
      receive: (packets, origin) => backend.receive(packets, origin),
      close: () => backend.close(),
      tunnel: (id) => this.#watchedTunnel(backend.tunnel(id)),
      apply: async (operations) => {
        // The caller overwrites the keys when it has the results.
        const entries = operations.map((operation) => nameOf(operation));
        const results = await backend.apply(operations);
        results.forEach((result, i) => {
          if (!result.ok) return;
          this.#enter(operations[i], result.spi, entries[i]);
          this.onChange(operations[i]);
        });
        return results;
      },
    };
  }

  #enter(operation: SaOperation, spi: number, name: SaName): void {
    switch (operation.kind) {
      case 'reserve':
        this.reserved.add(spi);
        return;
      case 'inbound':
        this.reserved.delete(spi);
        this.inbound.set(name, operation.sa.tunnel.id);
        return;
      case 'outbound':
        this.outbound.set(name, operation.sa.tunnel.id);
        return;
      case 'remove':
        if (operation.direction === 'inbound') this.reserved.delete(spi);
        for (const [known, tunnelId] of this[operation.direction]) {
          if (known.startsWith(`${spi} `) && tunnelId === operation.tunnelId)
            this[operation.direction].delete(known);
        }
        return;
      case 'move':
        return;
    }
  }

  #watchedTunnel(tunnel: Tunnel): Tunnel {
    return {
      policy: tunnel.policy,
      send: (packets: readonly Packet[]) => tunnel.send(packets),
      onPackets: (handler) => tunnel.onPackets(handler),
      get counters() {
        return tunnel.counters;
      },
      close: () => {
        for (const direction of [this.inbound, this.outbound]) {
          for (const [name, tunnelId] of direction) if (tunnelId === tunnel.policy.id) direction.delete(name);
        }
        return tunnel.close();
      },
    };
  }
}

/** SAs that have no counterpart at the other end: what one sends with, nobody receives with, or the reverse. */
export function unpaired(ledgers: readonly SaLedger[]): {
  readonly inbound: SaName[];
  readonly outbound: SaName[];
} {
  const all = (direction: 'inbound' | 'outbound') =>
    ledgers.flatMap((ledger) => [...ledger[direction].keys()]);
  const inbound = all('inbound');
  const outbound = all('outbound');
  const [receiving, sending] = [new Set(inbound), new Set(outbound)];
  return {
    inbound: inbound.filter((name) => !sending.has(name)),
    outbound: outbound.filter((name) => !receiving.has(name)),
  };
}

function nameOf(operation: SaOperation): SaName {
  if (operation.kind === 'inbound')
    return saName(operation.sa, operation.sa.tunnel.remote, operation.sa.tunnel.local);
  if (operation.kind === 'outbound')
    return saName(operation.sa, operation.sa.tunnel.local, operation.sa.tunnel.remote);
  return '';
}

function saName(
  { spi, suite, keys }: SaParameters,
  from: readonly TrafficSelector[],
  to: readonly TrafficSelector[],
): SaName {
  const digest = createHash('sha256').update(keys.encryption).update(keys.integrity).digest('hex');
  return `${spi} ${JSON.stringify(suite)} ${digest} ${from.map(text)} > ${to.map(text)}`;
}

function text({ protocol, startPort, endPort, startAddress, endAddress }: TrafficSelector): string {
  return `${protocol}:${startPort}-${endPort}:${hex(startAddress)}-${hex(endAddress)}`;
}
