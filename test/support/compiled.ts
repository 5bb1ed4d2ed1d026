import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';

let directory: string | undefined;

/** A directory with the sources compiled to JavaScript as they are now, for processes that tests start. */
export function compiledSources(): string {
  if (directory !== undefined) return directory;
  const cache = resolve('node_modules/.cache');
  mkdirSync(cache, { recursive: true });
  const made = mkdtempSync(join(cache, 'test-'));
  directory = made;
  process.once('exit', () => rmSync(made, { recursive: true, force: true }));
  spawnSync(process.execPath, [
    'node_modules/typescript/bin/tsc',
    '-p',
    'tsconfig.build.json',
    '--outDir',
    made,
  ]);
  return made;
}

/** The command line of a Node process that runs this JavaScript (an ES module; `SRC` is where the sources are). */
export function nodeCommand(script: string, ...args: readonly string[]): string[] {
  const source = `const SRC = ${JSON.stringify(compiledSources())};\n${script}`;
  return [process.execPath, '--input-type=module', '-e', source, ...args];
}
