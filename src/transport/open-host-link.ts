import { loadNative } from '../native/load.ts';
import type { Native } from '../native/native.ts';
import type { Address } from '../wire/address.ts';
import { interfaceMtu, sourceAddress } from './host-address.ts';
import { HostLink } from './host-link.ts';

/**
 * The host's network towards `remote`, from the address that its routes choose, also when that changes, and with the MTU of
 * the interface that they choose now, on UDP ports of the kernel's choice. Without koffi or CAP_NET_RAW it is `encapsulatedOnly`: telescopes
 * over it have to be built with `encapsulated: true`.
 * @param options - `kernelEsp`: it leaves ESP to the kernel, and is good for the kernel's telescopes only
 * @throws LinkError without a route; CommandError without iproute2
 */
export async function openHostLink(
  remote: Address,
  { kernelEsp = false }: { readonly kernelEsp?: boolean } = {},
): Promise<HostLink> {
  const address = await sourceAddress(remote);
  const loaded = loadNative();
  const native =
    'native' in loaded && (kernelEsp || mayOpenRawEsp(loaded.native, address)) ? loaded.native : undefined;
  return new HostLink({
    address,
    towards: remote,
    mtu: await interfaceMtu(address),
    native,
    kernelEsp,
    encapsulatedOnly: native === undefined,
    ikePort: 0,
    encapsulatedPort: 0,
  });
}

function mayOpenRawEsp(native: Native, address: Address): boolean {
  try {
    native.openRawEsp(address).close();
    return true;
  } catch {
    return false;
  }
}
