import type { Address } from '../wire/address.ts';

/** One hop, as the demo tells of it. */
export interface HopReport {
  readonly relay: string;
  /** The address that the hop was built from. */
  readonly source: Address;
  readonly assigned: Address;
  /** Octets: the ceiling of what its tunnel carries. */
  readonly mtu: number;
  readonly roundTrips: number;
  /** Milliseconds. */
  readonly ms: number;
}

/** A hop in words. */
export function hopLine(number: number, { relay, source, assigned, mtu, roundTrips, ms }: HopReport): string {
  return (
    `Hop ${number}: relay ${relay} saw ${source} and assigned ${assigned}; ` +
    `MTU ${mtu}, ${roundTrips} round trips, ${ms} ms`
  );
}
