import { accessSync, constants, existsSync } from 'node:fs';
import { CommandError, run } from '../host/command.ts';
import { missingPrograms } from '../host/programs.ts';
import { loadNative } from '../native/load.ts';
import type { Native } from '../native/native.ts';

const TUN = '/dev/net/tun';

const LOOPBACK = 'Or run the demo with --loopback, which needs none of this and shows less.';

/** This machine lacks something that the demo needs; the message says all that, and what to do. */
export class PrerequisiteError extends Error {
  override readonly name = 'PrerequisiteError';

  constructor(obstacles: readonly string[]) {
    super(`the demo cannot run here:\n${obstacles.map((text) => `  - ${text}`).join('\n')}\n${LOOPBACK}`);
  }
}

/** @throws PrerequisiteError unless the programs, the TUN device and koffi are there */
export function requirePrerequisites(): Native {
  const loaded = loadNative();
  const tun = tunObstacle(TUN);
  const obstacles = [
    ...missingPrograms(['ip', 'unshare', 'nsenter', 'setpriv']).map(
      ({ program, debianPackage }) =>
        `the program '${program}' is not installed: apt install ${debianPackage}`,
    ),
    ...(tun === undefined ? [] : [tun]),
    ...('unavailable' in loaded ? [loaded.unavailable] : []),
  ];
  if ('unavailable' in loaded || obstacles.length > 0) throw new PrerequisiteError(obstacles);
  return loaded.native;
}

/** Why TUN devices cannot be opened, and what to do; undefined if they can. */
export function tunObstacle(device: string): string | undefined {
  if (!existsSync(device)) {
    return (
      `there is no ${device}: modprobe tun (the module is in Debian's package linux-image-amd64); in a container, ` +
      `start it with --device ${device}`
    );
  }
  try {
    accessSync(device, constants.R_OK | constants.W_OK);
    return undefined;
  } catch {
    return `you may not open ${device}: chmod 0666 ${device} as root (it is Debian's default), or run the demo as root`;
  }
}

/** Whether network namespaces can be made as we are, or in a user namespace. @throws PrerequisiteError if neither */
export async function namespaceAccess(): Promise<'direct' | 'user-namespace'> {
  if (await succeeds(['unshare', '--net', 'true'])) return 'direct';
  if (await succeeds([...USER_NAMESPACE, 'true'])) return 'user-namespace';
  throw new PrerequisiteError([
    'neither we nor a user namespace may make network namespaces: run the demo as root, or allow user namespaces ' +
      '(sysctl -w user.max_user_namespaces=1000; sysctl -w kernel.unprivileged_userns_clone=1; ' +
      'on Ubuntu sysctl -w kernel.apparmor_restrict_unprivileged_userns=0)',
  ]);
}

/** Runs a command as root of namespaces of its own. */
export const USER_NAMESPACE = ['unshare', '--user', '--map-root-user', '--net', '--'] as const;

async function succeeds(command: readonly string[]): Promise<boolean> {
  try {
    await run(command);
    return true;
  } catch (error) {
    if (error instanceof CommandError) return false;
    throw error;
  }
}
