import type { Xfrm } from '../backend/xfrm/xfrm.ts';
import { CommandError } from '../host/command.ts';
import { ip } from '../host/ip.ts';
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

/** What a hop's device is to be like: its addresses, its MTU in octets, and what it lets through (for `tc`). */
export interface DeviceSettings {
  readonly addresses: readonly Address[];
  readonly mtu: number;
  readonly rules: readonly string[];
}

/**
 * Makes the VTI device whose packets meet policies of the mark `key`, and that takes those of SAs of this mark from `remote`. It is moved
 * into another namespace, where it is up once it lets through only what it is to.
 * @throws LinkError if there is one already for that address; CommandError if the kernel has none
 */
export async function addDevice(
  place: HopPlace,
  key: number,
  remote: Address,
  into: HopNamespace,
  { addresses, mtu, rules }: DeviceSettings,
): Promise<void> {
  const name = place.xfrm.deviceName(key);
  await addWith(place, key, remote, `link set ${name} netns ${OTHER_NAMESPACE} name ${HOP_DEVICE}`, into);
  await into.tc(rules).catch((cause: Error) => {
    throw new CommandError(
      `${cause.message}; the kernel needs the modules sch_ingress, cls_flower, cls_matchall, act_gact, act_pedit and act_csum`,
      { cause },
    );
  });
  // Whatever ICMP says of the path: an MTU of one's own is a fingerprint, and who can set it marks a telescope.
  const route = `mtu lock ${mtu}`;
  await into.ip(['link set lo up', ...deviceConfiguration(HOP_DEVICE, addresses, mtu, route)]);
}

/**
 * Makes sure that there can be a device for `remote`: there is none, not even of one address of ours, which the kernel would prefer.
 * @throws LinkError, CommandError like `addDevice`
 */
export async function tryDevice(place: HopPlace, remote: Address): Promise<void> {
  const show = ['-json', '-details', 'link', 'show', 'type', typeFor(remote)];
  const { stdout } = await place.namespace.within(() => ip(show));
  const devices: readonly VtiLink[] = JSON.parse(stdout || '[]');
  if (devices.some(({ linkinfo }) => linkinfo?.info_data?.remote === remote)) throw taken(remote);
  const key = place.xfrm.allocate();
  await addWith(place, key, remote, `link delete ${place.xfrm.deviceName(key)}`);
}

/** What `ip -json` says of a VTI device, as far as it is of interest. */
interface VtiLink {
  readonly linkinfo?: { readonly info_data?: { readonly remote?: string } };
}

function typeFor(remote: Address): 'vti' | 'vti6' {
  return familyOf(remote) === 4 ? 'vti' : 'vti6';
}

function taken(remote: Address, cause?: unknown): LinkError {
  return new LinkError(
    `the kernel could not tell the packets of two telescopes from this host through the entry ${remote} apart, and there is one, or another VTI device (a relay's overlay is one): close it, enter elsewhere, or use the backend userspace`,
    { cause },
  );
}

/** Makes a device, and does something with it at once. */
async function addWith(
  { namespace, xfrm }: HopPlace,
  key: number,
  remote: Address,
  command: string,
  other?: HopNamespace,
): Promise<void> {
  const name = xfrm.deviceName(key);
  try {
    // For any address of ours, which may change.
    await namespace.ip(
      [`link add ${name} type ${typeFor(remote)} remote ${remote} key ${key}`, command],
      other,
    );
  } catch (cause) {
    const { message } = cause as Error;
    if (/File exists/.test(message)) throw taken(remote, cause);
    await namespace.ip([`link delete ${name}`]).catch(() => {}); // it was perhaps not made
    throw new CommandError(`${message}; the kernel needs VTI devices: modprobe ip_vti ip6_vti`, { cause });
  }
}
