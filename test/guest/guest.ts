import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { dyingWithUs } from '../../src/host/namespace.ts';
import { programEnvironment } from '../../src/host/programs.ts';
import { type RootContents, rootFolder } from '../interop/daemons/root.ts';
import { type Machine, missingForGuest } from './packages.ts';

/** There is no guest: a package is missing, its kernel does not boot, or it did not end in time. */
export class GuestError extends Error {
  override readonly name = 'GuestError';
}

export interface GuestOptions {
  /** Default: Debian's User Mode Linux. `qemu`: Debian's stock kernel on a processor that QEMU emulates, which is slow. */
  readonly machine?: Machine;
  /** Environment variables of the command, besides ours. */
  readonly env?: Readonly<Record<string, string>>;
  /** After how many the guest is ended. Default: 600. */
  readonly seconds?: number;
  /** RAM, which includes what the guest writes to files, in MiB. Default: 1024. */
  readonly memory?: number;
  /** A directory of the host that the command can write to; in the guest it has the same path. */
  readonly out?: string;
  /** Ends the guest. */
  readonly signal?: AbortSignal;
  /** Takes what the command writes. Default: it goes to our own output. */
  onOutput?(stream: 'stdout' | 'stderr', octets: Uint8Array): void;
}

/** How many times as long as in User Mode Linux things may take. */
const SLOWNESS_OF: Readonly<Record<Machine, number>> = { uml: 1, qemu: 10 };

/** What a stock kernel is booted from. */
const STOCK_KERNEL: RootContents = {
  name: 'linux-6.1',
  suite: 'bookworm',
  packages: ['linux-image-amd64', 'busybox-static'],
};

/**
 * Boots a kernel of Debian's as a process, runs a command in it as root and in our working directory, and resolves to its
 * exit status. The guest sees the host's files and writes to RAM; it has one CPU, and a loopback interface. Needs root, not /dev/kvm.
 * Nothing of it outlives this process, and nothing is left of it on the host.
 * @throws GuestError
 */
export async function runInGuest(command: readonly string[], options: GuestOptions = {}): Promise<number> {
  const { machine = 'uml', seconds = 600, memory = 1024, out = '', onOutput = writeThrough } = options;
  requirePrograms(machine);
  options.signal?.throwIfAborted();
  const start =
    machine === 'uml'
      ? [join(sources(), 'start.sh'), String(memory), String(ownCpu()), out]
      : [join(sources(), 'start-qemu.sh'), String(memory), await rootFolder(STOCK_KERNEL), out];
  const [program, ...args] = dyingWithUs([
    'unshare',
    '--mount',
    '--pid',
    '--kill-child',
    '--',
    'sh',
    ...start,
  ]);
  const child = spawn(program, args, { env: programEnvironment(), stdio: ['pipe', 'pipe', 'pipe', 'pipe'] });
  const closed = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>;
  let ending: string | undefined;
  const end = (why: string) => {
    ending ??= why;
    child.kill('SIGKILL');
  };
  const abort = () => end('was aborted');
  const timer = setTimeout(() => end(`did not end within ${seconds} s and was killed`), seconds * 1000);
  options.signal?.addEventListener('abort', abort, { once: true });
  let result = '';
  (child.stdio[3] as Readable).setEncoding('utf8').on('data', (text: string) => {
    result += text;
  });
  child.stdout!.on('data', (octets: Buffer) => onOutput('stdout', octets));
  child.stderr!.on('data', (octets: Buffer) => onOutput('stderr', octets));
  child.stdin!.on('error', () => {}); // it has ended; its status says why
  child.stdin!.end(script(command, { GUEST_SLOWNESS: String(SLOWNESS_OF[machine]), ...options.env }));
  try {
    await closed;
  } finally {
    clearTimeout(timer);
    options.signal?.removeEventListener('abort', abort);
  }
  if (ending !== undefined) throw new GuestError(`the guest that ran '${command.join(' ')}' ${ending}`);
  if (/^\d+\n$/.test(result)) return Number(result);
  throw new GuestError(`the guest died before '${command.join(' ')}' had ended: ${result.trim()}`);
}

/** Whether this process is in a guest. */
export function isInGuest(): boolean {
  return existsSync('/run/guest/init.sh');
}

function writeThrough(stream: 'stdout' | 'stderr', octets: Uint8Array): void {
  process[stream].write(octets);
}

/** @throws GuestError */
function requirePrograms(machine: Machine): void {
  if (process.getuid?.() !== 0) throw new GuestError('a guest needs root');
  if (isInGuest()) throw new GuestError('there is no guest in a guest');
  const missing = missingForGuest(machine);
  if (missing.length > 0)
    throw new GuestError(`a guest needs packages: apt-get install ${missing.join(' ')}`);
}

let started = 0;

/** One of the CPUs that we may use; guests that run at the same time take different ones. */
function ownCpu(): number {
  const [, list] = /^Cpus_allowed_list:\s*(.*)$/m.exec(readFileSync('/proc/self/status', 'latin1'))!;
  const cpus = list.split(',').flatMap((range) => {
    const [first, last = first] = range.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, index) => first + index);
  });
  return cpus[(process.pid + started++) % cpus.length];
}

/** Where the shell scripts are, also when this file was compiled into another folder. */
function sources(): string {
  for (let folder = new URL('.', import.meta.url); ; folder = new URL('..', folder)) {
    const found = fileURLToPath(new URL('test/guest/', folder));
    if (existsSync(join(found, 'start.sh'))) return found;
    if (folder.pathname === '/') throw new GuestError('test/guest/start.sh is not where it belongs');
  }
}

/** What the guest's shell does: our environment and working directory, and the command in place of the shell. */
function script(command: readonly string[], more: Readonly<Record<string, string>> = {}): string {
  const variables = Object.entries({ ...programEnvironment(), ...more })
    .filter(([name]) => /^[A-Za-z_]\w*$/.test(name))
    .map(([name, value]) => `export ${name}=${quote(value ?? '')}\n`);
  return `${variables.join('')}cd ${quote(process.cwd())}\nexec ${command.map(quote).join(' ')}\n`;
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
