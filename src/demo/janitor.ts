import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A directory that goes when this process does. */
export interface TemporaryDirectory {
  readonly path: string;
  /** Removes it now. */
  close(): Promise<void>;
}

/**
 * Makes a directory that only we can read. A process of its own removes it once its standard input ends, which it does
 * however this process ends, SIGKILL included.
 */
export async function openTemporaryDirectory(): Promise<TemporaryDirectory> {
  const path = await mkdtemp(join(tmpdir(), 'ike-telescope-'));
  const janitor = spawn('sh', ['-c', 'cat > /dev/null; rm -rf -- "$0"', path], {
    detached: true, // out of reach of a Ctrl-C at the terminal
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  janitor.unref();
  const done = once(janitor, 'exit');
  return {
    path,
    async close() {
      janitor.ref();
      janitor.stdin.end();
      await done;
    },
  };
}
