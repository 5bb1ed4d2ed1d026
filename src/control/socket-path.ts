import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { ControlError } from './server.ts';

/** Where a process looks for its folder. */
export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly uid: number;
}

const ENDING = '.sock';

function surroundings(): Surroundings {
  return { env: process.env, uid: process.geteuid?.() ?? 0 };
}

/** The folder of control sockets: systemd's for the service, /run's for root, the user's own otherwise; undefined: there is none. */
export function socketDirectory({ env, uid } = surroundings()): string | undefined {
  const [ofService] = env.RUNTIME_DIRECTORY?.split(':') ?? [];
  if (ofService) return ofService;
  if (uid === 0) return '/run/ike-telescope';
  return env.XDG_RUNTIME_DIR ? join(env.XDG_RUNTIME_DIR, 'ike-telescope') : undefined;
}

/** The control socket of who calls itself `name`; undefined: there is no place for it. */
export function socketPath(name: string, from?: Surroundings): string | undefined {
  const directory = socketDirectory(from);
  return directory && join(directory, `${name}${ENDING}`);
}

/** The one control socket that there is. @throws ControlError if there is none, or several */
export function onlySocket(from?: Surroundings): string {
  const directory = socketDirectory(from);
  if (directory === undefined) {
    throw new ControlError('XDG_RUNTIME_DIR is not set: say which control socket with --socket');
  }
  let sockets: string[];
  try {
    sockets = readdirSync(directory).filter((name) => name.endsWith(ENDING));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOENT') throw new ControlError(`${directory}: ${(error as Error).message}`);
    sockets = [];
  }
  if (sockets.length === 0) {
    throw new ControlError(
      `${directory}: there is no control socket: is anything running as this user? Or say which with --socket`,
    );
  }
  if (sockets.length > 1) {
    const paths = sockets.sort().map((name) => join(directory, name));
    throw new ControlError(`there are several control sockets: say which with --socket: ${paths.join(', ')}`);
  }
  return join(directory, sockets[0]);
}
