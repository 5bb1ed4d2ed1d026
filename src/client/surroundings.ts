import { existsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from '../host/command.ts';
import { ip, ipBatch } from '../host/ip.ts';
import { type Address, familyOf } from '../wire/address.ts';

const RESOLVER_CONFIGURATION = '/etc/resolv.conf';

/** UNIX sockets of the host's name resolution: they cross network namespaces, so a query to one would leave in clear. */
const HOST_RESOLVERS = [
  '/run/systemd/resolve/io.systemd.Resolve',
  '/run/systemd/resolve/io.systemd.Resolve.Monitor',
  '/run/nscd/socket',
  '/run/avahi-daemon/socket',
  '/run/dbus/system_bus_socket',
];

/**
 * Makes the new namespaces a place of their own: loopback up, /proc and /sys of these namespaces rather than the host's
 * (whose interfaces and processes a command would see there), and no way to the host's name resolution.
 * @throws CommandError
 */
export async function prepareSurroundings(): Promise<void> {
  await ip(['link', 'set', 'lo', 'up']);
  // A container may forbid these two; without them a command sees more than it needs, but reaches nothing more.
  await mountIfAllowed(['-t', 'proc', 'proc', '/proc']);
  await mountIfAllowed(['-t', 'sysfs', 'sysfs', '/sys']);
  await useResolvers([]);
  for (const socket of HOST_RESOLVERS) {
    if (existsSync(socket)) await mount(['--bind', '/dev/null', socket]);
  }
}

/**
 * Gives the TUN device the assigned addresses, and every packet to it.
 * @param mtu - octets
 * @throws CommandError
 */
export async function configureTun(name: string, addresses: readonly Address[], mtu: number): Promise<void> {
  const lines = addresses.map((address) =>
    familyOf(address) === 4
      ? { address: `${address}/32`, everywhere: 'default' }
      : { address: `${address}/128 nodad`, everywhere: '::/0' },
  );
  await ipBatch([
    ...lines.map(({ address }) => `address add ${address} dev ${name}`),
    `link set ${name} mtu ${mtu} up`,
    ...lines.map(({ everywhere }) => `route add ${everywhere} dev ${name}`),
  ]);
}

/** Makes these the only DNS servers of this mount namespace; none leaves names unresolved. @throws CommandError */
export async function useResolvers(servers: readonly Address[]): Promise<void> {
  if (!existsSync(RESOLVER_CONFIGURATION)) return;
  // The file is in memory that only this mount namespace reaches: nothing to clean up, however we end.
  const directory = tmpdir();
  await mount(['-t', 'tmpfs', '-o', 'size=64k,mode=755', 'tmpfs', directory]);
  try {
    const file = join(directory, 'resolv.conf');
    writeFileSync(file, servers.map((server) => `nameserver ${server}\n`).join(''), { mode: 0o644 });
    await mount(['--bind', file, RESOLVER_CONFIGURATION]);
  } finally {
    await run(['umount', directory]);
  }
}

async function mount(args: readonly string[]): Promise<void> {
  await run(['mount', ...args]);
}

async function mountIfAllowed(args: readonly string[]): Promise<void> {
  await mount(args).catch(() => {});
}
