import type { AddressKey } from './address-key.ts';

/** Hosts that a client may be in touch with; beyond, the one that it has not written to for longest is forgotten. */
export const MAX_REMOTES_PER_CLIENT = 1024;

/** The same of all clients together: beyond, whoever writes to one more forgets one. */
export const MAX_REMOTES = 65_536;

/** Which hosts each client has written to: answers of others are not for it, but for who held its address before. */
export class Remotes {
  /** A set keeps the order of insertion: the host written to last stands last. */
  readonly #clients = new Map<AddressKey, Set<AddressKey>>();
  #size = 0;

  add(client: AddressKey, remote: AddressKey): void {
    let remotes = this.#clients.get(client);
    if (remotes === undefined) {
      remotes = new Set();
      this.#clients.set(client, remotes);
    }
    if (!remotes.delete(remote)) this.#size++;
    remotes.add(remote);
    if (remotes.size <= MAX_REMOTES_PER_CLIENT && this.#size <= MAX_REMOTES) return;
    for (const oldest of remotes) {
      remotes.delete(oldest);
      this.#size--;
      return;
    }
  }

  has(client: AddressKey, remote: AddressKey): boolean {
    return this.#clients.get(client)?.has(remote) ?? false;
  }

  release(client: AddressKey): void {
    this.#size -= this.#clients.get(client)?.size ?? 0;
    this.#clients.delete(client);
  }
}
