import type { Address, Family, Prefix } from '../wire/address.ts';

/** Where a rule is asked: packets that pass through, for the host itself, of the host itself, on their way out. */
export type Hook = 'forward' | 'input' | 'output' | 'nat';

export const HOOKS: readonly Hook[] = ['forward', 'input', 'output', 'nat'];

/** One of our devices by its name, any of ours, or any other device. */
export type DeviceMatch = { readonly name: string } | 'ours' | 'other';

/** First and last. */
export type PortRange = readonly [number, number];

/** One rule; what is absent matches everything. The first that matches decides; what none matches is not ours. */
export interface FirewallRule {
  readonly hook: Hook;
  readonly family: Family;
  readonly from?: DeviceMatch;
  readonly to?: DeviceMatch;
  readonly source?: Prefix;
  readonly destination?: Prefix;
  /** Number of the IP protocol. */
  readonly protocol?: number;
  /** Of UDP or TCP. */
  readonly sourcePorts?: readonly PortRange[];
  readonly destinationPorts?: readonly PortRange[];
  readonly icmpType?: number;
  /** It has come without IPsec, or would leave without. */
  readonly clear?: 'in' | 'out';
  /** Of its connection. */
  readonly state?: 'established' | 'invalid';
  readonly verdict:
    | 'accept'
    /** Counted, for this reason: letters and hyphens. */
    | { readonly drop: string }
    /** From an address of the host's, or from this one. */
    | { readonly translate: Address | undefined };
}

/** Rules that are put in place and taken away together. */
export interface RuleSet {
  /** Of the table, or of the chains. */
  readonly name: string;
  /** What the names of our devices begin with. */
  readonly devices: string;
  readonly rules: readonly FirewallRule[];
}
