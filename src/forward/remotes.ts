import type { AddressKey } from './address-key.ts';

/** Hosts that a client may be in touch with; beyond, the one that it has not written to for longest is forgotten. */
export const MAX_REMOTES_PER_CLIENT = 1024;

/** Which hosts each client has written to: answers of others are not for it, but for who held its address before. */
export class Remotes {
  /** A set keeps the order of insertion: the host written to last stands last. */
  readonly #clients = new Map<AddressKey, Set<AddressKey>>();

  add(client: AddressKey, remote: AddressKey): void {
    let remotes = this.#clients.get(client);
    if (remotes === undefined) {
      remotes = new Set();
      this.#clients.set(client, remotes);
    }
    remotes.delete(remote);
    remotes.add(remote);
    if (remotes.size <= MAX_REMOTES_PER_CLIENT) return;
    for (const oldest of remotes) {
      remotes.delete(oldest);
      return;
    }
  }

  has(client: AddressKey, remote: AddressKey): boolean {
    return this.#clients.get(client)?.has(remote) ?? false;
  }

  release(client: AddressKey): void {
    this.#clients.delete(client);
  }
}
