import { type Address, type Family, familyOf } from '../wire/address.ts';
import { TelescopeError } from './errors.ts';
import { addressOf, entryAddress, poolOf, type RelayTarget } from './relay-target.ts';

/** How a hop is built: where its relay is, and of which family the address is that it is to assign. */
export interface HopAddresses {
  readonly address: Address;
  readonly family: Family;
}

/**
 * A hop assigns what the next relay can be reached from: IPv4 where it can, which costs 20 octets less.
 * @param exitFamily - of the address that the exit assigns; default: IPv4 if it has such
 * @throws TelescopeError naming the hop that the one before it cannot reach, or the exit that has no such addresses
 */
export function pathAddresses(path: readonly RelayTarget[], exitFamily?: Family): readonly HopAddresses[] {
  let address = entryAddress(path[0]);
  return path.map((relay, index) => {
    const next = path[index + 1];
    const here = address;
    if (next === undefined) return { address: here, family: familyOfExit(relay, path.length, exitFamily) };
    address = addressFrom(relay, next, index + 2);
    return { address: here, family: familyOf(address) };
  });
}

/** Where `relay` reaches the next one. An overlay has the families that both its ends have addresses of. */
function addressFrom(relay: RelayTarget, next: RelayTarget, hop: number): Address {
  const families = assignedFamilies(relay).filter((family) => addressOf(next, family) !== undefined);
  const family = families.find((each) => addressOf(relay, each) !== undefined) ?? families[0];
  if (family !== undefined) return addressOf(next, family)!;
  const [assigned] = assignedFamilies(relay);
  const cause = `it has no IPv${assigned} address, and ${relay.name}, the relay before it, assigns no others`;
  throw new TelescopeError(hop, next.name, 'choosing its address', cause);
}

function familyOfExit(exit: RelayTarget, hop: number, wanted: Family | undefined): Family {
  const families = assignedFamilies(exit);
  if (wanted === undefined) return families[0];
  if (families.includes(wanted)) return wanted;
  throw new TelescopeError(hop, exit.name, 'choosing our address', `it assigns no IPv${wanted} addresses`);
}

/** A relay that does not say what it assigns may assign anything. */
function assignedFamilies(relay: RelayTarget): readonly Family[] {
  const known = ([4, 6] as const).filter((family) => poolOf(relay, family) !== undefined);
  return known.length === 0 ? [4, 6] : known;
}
