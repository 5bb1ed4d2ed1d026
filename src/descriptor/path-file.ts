import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { defaultProvider } from '../crypto/default.ts';
import type { CryptoProvider } from '../crypto/provider.ts';
import { DescriptorError } from './document.ts';
import { type PathRelay, parsePath } from './path.ts';

/**
 * Reads a path file; the descriptor files that it names are relative to it.
 * @throws DescriptorError naming the file, the hop and the field
 */
export function readPath(file: string, crypto: CryptoProvider = defaultProvider()): readonly PathRelay[] {
  const read = (name: string) => readFileSync(name, 'utf8');
  let text: string;
  try {
    text = read(file);
  } catch (error) {
    throw new DescriptorError(`${file}: cannot be read: ${(error as Error).message}`);
  }
  return parsePath(text, file, (name) => read(resolve(dirname(file), name)), crypto);
}
