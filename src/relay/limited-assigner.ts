import type { AddressAssigner, AddressRequest } from '../cp/assigner.ts';
import type { AssignedAddresses } from '../link/sa-store.ts';

/** Gives out no more than `limit` leases at a time, however large the pool is. */
export class LimitedAssigner implements AddressAssigner {
  readonly #pool: AddressAssigner;
  #limit: number;
  readonly #owners = new Set<object>();

  constructor(pool: AddressAssigner, limit: number) {
    this.#pool = pool;
    this.#limit = limit;
  }

  /** Those that are out stay, also when they are more. */
  set limit(limit: number) {
    this.#limit = limit;
  }

  assign(owner: object, request: AddressRequest): AssignedAddresses | undefined {
    if (!this.#owners.has(owner) && this.#owners.size >= this.#limit) return undefined;
    const assigned = this.#pool.assign(owner, request);
    if (assigned !== undefined) this.#owners.add(owner);
    return assigned;
  }

  release(owner: object): void {
    this.#owners.delete(owner);
    this.#pool.release(owner);
  }
}
