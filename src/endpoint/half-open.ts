import type { Origin } from '../link/link.ts';
import { addressBytes } from '../wire/address.ts';
import { hex } from '../wire/bytes.ts';

/** Half-open IKE SAs of a responder, by the digest of their first request, and how many each source holds. */
export class HalfOpen<T> {
  readonly #entries = new Map<string, { readonly value: T; readonly holders: readonly string[] }>();
  readonly #held = new Map<string, number>();

  get size(): number {
    return this.#entries.size;
  }

  get(digest: string): T | undefined {
    return this.#entries.get(digest)?.value;
  }

  add(digest: string, value: T, origin: Origin): void {
    const client = clientOf(origin);
    const holders = [sourceOf(origin), ...(client === undefined ? [] : [client])];
    this.#entries.set(digest, { value, holders });
    for (const holder of holders) this.#held.set(holder, (this.#held.get(holder) ?? 0) + 1);
  }

  delete(digest: string): void {
    const entry = this.#entries.get(digest);
    if (entry === undefined) return;
    this.#entries.delete(digest);
    for (const holder of entry.holders) {
      const held = this.#held.get(holder)! - 1;
      if (held === 0) this.#held.delete(holder);
      else this.#held.set(holder, held);
    }
  }

  /** How many the network, or the overlay peer, holds that it comes from. */
  heldBySource(origin: Origin): number {
    return this.#held.get(sourceOf(origin)) ?? 0;
  }

  /** How many one client of an overlay peer holds; its relay lets it use no address but the one assigned. */
  heldByClient(origin: Origin): number {
    return this.#held.get(clientOf(origin) ?? '') ?? 0;
  }
}

/** An overlay peer, for all the clients that it carries; else an IPv4 address, or an IPv6 /64, which anybody can have whole. */
function sourceOf({ overlayPeer, address }: Origin): string {
  if (overlayPeer !== undefined) return `overlay ${overlayPeer}`;
  const bytes = addressBytes(address);
  return bytes.length === 4 ? address : hex(bytes.subarray(0, 8));
}

function clientOf({ overlayPeer, address }: Origin): string | undefined {
  return overlayPeer === undefined ? undefined : `overlay ${overlayPeer} ${address}`;
}
