import type { AddressKey } from './address-key.ts';

/** Hosts that a client may be in touch with; beyond, the one that it has not written to for longest is forgotten. */
export const MAX_REMOTES_PER_CLIENT = 1024;

/** What all clients share evenly, so that none can take another's part. */
export const MAX_REMOTES = 65_536;

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
    const most = Math.max(1, Math.min(MAX_REMOTES_PER_CLIENT, Math.floor(MAX_REMOTES / this.#clients.size)));
    for (const oldest of remotes) {
      if (remotes.size <= most) return;
      remotes.delete(oldest);
    }
  }

  has(client: AddressKey, remote: AddressKey): boolean {
    return this.#clients.get(client)?.has(remote) ?? false;
  }

  release(client: AddressKey): void {
    this.#clients.delete(client);
  }
}
