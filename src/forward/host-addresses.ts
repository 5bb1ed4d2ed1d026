import { networkInterfaces } from 'node:os';
import type { Clock, Millis } from '../link/clock.ts';
import { parseAddress } from '../wire/address.ts';
import type { IpHeader } from '../wire/ip.ts';
import { type AddressKey, addressKey, keyOfAddress } from './address-key.ts';
import type { Enter } from './exit.ts';

/** How long a look at the interfaces is good for, in milliseconds. */
const MAX_AGE = 5_000;

/**
 * The addresses of the host's interfaces. The forwarding decision knows those that the relay is configured with; an exit
 * must not reach the host's services through any other one either (T24).
 */
export class HostAddresses {
  readonly #enter: Enter;
  readonly #clock: Clock;
  #keys: ReadonlySet<AddressKey> = new Set();
  #readAt: Millis | undefined;

  constructor(enter: Enter, clock: Clock) {
    this.#enter = enter;
    this.#clock = clock;
  }

  /** Whether the packet is addressed to the host itself. */
  isDestination(buffer: Uint8Array, header: IpHeader): boolean {
    const now = this.#clock.now();
    if (this.#readAt === undefined || now - this.#readAt > MAX_AGE) {
      this.#readAt = now;
      const all = Object.values(this.#enter(networkInterfaces)).flatMap((addresses) => addresses ?? []);
      this.#keys = new Set(all.map(({ address }) => keyOfAddress(parseAddress(address.split('%')[0]))));
    }
    return this.#keys.has(addressKey(buffer, header.destination, header.family));
  }
}
