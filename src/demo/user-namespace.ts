import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';
import { programEnvironment } from '../host/programs.ts';
import { USER_NAMESPACE } from './prerequisites.ts';

/**
 * Runs a Node script as root of a user namespace, on our standard streams. It is told to end when we are asked to, and
 * when we are killed.
 * @param script - the script's file and its arguments
 * @returns its exit status (128 + signal number)
 */
export async function runInUserNamespace(script: readonly string[], signal: AbortSignal): Promise<number> {
  const dieWithUs = ['setpriv', '--pdeathsig', 'TERM', '--'];
  const [program, ...args] = [...USER_NAMESPACE, ...dieWithUs, process.execPath, ...script];
  const child = spawn(program, args, { stdio: 'inherit', env: programEnvironment() });
  signal.addEventListener('abort', () => child.kill('SIGTERM'), { once: true });
  const [status, killedBy]: [number | null, NodeJS.Signals | null] = (await once(child, 'exit')) as never;
  return status ?? 128 + constants.signals[killedBy!];
}
