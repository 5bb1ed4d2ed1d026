import { existsSync, lstatSync, readdirSync, readlinkSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../host/command.ts';
import { ip, ipBatch } from '../host/ip.ts';
import type { AssignedAddresses } from '../link/sa-store.ts';
import { type Address, familyOf } from '../wire/address.ts';

/**
 * Where the host's services listen: name resolution, the buses, whatever starts programs outside. UNIX sockets with a
 * path cross network namespaces, so what one of them is asked would leave in clear.
 */
const SERVICE_DIRECTORIES = ['/run', '/var/run'];

/**
 * Makes the new namespaces a place of their own: loopback up, /proc and /sys of these namespaces rather than the host's
 * (whose interfaces and processes a command would see there), and no way to the host's services.
 * @throws CommandError
 */
export async function prepareSurroundings(): Promise<void> {
  await ip(['link', 'set', 'lo', 'up']);
  // A container may forbid these two; without them a command sees more than it needs, but reaches nothing more.
  await mountIfAllowed(['-t', 'proc', 'proc', '/proc']);
  await mountIfAllowed(['-t', 'sysfs', 'sysfs', '/sys']);
  for (const directory of SERVICE_DIRECTORIES) {
    if (existsSync(directory) && !lstatSync(directory).isSymbolicLink()) await hideServices(directory);
  }
}

/** The whole directory rather than its sockets, which a service that is started again would make anew. */
async function hideServices(directory: string): Promise<void> {
  const links = readdirSync(directory, { withFileTypes: true })
    .filter((entry) => entry.isSymbolicLink())
    .map(({ name }) => ({ file: join(directory, name), target: readlinkSync(join(directory, name)) }));
  await mount(['-t', 'tmpfs', '-o', 'size=64m,mode=755,nosuid,nodev', 'tmpfs', directory]);
  // Some distributions keep links to their programs there.
  for (const { file, target } of links) symlinkSync(target, file);
}

/**
 * Gives the TUN device the assigned addresses, and every packet to it.
 * @param mtu - octets
 * @throws CommandError
 */
export async function configureTun(name: string, addresses: readonly Address[], mtu: number): Promise<void> {
  await ipBatch(deviceConfiguration(name, addresses, mtu));
}

/**
 * The commands for `ip` that give a device addresses, an MTU in octets, and every packet.
 * @param route - what else the routes are to have
 */
export function deviceConfiguration(
  name: string,
  addresses: readonly Address[],
  mtu: number,
  route = '',
): string[] {
  const lines = addresses.map((address) =>
    familyOf(address) === 4
      ? { address: `${address}/32`, everywhere: 'default' }
      : { address: `${address}/128 nodad`, everywhere: '::/0' },
  );
  return [
    ...lines.map(({ address }) => `address add ${address} dev ${name}`),
    `link set ${name} mtu ${mtu} up`,
    ...lines.map(({ everywhere }) => `route add ${everywhere} dev ${name} ${route}`),
  ];
}

export function addressesOf({ ip4, ip6 }: AssignedAddresses): Address[] {
  return [ip4, ip6?.address].filter((address) => address !== undefined);
}

/** Mounts something in this mount namespace. @throws CommandError */
export async function mount(args: readonly string[]): Promise<void> {
  await run(['mount', ...args]);
}

async function mountIfAllowed(args: readonly string[]): Promise<void> {
  await mount(args).catch(() => {});
}
