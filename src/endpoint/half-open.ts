import type { Origin } from '../link/link.ts';
import { addressBytes } from '../wire/address.ts';
import { hex } from '../wire/bytes.ts';

/** Half-open IKE SAs of a responder, by the digest of their first request, and how many each source holds. */
export class HalfOpen<T> {
  readonly #entries = new Map<string, { readonly value: T; readonly source: string }>();
  readonly #held = new Map<string, number>();

  get size(): number {
    return this.#entries.size;
  }

  get(digest: string): T | undefined {
    return this.#entries.get(digest)?.value;
  }

  add(digest: string, value: T, origin: Origin): void {
    const source = sourceOf(origin);
    this.#entries.set(digest, { value, source });
    this.#held.set(source, (this.#held.get(source) ?? 0) + 1);
  }

  delete(digest: string): void {
    const entry = this.#entries.get(digest);
    if (entry === undefined) return;
    this.#entries.delete(digest);
    const held = this.#held.get(entry.source)! - 1;
    if (held === 0) this.#held.delete(entry.source);
    else this.#held.set(entry.source, held);
  }

  heldBy(origin: Origin): number {
    return this.#held.get(sourceOf(origin)) ?? 0;
  }
}

/**
 * Whom a half-open IKE SA is counted for: an overlay peer for all the clients that it carries, an IPv4 address, or an IPv6
 * /64, which anybody can have whole.
 */
function sourceOf({ overlayPeer, address }: Origin): string {
  if (overlayPeer !== undefined) return `overlay ${overlayPeer}`;
  const bytes = addressBytes(address);
  return bytes.length === 4 ? address : hex(bytes.subarray(0, 8));
}
