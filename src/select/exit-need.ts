import type { RelayDescriptor } from '../descriptor/descriptor.ts';
import { DEFAULT_EXIT_POLICY, exitPolicyPermits, parseExitPolicy } from '../forward/exit-policy.ts';
import { type Address, addressBytes, type Family, familyOf } from '../wire/address.ts';
import { IpProtocol } from '../wire/ip.ts';

/** What a telescope has to let out. */
export interface ExitNeed {
  /** Above IP. */
  readonly protocol: 'tcp' | 'udp';
  /** The destination's. */
  readonly port: number;
  /** Unknown for a name that the exit's side resolves. */
  readonly address?: Address;
}

/** Whether the relay is an exit, and its policy lets that out; for a name: to the Internet at large. */
export function letsOut(relay: RelayDescriptor, { protocol, port, address }: ExitNeed): boolean {
  if (!relay.exit || (address !== undefined && familyOf(address) !== assignedFamily(relay))) return false;
  const policy = parseExitPolicy(relay.exitPolicy ?? DEFAULT_EXIT_POLICY, `relay '${relay.name}'`);
  const number = protocol === 'tcp' ? IpProtocol.TCP : IpProtocol.UDP;
  const destination =
    address === undefined ? undefined : { family: familyOf(address), bytes: addressBytes(address) };
  return exitPolicyPermits(policy, number, port, destination);
}

/** Of the address that a telescope gets from an exit: IPv4 if it has such. */
function assignedFamily({ pools }: RelayDescriptor): Family {
  return pools.ip4 === undefined && pools.ip6 !== undefined ? 6 : 4;
}
