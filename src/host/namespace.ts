import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { CommandError, type CommandOutput, inNamespace, run, spawnFailure } from './command.ts';
import { ip, ipBatch } from './ip.ts';
import { programEnvironment } from './programs.ts';

/** A network namespace without a name. It lasts as long as this process at most, however that ends. */
export interface NetworkNamespace {
  /** The process that holds it, and the file for `Native.withinNetworkNamespace`. */
  readonly pid: number;
  readonly file: string;
  /** Runs a command in it to its end. @throws CommandError unless it succeeds */
  exec(command: readonly string[]): Promise<CommandOutput>;
  /** Starts a process in it, which is killed when the namespace is closed or this process ends. */
  spawn(command: readonly string[], options?: SpawnOptions): ChildProcess;
  /** Ends the processes that it started, and so the namespace and the interfaces in it. */
  close(): Promise<void>;
}

/**
 * `command` such that the kernel kills it when the thread that started it ends (the process id is that of `command`); if that has ended
 * before the kernel knew, it does not begin.
 */
export function dyingWithUs(command: readonly string[]): readonly string[] {
  const begin = ['sh', '-c', `[ "$PPID" = ${process.pid} ] && exec "$@"`, 'sh'];
  return ['setpriv', '--pdeathsig', 'KILL', '--', ...begin, ...command];
}

/** cat ends when its standard input does, which is when this process has ended, even by SIGKILL. */
const HOLDER = ['unshare', '--net', '--', ...dyingWithUs(['cat'])];

/**
 * Opens a network namespace with only the loopback interface, which is up. Needs CAP_SYS_ADMIN (root, or a user namespace).
 * @throws CommandError
 */
export async function openNamespace(): Promise<NetworkNamespace> {
  const [program, ...args] = HOLDER;
  const holder = spawn(program, args, { env: programEnvironment(), stdio: 'pipe' });
  await holding(holder);
  const pid = holder.pid as number;
  const children = new Set<ChildProcess>();
  await ip(['link', 'set', 'lo', 'up'], { netns: pid }).catch(async (error) => {
    await end(holder);
    throw error;
  });
  // An open namespace is no reason for this process to go on.
  holder.unref();
  for (const stream of [holder.stdin, holder.stdout, holder.stderr]) {
    (stream as unknown as { unref(): void }).unref();
  }
  return {
    pid,
    file: `/proc/${pid}/ns/net`,
    exec: (command) => run(command, { netns: pid }),
    spawn(command, options = {}) {
      const [program, ...args] = dyingWithUs(inNamespace(command, pid));
      const child = spawn(program, args, { env: programEnvironment(), ...options });
      children.add(child);
      child.once('exit', () => children.delete(child));
      return child;
    },
    async close() {
      await Promise.all([...children, holder].map(end));
    },
  };
}

/** Joins two namespaces by a veth pair, up on both ends; addresses and routes are the caller's. @throws CommandError */
export async function connectNamespaces(
  a: NetworkNamespace,
  b: NetworkNamespace,
  link: { readonly aName: string; readonly bName: string; readonly mtu?: number },
): Promise<void> {
  const mtu = `mtu ${link.mtu ?? 1500}`;
  await ipBatch(
    [
      `link add ${link.aName} ${mtu} type veth peer name ${link.bName} ${mtu} netns ${b.pid}`,
      `link set ${link.aName} up`,
    ],
    { netns: a.pid },
  );
  await ip(['link', 'set', link.bName, 'up'], { netns: b.pid });
}

/** Waits until `holder` has its namespace: `cat` runs in it, and repeats what it reads. */
function holding(holder: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    let complaint = '';
    holder.stderr?.setEncoding('utf8').on('data', (text: string) => {
      complaint += text;
    });
    holder.stdin?.on('error', () => {});
    holder.once('error', (error) => reject(new CommandError(spawnFailure(HOLDER[0], error))));
    holder.once('close', () =>
      reject(new CommandError(`no network namespace (it needs root or 'unshare -Urn'): ${complaint.trim()}`)),
    );
    holder.stdout?.once('data', () => resolve());
    holder.stdin?.write('\n');
  });
}

async function end(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  child.ref();
  child.kill('SIGKILL');
  await exit;
}
