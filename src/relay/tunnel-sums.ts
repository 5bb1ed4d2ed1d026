import type { Tunnel } from '../link/sa-store.ts';
import type { Drops } from './data-plane.ts';

/** What tunnels have carried: inner packets and their octets. */
export interface Carried {
  /** Received. */
  readonly packetsIn: number;
  /** Sent. */
  readonly packetsOut: number;
  /** Received. */
  readonly octetsIn: number;
  /** Sent. */
  readonly octetsOut: number;
}

/** Of all tunnels of a kind together. */
export interface Traffic {
  /** Tunnels of clients. */
  readonly clients: Carried;
  /** Overlay tunnels. */
  readonly overlays: Carried;
}

type TunnelKind = keyof Traffic;

const NOTHING: Carried = { packetsIn: 0, packetsOut: 0, octetsIn: 0, octetsOut: 0 };

/** What tunnels have carried, and dropped by reason, those that are gone included. */
export class TunnelSums {
  readonly #tunnels = new Map<Tunnel, TunnelKind>();
  readonly #gone: Record<TunnelKind, Record<string, number>> = { clients: {}, overlays: {} };

  get drops(): Drops {
    const drops: Record<string, number> = {};
    for (const sums of Object.values(this.#sums())) addDrops(drops, sums);
    for (const name of Object.keys(NOTHING)) delete drops[name];
    return drops;
  }

  get traffic(): Traffic {
    const { clients, overlays } = this.#sums();
    return { clients: carried(clients), overlays: carried(overlays) };
  }

  /** @returns what to call when it is gone */
  add(tunnel: Tunnel, kind: TunnelKind): () => void {
    this.#tunnels.set(tunnel, kind);
    return () => {
      if (this.#tunnels.delete(tunnel)) addDrops(this.#gone[kind], tunnel.counters);
    };
  }

  #sums(): Record<TunnelKind, Record<string, number>> {
    const sums = { clients: { ...this.#gone.clients }, overlays: { ...this.#gone.overlays } };
    for (const [{ counters }, kind] of this.#tunnels) addDrops(sums[kind], counters);
    return sums;
  }
}

function carried(sums: Readonly<Record<string, number>>): Carried {
  const { packetsIn, packetsOut, octetsIn, octetsOut } = { ...NOTHING, ...sums };
  return { packetsIn, packetsOut, octetsIn, octetsOut };
}

/** Adds counts to sums. */
export function addDrops(sums: Record<string, number>, counts: Drops): void {
  for (const [name, count] of Object.entries(counts)) sums[name] = (sums[name] ?? 0) + count;
}
