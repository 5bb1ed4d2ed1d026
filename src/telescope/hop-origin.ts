import { LinkError, type Origin } from '../link/link.ts';
import { type Address, familyOf } from '../wire/address.ts';

/** IKE inside a telescope: both ports fixed, never 4500 (K28). */
export const HOP_IKE_PORT = 500;

/**
 * The origin of what `address` sends to us at `assigned`, the address that the relay before it assigned.
 * @param port - the peer's; 0 for ESP
 * @throws LinkError for an address of another family
 */
export function hopOrigin(linkId: string, assigned: Address, address: Address, port = HOP_IKE_PORT): Origin {
  const [ours, theirs] = [familyOf(assigned), familyOf(address)];
  if (ours !== theirs) {
    throw new LinkError(
      `an IPv${theirs} address cannot be reached from the IPv${ours} address that the previous relay assigned; use the relay's IPv${ours} address`,
    );
  }
  return {
    linkId,
    address,
    port,
    localAddress: assigned,
    localPort: port === 0 ? 0 : HOP_IKE_PORT,
    encapsulated: false,
  };
}
