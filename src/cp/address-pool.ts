import type { AssignedAddresses } from '../link/sa-store.ts';
import {
  type Address,
  addressBytes,
  addressText,
  familyOf,
  type Prefix,
  prefixContains,
} from '../wire/address.ts';
import { hex, type RandomSource } from '../wire/bytes.ts';
import type { AddressAssigner, AddressRequest } from './assigner.ts';

/** What a pool gives out. */
export interface AddressPoolOptions {
  /** The block of IPv4 addresses; absent: none. */
  readonly ip4?: Prefix;
  /** The block of IPv6 addresses; absent: none. */
  readonly ip6?: Prefix;
  /** IPv4 name servers for whoever asks for them. */
  readonly ip4Dns?: readonly Address[];
  /** IPv6 name servers for whoever asks for them. */
  readonly ip6Dns?: readonly Address[];
  /** What addresses are drawn from. */
  readonly random: RandomSource;
  /** Never given out, such as our own addresses; those outside the blocks are of no account. */
  readonly reserved?: readonly Address[];
}

/**
 * Leases of internal addresses. They are drawn at random, so that an address tells nothing of when its client came or
 * of how many there are; one that was released is not given out again soon, as long as there are others.
 */
export class AddressPool implements AddressAssigner {
  readonly #ip4: Block | undefined;
  readonly #ip6: Block | undefined;
  #dns: Pick<AddressPoolOptions, 'ip4Dns' | 'ip6Dns'>;
  readonly #leases = new Map<object, AssignedAddresses>();

  /** A pool of which nothing is given out yet. */
  constructor({ ip4, ip6, random, reserved = [], ...dns }: AddressPoolOptions) {
    this.#ip4 = ip4 && new Block(ip4, random, reserved);
    this.#ip6 = ip6 && new Block(ip6, random, reserved);
    this.#dns = dns;
  }

  /** The name servers of leases from now on. */
  set dns(dns: Pick<AddressPoolOptions, 'ip4Dns' | 'ip6Dns'>) {
    this.#dns = dns;
  }

  /** As `AddressAssigner` says: each family that is asked for and in the pool. */
  assign(owner: object, request: AddressRequest): AssignedAddresses | undefined {
    const known = this.#leases.get(owner);
    if (known !== undefined) return known;
    const ip4 = request.ip4 ? this.#ip4?.take() : undefined;
    const ip6 = request.ip6 ? this.#ip6?.take() : undefined;
    // RFC 7296 3.15.4: a failure only if no address at all can be given.
    if (ip4 === undefined && ip6 === undefined) return undefined;
    const { ip4Dns, ip6Dns } = this.#dns;
    const lease: AssignedAddresses = {
      ...(ip4 !== undefined && { ip4 }),
      ...(ip6 !== undefined && { ip6: { address: ip6, prefixLength: 128 } }),
      dns: [...((request.ip4Dns && ip4Dns) || []), ...((request.ip6Dns && ip6Dns) || [])],
    };
    this.#leases.set(owner, lease);
    return lease;
  }

  /** As `AddressAssigner` says. */
  release(owner: object): void {
    const lease = this.#leases.get(owner);
    if (lease === undefined) return;
    this.#leases.delete(owner);
    if (lease.ip4 !== undefined) this.#ip4?.giveBack(lease.ip4);
    if (lease.ip6 !== undefined) this.#ip6?.giveBack(lease.ip6.address);
  }
}

/** Draws before a block so full that they all hit taken addresses is searched in order. */
const DRAWS = 32;
/** Released addresses that a large block remembers. */
const MAX_RESTING = 4096;

/** The addresses of one prefix, as offsets into it. What is stored grows with the leases, not with the prefix. */
class Block {
  readonly #family: Prefix['family'];
  readonly #base: bigint;
  readonly #first: bigint;
  readonly #count: bigint;
  readonly #random: RandomSource;
  /** Leased or reserved. */
  readonly #taken = new Set<bigint>();
  /** Released not long ago, oldest first. */
  readonly #resting = new Set<bigint>();
  readonly #maxResting: number;

  constructor(prefix: Prefix, random: RandomSource, reserved: readonly Address[]) {
    this.#family = prefix.family;
    this.#random = random;
    this.#base = toInteger(prefix.bytes);
    const hostBits = prefix.bytes.length * 8 - prefix.length;
    // Neither the network nor the broadcast address, nor IPv6's subnet router address (RFC 4291 2.6.1); in the two
    // smallest blocks there are none (RFC 3021, RFC 6164).
    const whole = hostBits < 2;
    this.#first = whole ? 0n : 1n;
    this.#count = (1n << BigInt(hostBits)) - (whole ? 0n : prefix.family === 4 ? 2n : 1n);
    for (const address of reserved) {
      if (familyOf(address) !== prefix.family || !prefixContains(prefix, addressBytes(address))) continue;
      const index = this.#indexOf(address);
      if (index >= 0n && index < this.#count) this.#taken.add(index);
    }
    const half = (this.#count - BigInt(this.#taken.size)) / 2n;
    this.#maxResting = half < MAX_RESTING ? Number(half) : MAX_RESTING;
  }

  take(): Address | undefined {
    const index = this.#free();
    if (index === undefined) return undefined;
    this.#resting.delete(index);
    this.#taken.add(index);
    return this.#addressAt(index);
  }

  giveBack(address: Address): void {
    const index = this.#indexOf(address);
    this.#taken.delete(index);
    this.#resting.add(index);
    if (this.#resting.size > this.#maxResting) this.#resting.delete(this.#oldest()!);
  }

  #free(): bigint | undefined {
    if (BigInt(this.#taken.size + this.#resting.size) === this.#count) return this.#oldest();
    let index = 0n;
    for (let draw = 0; draw < DRAWS; draw++) {
      index = this.#draw();
      if (this.#isFree(index)) return index;
    }
    while (!this.#isFree(index)) index = (index + 1n) % this.#count;
    return index;
  }

  #isFree(index: bigint): boolean {
    return !this.#taken.has(index) && !this.#resting.has(index);
  }

  #oldest(): bigint | undefined {
    return this.#resting.values().next().value;
  }

  /** Uniform in 0 to count - 1, by rejection. */
  #draw(): bigint {
    const bits = (this.#count - 1n).toString(2).length;
    const mask = (1n << BigInt(bits)) - 1n;
    for (;;) {
      const index = toInteger(this.#random(Math.ceil(bits / 8))) & mask;
      if (index < this.#count) return index;
    }
  }

  #indexOf(address: Address): bigint {
    return toInteger(addressBytes(address)) - this.#base - this.#first;
  }

  #addressAt(index: bigint): Address {
    const bytes = new Uint8Array(this.#family === 4 ? 4 : 16);
    let rest = this.#base + this.#first + index;
    for (let i = bytes.length - 1; i >= 0; i--, rest >>= 8n) bytes[i] = Number(rest & 0xffn);
    return addressText(bytes);
  }
}

function toInteger(bytes: Uint8Array): bigint {
  return BigInt(`0x${hex(bytes)}`);
}
