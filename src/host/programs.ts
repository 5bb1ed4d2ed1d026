import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** The Debian package of each program that the project runs. */
const PACKAGES = {
  ip: 'iproute2',
  tc: 'iproute2',
  nft: 'nftables',
  unshare: 'util-linux',
  nsenter: 'util-linux',
  setpriv: 'util-linux',
  perl: 'perl-base',
} as const;

export type Program = keyof typeof PACKAGES;

/** A program that is not installed, and the Debian package that brings it. */
export interface MissingProgram {
  readonly program: Program;
  readonly debianPackage: string;
}

/** Which of `programs` cannot be found, in PATH or where system administration programs are. */
export function missingPrograms(programs: readonly Program[]): readonly MissingProgram[] {
  return programs
    .filter((program) => !searchPath().some((directory) => executable(join(directory, program))))
    .map((program) => ({ program, debianPackage: PACKAGES[program] }));
}

/** The environment for these programs: PATH includes /usr/sbin and /sbin, where other users' PATH may not. */
export function programEnvironment(): NodeJS.ProcessEnv {
  return { ...process.env, PATH: searchPath().join(delimiter) };
}

function searchPath(): readonly string[] {
  const path = (process.env.PATH ?? '/usr/bin:/bin').split(delimiter);
  return [...path, ...['/usr/sbin', '/sbin'].filter((directory) => !path.includes(directory))];
}

function executable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
