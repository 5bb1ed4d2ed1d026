import { isMap, isScalar } from 'yaml';
import type { z } from 'zod';
import { readYaml } from '../descriptor/document.ts';

/** A configuration that is refused; the message names the file, the line, the key and what to do. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/** A parsed configuration file, which knows on which line each key stands. */
export interface ConfigDocument<T> {
  readonly value: T;
  /** An error about the key at `path`, which starts with the file and, if the key is there, its line. */
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
  const { value, document, lines } = readYaml(text, where, (message) => new ConfigError(message));
  const lineAt = (offset: number) => `${where}: line ${lines.linePos(offset).line}`;

  const locate = (path: readonly PropertyKey[]): string => {
    const parent = document.getIn(path.slice(0, -1), true);
    const key = path[path.length - 1];
    const pair = isMap(parent)
      ? parent.items.find((item) => isScalar(item.key) && item.key.value === key)
      : undefined;
    const node = (pair?.key ?? document.getIn(path, true)) as { readonly range?: readonly number[] | null };
    return node?.range ? lineAt(node.range[0]) : where;
  };
  const error = (path: readonly PropertyKey[], message: string) =>
    new ConfigError(
      `${locate(path)}: ${path.length === 0 ? '' : `${path.map(String).join('.')}: `}${message}`,
    );
  const complaint = (issue: z.core.$ZodIssue): string => {
    if (issue.code === 'unrecognized_keys') {
      return issue.keys
        .map(
          (key) =>
            error([...issue.path, key], `no such key; there are ${knownKeys(examples, issue.path)}`).message,
        )
        .join('; ');
    }
    const example = examples[issue.path.map(String).join('.')];
    const remedy = example === undefined ? '' : `; write for example "${example}"`;
    const missing = issue.path.length > 0 && !document.hasIn(issue.path);
    return error(issue.path, `${missing ? 'is missing' : issue.message}${remedy}`).message;
  };

  const result = schema.safeParse(value ?? {});
  if (!result.success) throw new ConfigError(result.error.issues.map(complaint).join('\n'));
  return { value: result.data, error };
}

function knownKeys(examples: Readonly<Record<string, string>>, path: readonly PropertyKey[]): string {
  const known = Object.keys(examples).map((key) => key.split('.'));
  return known
    .filter((key) => key.length === path.length + 1 && path.every((part, i) => key[i] === part))
    .map((key) => key[path.length])
    .join(', ');
}
