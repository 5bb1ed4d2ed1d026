import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fromHex, hex } from '../../src/wire/bytes.ts';
import type { Attack } from './attack.ts';

/** Where attacks that once succeeded are kept; `npm test` carries them out again. */
export const REGRESSIONS = 'fixtures/fuzz';

/** Saves an attack with what it did, and returns the file's name. */
export function saveRegression(directory: string, attack: Attack, found: string): string {
  const { setup, seed, cut } = attack.scenario;
  const file = join(directory, `${`${setup} ${seed} ${cut}`.replace(/[^a-z0-9]+/g, '-')}.json`);
  mkdirSync(directory, { recursive: true });
  const text = JSON.stringify({ found, ...attack }, (_, value) =>
    value instanceof Uint8Array ? { hex: hex(value) } : value,
  );
  writeFileSync(file, `${text}\n`);
  return file;
}

/** The attacks of a directory, by the names of their files. */
export function readRegressions(directory: string): [string, Attack][] {
  return readdirSync(directory)
    .sort()
    .map((name) => {
      const text = readFileSync(join(directory, name), 'utf8');
      return [name, JSON.parse(text, (_, value) => (value?.hex === undefined ? value : fromHex(value.hex)))];
    });
}
