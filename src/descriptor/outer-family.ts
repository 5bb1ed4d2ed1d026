import { type Address, addressBytes, type Family, parsePrefix, prefixContains } from '../wire/address.ts';

/** RFC 1918, RFC 6598, RFC 4193. */
export const PRIVATE_BLOCKS = [
  '10.0.0.0/8',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '100.64.0.0/10',
  'fc00::/7',
].map(parsePrefix);

/** An address of each family, or of one. */
export interface Addresses {
  readonly ip4?: Address;
  readonly ip6?: Address;
}

/**
 * The family of the network, outside of all tunnels, on which everybody with these addresses is: IPv4 if all have it. But a private
 * address beside one of the other family is known inside of tunnels only. Undefined: they have no family in common.
 */
export function outerFamily(...all: readonly Addresses[]): Family | undefined {
  const shared = ([4, 6] as const).filter((family) =>
    all.every((each) => ofFamily(each, family) !== undefined),
  );
  return shared.find((family) => !all.some((each) => isPrivate(ofFamily(each, family)!))) ?? shared[0];
}

/** Whether nobody has a way to it on the Internet. */
export function isPrivate(address: Address): boolean {
  const bytes = addressBytes(address);
  return PRIVATE_BLOCKS.some((block) => block.bytes.length === bytes.length && prefixContains(block, bytes));
}

function ofFamily({ ip4, ip6 }: Addresses, family: Family): Address | undefined {
  return family === 4 ? ip4 : ip6;
}
