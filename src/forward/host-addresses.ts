import { networkInterfaces } from 'node:os';
import { ip } from '../host/ip.ts';
import type { Clock, Millis } from '../link/clock.ts';
import {
  type Address,
  addressBytes,
  type Family,
  familyOf,
  hostPrefix,
  type Prefix,
  parseAddress,
  parsePrefix,
  prefixContains,
} from '../wire/address.ts';
import type { IpHeader } from '../wire/ip.ts';
import { type AddressKey, addressKey } from './address-key.ts';
import type { Enter } from './exit.ts';

/** How long a look at the host's addresses is good for, in milliseconds. */
const MAX_AGE = 5_000;

/** Routes of the kernel's local table to the host itself. */
const DELIVERED: readonly unknown[] = ['local', 'broadcast', 'anycast'];

/**
 * What the host's kernel takes for its own: addresses (also of interfaces without carrier), broadcast and anycast. The
 * forwarding decision knows the addresses that the relay is configured with; an exit must not reach the host's services
 * through any other one either (T24). Without iproute2 only the addresses of running interfaces are known.
 */
export class HostAddresses {
  readonly #enter: Enter;
  readonly #netns: number | undefined;
  readonly #clock: Clock;
  #keys: ReadonlySet<AddressKey> = new Set();
  readonly #routes: Record<Family, readonly Prefix[]> = { 4: [], 6: [] };
  #prefixes: readonly Prefix[] = [];
  #readAt: Millis = 0;

  private constructor(enter: Enter, netns: number | undefined, clock: Clock) {
    this.#enter = enter;
    this.#netns = netns;
    this.#clock = clock;
  }

  static async read(enter: Enter, netns: number | undefined, clock: Clock): Promise<HostAddresses> {
    const host = new HostAddresses(enter, netns, clock);
    await host.#read();
    return host;
  }

  /** Whether the packet is addressed to the host itself, as far as was known a moment ago. */
  isDestination(buffer: Uint8Array, { family, destination }: IpHeader): boolean {
    if (this.#clock.now() - this.#readAt > MAX_AGE) this.#read().catch(() => {}); // what was known stays
    return this.#includes(buffer, destination, family);
  }

  has(address: Address): boolean {
    return this.#includes(addressBytes(address), 0, familyOf(address));
  }

  #includes(buffer: Uint8Array, offset: number, family: Family): boolean {
    return (
      this.#keys.has(addressKey(buffer, offset, family)) ||
      this.#prefixes.some((prefix) => prefix.family === family && prefixContains(prefix, buffer, offset))
    );
  }

  async #read(): Promise<void> {
    this.#readAt = this.#clock.now();
    const interfaces = Object.values(this.#enter(networkInterfaces)).flatMap((addresses) => addresses ?? []);
    for (const family of [4, 6] as const) {
      const routes = await localRoutes(family, this.#netns);
      if (routes !== undefined) this.#routes[family] = routes; // else what was known stays
    }
    const prefixes = [
      ...interfaces.map(({ address }) => hostPrefix(parseAddress(address.split('%')[0]))),
      ...this.#routes[4],
      ...this.#routes[6],
    ];
    this.#keys = new Set(prefixes.filter(isHost).map(({ bytes, family }) => addressKey(bytes, 0, family)));
    this.#prefixes = prefixes.filter((prefix) => !isHost(prefix));
  }
}

function isHost({ bytes, length }: Prefix): boolean {
  return length === bytes.length * 8;
}

/** What the kernel delivers to the host itself; undefined if that cannot be read. */
async function localRoutes(
  family: Family,
  netns: number | undefined,
): Promise<readonly Prefix[] | undefined> {
  try {
    const { stdout } = await ip([`-${family}`, '-json', 'route', 'show', 'table', 'local'], { netns });
    const routes: readonly { readonly type?: string; readonly dst: string }[] = JSON.parse(stdout || '[]');
    return routes
      .filter(({ type }) => DELIVERED.includes(type))
      .map(({ dst }) => (dst.includes('/') ? parsePrefix(dst) : hostPrefix(parseAddress(dst))));
  } catch {
    return undefined;
  }
}
