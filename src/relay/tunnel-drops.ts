import type { Tunnel } from '../link/sa-store.ts';
import type { Drops } from './data-plane.ts';

/** What a tunnel counts that is not a drop. */
const CARRIED: readonly string[] = ['packetsIn', 'packetsOut', 'octetsIn', 'octetsOut'];

/** What tunnels have dropped, by reason, those that are gone included. */
export class TunnelDrops {
  readonly #tunnels = new Set<Tunnel>();
  readonly #gone: Record<string, number> = {};

  get sums(): Drops {
    const sums = { ...this.#gone };
    for (const tunnel of this.#tunnels) addDrops(sums, dropsOf(tunnel));
    return sums;
  }

  /** @returns what to call when it is gone */
  add(tunnel: Tunnel): () => void {
    this.#tunnels.add(tunnel);
    return () => {
      if (this.#tunnels.delete(tunnel)) addDrops(this.#gone, dropsOf(tunnel));
    };
  }
}

function dropsOf({ counters }: Tunnel): Drops {
  return Object.fromEntries(Object.entries(counters).filter(([name]) => !CARRIED.includes(name)));
}

/** Adds counts to sums. */
export function addDrops(sums: Record<string, number>, counts: Drops): void {
  for (const [name, count] of Object.entries(counts)) sums[name] = (sums[name] ?? 0) + count;
}
