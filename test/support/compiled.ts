import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';

const CACHE = resolve('node_modules/.cache/ike-telescope');
const HOUR = 3_600_000;

/**
 * A directory with the sources compiled to JavaScript as they are now, for processes that tests start. Test files share it:
 * it is named after the content of the sources.
 */
export function compiledSources(): string {
  const directory = join(CACHE, sourceHash());
  if (existsSync(directory)) return directory;
  const unfinished = `${directory}.${process.pid}`;
  const options = ['--noCheck', '--declaration', 'false', '--sourceMap', 'false', '--outDir', unfinished];
  spawnSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json', ...options]);
  for (const entry of ['cli/main.js', 'client/inside-main.js']) bundle(unfinished, entry);
  try {
    renameSync(unfinished, directory);
  } catch {
    rmSync(unfinished, { recursive: true, force: true }); // another test file was faster
  }
  for (const name of readdirSync(CACHE)) {
    const old = join(CACHE, name);
    const made = statSync(old, { throwIfNoEntry: false })?.mtimeMs;
    if (made !== undefined && Date.now() - made > HOUR) rmSync(old, { recursive: true, force: true });
  }
  return directory;
}

/** Bundles an entry point with its libraries, in place: tests start so many processes that loading files would be most of it. */
function bundle(directory: string, entry: string): void {
  const out = join(directory, 'bundle');
  const options = ['--platform', 'node', '--format', 'esm', '--external', 'koffi', '--dir', out];
  spawnSync(process.execPath, ['node_modules/rolldown/bin/cli.mjs', join(directory, entry), ...options]);
  for (const name of readdirSync(out)) renameSync(join(out, name), join(directory, dirname(entry), name));
  rmSync(out, { recursive: true });
}

function sourceHash(): string {
  mkdirSync(CACHE, { recursive: true });
  const hash = createHash('sha256').update(readFileSync('test/support/compiled.ts'));
  for (const name of (readdirSync('src', { recursive: true }) as string[]).sort()) {
    if (name.endsWith('.ts')) hash.update(`${name}\0`).update(readFileSync(join('src', name)));
  }
  return hash.digest('hex').slice(0, 16);
}

/** The command line of a Node process that runs this JavaScript (an ES module; `SRC` is where the sources are). */
export function nodeCommand(script: string, ...args: readonly string[]): string[] {
  const source = `const SRC = ${JSON.stringify(compiledSources())};\n${script}`;
  return [process.execPath, '--input-type=module', '-e', source, ...args];
}
