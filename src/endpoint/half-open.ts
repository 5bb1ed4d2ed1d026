import type { Origin } from '../link/link.ts';
import { addressBytes } from '../wire/address.ts';
import { hex } from '../wire/bytes.ts';

/** How many half-open IKE SAs a responder keeps for one source. Sources that come out of an overlay are its peer's. */
export interface SourceLimits {
  /** One IPv4 address, or one IPv6 /64, which anybody can have whole. */
  readonly address: number;
  /** One IPv4 /24, or one IPv6 /48. */
  readonly network: number;
  /** One overlay peer, with all the clients that it carries. */
  readonly peer: number;
  /** One client of an overlay peer; its relay lets it use no address but the one assigned. */
  readonly client: number;
}

/** Of all half-open IKE SAs, what one source may have unless something else is configured. */
const SHARES: SourceLimits = { address: 1 / 16, network: 1 / 4, peer: 1 / 4, client: 1 / 32 };

/** The limits of sources: those given, and for the others a share of `maximum`. */
export function sourceLimits(maximum: number, given: Partial<SourceLimits> = {}): SourceLimits {
  const limit = (source: keyof SourceLimits) =>
    given[source] ?? Math.max(1, Math.floor(maximum * SHARES[source]));
  return {
    address: limit('address'),
    network: limit('network'),
    peer: limit('peer'),
    client: limit('client'),
  };
}

/** Half-open IKE SAs of a responder, by the digest of their first request, and how many each source holds. */
export class HalfOpen<T> {
  #limits: SourceLimits;
  readonly #entries = new Map<string, { readonly value: T; readonly holders: readonly Holder[] }>();
  readonly #held = new Map<string, number>();

  constructor(limits: SourceLimits) {
    this.#limits = limits;
  }

  /** Those that there are stay, also where they are more. */
  set limits(limits: SourceLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(digest: string): T | undefined {
    return this.#entries.get(digest)?.value;
  }

  add(digest: string, value: T, origin: Origin): void {
    const holders = this.#holdersOf(origin);
    this.#entries.set(digest, { value, holders });
    for (const { name } of holders) this.#held.set(name, (this.#held.get(name) ?? 0) + 1);
  }

  delete(digest: string): void {
    const entry = this.#entries.get(digest);
    if (entry === undefined) return;
    this.#entries.delete(digest);
    for (const { name } of entry.holders) {
      const held = this.#held.get(name)! - 1;
      if (held === 0) this.#held.delete(name);
      else this.#held.set(name, held);
    }
  }

  /** How much of what it may have a source has: from 0 to 1. */
  share(origin: Origin): number {
    return Math.max(...this.#holdersOf(origin).map(({ name, limit }) => (this.#held.get(name) ?? 0) / limit));
  }

  #holdersOf({ overlayPeer, address }: Origin): readonly Holder[] {
    const limits = this.#limits;
    if (overlayPeer !== undefined) {
      return [
        { name: `peer ${overlayPeer}`, limit: limits.peer },
        { name: `client ${overlayPeer} ${address}`, limit: limits.client },
      ];
    }
    const bytes = addressBytes(address);
    const [host, network] = bytes.length === 4 ? [4, 3] : [8, 6];
    return [
      { name: `address ${hex(bytes.subarray(0, host))}`, limit: limits.address },
      { name: `network ${hex(bytes.subarray(0, network))}`, limit: limits.network },
    ];
  }
}

interface Holder {
  readonly name: string;
  readonly limit: number;
}
