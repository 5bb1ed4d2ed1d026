import { type ChildProcessWithoutNullStreams, type StdioOptions, spawn } from 'node:child_process';
import { missingPrograms, type Program, programEnvironment } from './programs.ts';

/** A command that could not be run or failed: which, what it said, what to do. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
  /** What it had written when it failed. */
  readonly stdout: string;

  constructor(message: string, options: ErrorOptions & { readonly stdout?: string } = {}) {
    super(message, options);
    this.stdout = options.stdout ?? '';
  }
}

/** What a command that succeeded wrote. */
export interface CommandOutput {
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs a program to its end, without a shell. `netns` is the id of a process whose network namespace it shall run in; `descriptors`
 * are what it inherits as 3, 4, ... It is started before this returns.
 * @throws CommandError unless it exits with status 0
 */
export function run(
  command: readonly string[],
  options: {
    readonly netns?: number;
    readonly input?: string;
    readonly descriptors?: readonly number[];
  } = {},
): Promise<CommandOutput> {
  const [program, ...args] = inNamespace(command, options.netns);
  return new Promise((resolve, reject) => {
    const { descriptors = [] } = options;
    const stdio: StdioOptions = ['pipe', 'pipe', 'pipe', ...descriptors];
    const child = spawn(program, args, {
      env: programEnvironment(),
      stdio,
    }) as ChildProcessWithoutNullStreams;
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.on('error', (error: NodeJS.ErrnoException) =>
      reject(new CommandError(spawnFailure(program, error))),
    );
    child.on('close', (status, signal) => {
      if (status === 0) resolve({ stdout, stderr });
      else
        reject(
          new CommandError(`'${command.join(' ')}' ended with ${signal ?? status}: ${stderr.trim()}`, {
            stdout,
          }),
        );
    });
    child.stdin.on('error', () => {}); // it ended without reading; its status says why
    child.stdin.end(options.input ?? '');
  });
}

/** `command` such that it runs in the network namespace of process `netns` (nsenter becomes it: the same process id). */
export function inNamespace(command: readonly string[], netns: number | undefined): readonly string[] {
  return netns === undefined ? command : ['nsenter', '-t', String(netns), '-n', '--', ...command];
}

/** Why a program could not be started, and the Debian package that it is in. */
export function spawnFailure(program: string, error: NodeJS.ErrnoException): string {
  if (error.code !== 'ENOENT') return `${program}: ${error.message}`;
  const [missing] = missingPrograms([program as Program]);
  const remedy = missing?.debianPackage ? `: apt install ${missing.debianPackage}` : '';
  return `the program '${program}' is not installed${remedy}`;
}

/** @throws CommandError naming the first that is missing, and its package */
export function requirePrograms(programs: readonly Program[]): void {
  const [missing] = missingPrograms(programs);
  if (missing === undefined) return;
  throw new CommandError(
    `the program '${missing.program}' is not installed: apt install ${missing.debianPackage}`,
  );
}
