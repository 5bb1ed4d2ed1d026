import type { z } from 'zod';
import { readDocument, validate } from '../descriptor/document.ts';

/** A configuration that is refused; the message names the file, the line, the key and what to do. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/** A parsed configuration file, which knows where each key stands. */
export interface ConfigDocument<T> {
  readonly value: T;
  /** An error about the key at `path`, which starts with the file and, if the key is there, its line and column. */
  error(path: readonly PropertyKey[], message: string): ConfigError;
}

/**
 * Reads YAML 1.2 and checks it against a schema.
 * @param where - the file's name, for error messages
 * @param examples - for keys (such as "pool.ip4"), what to write: the remedy in error messages
 * @throws ConfigError naming every key that is wrong
 */
export function parseConfig<T>(
  text: string,
  where: string,
  schema: z.ZodType<T>,
  examples: Readonly<Record<string, string>>,
): ConfigDocument<T> {
  const refuse = (message: string) => new ConfigError(message);
  const section = readDocument(text, where, refuse);
  return {
    value: validate(schema, section, refuse, examples),
    error: (path, message) => new ConfigError(section.complaint(path, message)),
  };
}
