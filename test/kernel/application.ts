import type { Address } from '../../src/wire/address.ts';

/** Where programs run whose only way out is a telescope. */
export interface Application {
  /** A process in its network namespace. */
  readonly pid: number;
  readonly addresses: readonly Address[];
  /** The only way out, and its MTU. */
  readonly device: string;
  readonly mtu: number;
  /** Where each hop was built from. */
  readonly hops: readonly { readonly source: Address }[];
  /** Closes the telescope in an orderly way. */
  close(): Promise<void>;
}
