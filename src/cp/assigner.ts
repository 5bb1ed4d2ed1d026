import type { AssignedAddresses } from '../link/sa-store.ts';

/** Which internal addresses a CFG_REQUEST asks for. */
export interface AddressRequest {
  /** INTERNAL_IP4_ADDRESS. */
  readonly ip4: boolean;
  /** INTERNAL_IP6_ADDRESS. */
  readonly ip6: boolean;
  /** INTERNAL_IP4_DNS. */
  readonly ip4Dns: boolean;
  /** INTERNAL_IP6_DNS. */
  readonly ip6Dns: boolean;
}

/** Gives out internal addresses, keyed on the IKE SA (RFC 7296 2.19): a lease lives as long as its owner. */
export interface AddressAssigner {
  /**
   * The addresses of `owner`; the same answer when it asks again. Undefined if no asked-for address can be given
   * (answered with INTERNAL_ADDRESS_FAILURE).
   */
  assign(owner: object, request: AddressRequest): AssignedAddresses | undefined;
  /** Ends the lease; releasing twice is harmless. */
  release(owner: object): void;
}
