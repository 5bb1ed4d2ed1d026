import { accessSync, constants, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { programEnvironment } from '../../src/host/programs.ts';

/** Programs, and Debian's packages with them. */
export type Programs = Readonly<Record<string, string>>;

/** What a guest kernel runs on. */
export type Machine = 'uml' | 'qemu';

const OF_GUEST: Readonly<Record<Machine, Programs>> = {
  uml: { 'linux.uml': 'user-mode-linux', modprobe: 'kmod', ip: 'iproute2' },
  qemu: { 'qemu-system-x86_64': 'qemu-system-x86', depmod: 'kmod', ip: 'iproute2' },
};

/** On CPUs with AMX, whose state User Mode Linux has no room for, a library is compiled that cuts it (xsave.c). */
const COMPILER: Programs = { gcc: 'gcc libc6-dev' };

/** The packages of programs that this host does not have. */
export function missingPackages(programs: Programs): readonly string[] {
  const folders = (programEnvironment().PATH ?? '').split(delimiter);
  const missing = Object.entries(programs).filter(
    ([program]) => !folders.some((folder) => isExecutable(join(folder, program))),
  );
  return [...new Set(missing.map(([, name]) => name))];
}

/** The same of those that a guest needs. */
export function missingForGuest(machine: Machine = 'uml'): readonly string[] {
  if (machine === 'qemu') return missingPackages(OF_GUEST.qemu);
  const hasAmx = /^flags.*\bamx_tile\b/m.test(readFileSync('/proc/cpuinfo', 'latin1'));
  return missingPackages(hasAmx ? { ...OF_GUEST.uml, ...COMPILER } : OF_GUEST.uml);
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
