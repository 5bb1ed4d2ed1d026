import type { Xfrm } from '../backend/xfrm/xfrm.ts';
import { CommandError } from '../host/command.ts';
import { LinkError } from '../link/link.ts';
import { type Address, familyOf } from '../wire/address.ts';
import { type HopNamespace, OTHER_NAMESPACE } from './hop-namespace.ts';
import { deviceConfiguration } from './surroundings.ts';

/** A tunnel's device, in a namespace where there is no other. */
export const HOP_DEVICE = 'telescope0';

/** A network namespace, and the kernel's IPsec in it. */
export interface HopPlace {
  readonly namespace: HopNamespace;
  readonly xfrm: Xfrm;
}

/**
 * Makes the VTI device whose packets meet policies of the mark `key`, and that takes those of SAs of this mark from `remote`.
 * @returns its name
 * @throws LinkError if there is one already for that address; CommandError if the kernel has none
 */
export async function addDevice(
  { namespace, xfrm }: HopPlace,
  key: number,
  remote: Address,
): Promise<string> {
  const name = xfrm.deviceName(key);
  const type = familyOf(remote) === 4 ? 'vti' : 'vti6';
  try {
    // For any address of ours, which may change.
    await namespace.ip([`link add ${name} type ${type} remote ${remote} key ${key}`]);
  } catch (cause) {
    const { message } = cause as Error;
    if (/File exists/.test(message)) {
      throw new LinkError(
        `the kernel could not tell the packets of two telescopes from this host through the entry ${remote} apart, and there is one, or another VTI device: close it, enter elsewhere, or use the backend userspace`,
        { cause },
      );
    }
    throw new CommandError(`${message}; the kernel needs VTI devices: modprobe ip_vti ip6_vti`, { cause });
  }
  return name;
}

/**
 * Moves a device from `namespace` into another, where it is up once it lets through what it is to.
 * @param rules - for `tc`
 * @param mtu - in octets
 * @throws CommandError
 */
export async function moveDevice(
  name: string,
  { namespace }: HopPlace,
  into: HopNamespace,
  {
    addresses,
    mtu,
    rules,
  }: { readonly addresses: readonly Address[]; readonly mtu: number; readonly rules: readonly string[] },
): Promise<void> {
  try {
    await namespace.ip([`link set ${name} netns ${OTHER_NAMESPACE} name ${HOP_DEVICE}`], into);
  } catch (error) {
    await namespace.ip([`link delete ${name}`]);
    throw error;
  }
  await into.tc(rules).catch((cause: Error) => {
    throw new CommandError(
      `${cause.message}; the kernel needs the modules sch_ingress, cls_flower, cls_matchall, act_gact, act_pedit and act_csum`,
      { cause },
    );
  });
  await into.ip(['link set lo up', ...deviceConfiguration(HOP_DEVICE, addresses, mtu)]);
}
