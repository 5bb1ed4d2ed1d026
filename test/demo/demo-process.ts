import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { compiledSources } from '../support/compiled.ts';

/** A running `ike-telescope demo`. */
export interface RunningDemo {
  readonly child: ChildProcess;
  stdout(): string;
  stderr(): string;
  /** Resolves once it has written `words` to standard output. @throws Error if it ends without */
  says(words: string): Promise<void>;
  /** Status, or the signal that ended it. */
  readonly ended: Promise<number | string>;
  /** What is in its directory for temporary files. */
  temporaryFiles(): readonly string[];
  /** Process ids of everything that it has started, itself included. */
  processes(): readonly number[];
}

/** Starts it with a directory for temporary files of its own. */
export function startDemo(
  args: readonly string[],
  options: { readonly wrapper?: readonly string[]; readonly env?: NodeJS.ProcessEnv } = {},
): RunningDemo {
  const { wrapper = [], env = {} } = options;
  const mark = `DEMO_TEST=${randomUUID()}`;
  const directory = mkdtempSync(join(tmpdir(), 'demo-test-'));
  const [program, ...rest] = [
    ...wrapper,
    process.execPath,
    join(compiledSources(), 'cli/main.js'),
    'demo',
    ...args,
  ];
  const child = spawn(program, rest, {
    env: { ...process.env, TMPDIR: directory, DEMO_TEST: mark.split('=')[1], ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (text) => {
    stdout += text;
  });
  child.stderr.on('data', (text) => {
    stderr += text;
  });
  const ended = once(child, 'exit').then(([status, signal]) => status ?? signal);
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return {
    child,
    stdout: () => stdout,
    stderr: () => stderr,
    says: (words) =>
      new Promise((resolve, reject) => {
        const look = () => stdout.includes(words) && resolve();
        child.stdout.on('data', look);
        void ended.then((status) => reject(new Error(`it ended with ${status}: ${stdout}${stderr}`)));
        look();
      }),
    ended,
    temporaryFiles: () => readdirSync(directory),
    processes: () => processesWith(mark),
  };
}

/** Processes with a variable in their environment. */
function processesWith(variable: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(variable);
      } catch {
        return false;
      }
    })
    .map(Number);
}
