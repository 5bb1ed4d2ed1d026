import { type Document, isMap, isScalar, LineCounter, parseDocument } from 'yaml';
import type { z } from 'zod';
import { complaintOf, knownKeys, nearestKey } from './complaints.ts';

/** A descriptor or path that is refused; the message names the file, the line, the field and what to do. */
export class DescriptorError extends Error {
  override readonly name = 'DescriptorError';
}

/** Of a document, in characters. */
const MAX_LENGTH = 1 << 20;

type Path = readonly PropertyKey[];

interface Source {
  /** The file's name. */
  readonly where: string;
  readonly document: Document;
  readonly lines: LineCounter;
}

/** A YAML 1.2 or JSON text, or a part of it: its value, and where what stands. */
export class Section {
  readonly value: unknown;
  readonly #source: Source;
  readonly #path: Path;

  constructor(value: unknown, source: Source, path: Path = []) {
    this.value = value;
    this.#source = source;
    this.#path = path;
  }

  /** What stands at `path`. */
  part(...path: Path): Section {
    const value = path.reduce(
      (inside, key) => (inside as Record<PropertyKey, unknown> | undefined)?.[key],
      this.value,
    );
    return new Section(value, this.#source, [...this.#path, ...path]);
  }

  has(path: Path): boolean {
    return this.#source.document.hasIn([...this.#path, ...path]);
  }

  /** `problem` with the file before it, the line and column of what is at `path`, or would be in, and its key. */
  complaint(path: Path, problem: string): string {
    const full = [...this.#path, ...path];
    const label = full.length === 0 ? '' : `${full.map(String).join('.')}: `;
    return `${this.#source.where}: ${this.#position(full)}${label}${problem}`;
  }

  #position(path: Path): string {
    if (path.length === 0) return '';
    const { document, lines } = this.#source;
    const parent = document.getIn(path.slice(0, -1), true);
    const key = path[path.length - 1];
    const pair = isMap(parent)
      ? parent.items.find((item) => isScalar(item.key) && item.key.value === key)
      : undefined;
    const node = (pair?.key ?? document.getIn(path, true)) as { readonly range?: readonly number[] | null };
    if (!node?.range) return this.#position(path.slice(0, -1));
    const { line, col } = lines.linePos(node.range[0]);
    return `line ${line}, column ${col}: `;
  }
}

/** Makes an error of a message. */
type Refuse = (message: string) => Error;

const refuseDescriptor: Refuse = (message) => new DescriptorError(message);

/**
 * Reads the one value in a YAML 1.2 or JSON text.
 * @param where - the file's name, for error messages
 * @param refuse - makes the error for malformed text; its message names `where` and the line
 */
export function readDocument(text: string, where: string, refuse: Refuse = refuseDescriptor): Section {
  if (text.length > MAX_LENGTH) {
    throw refuse(
      `${where}: has ${text.length} characters, at most ${MAX_LENGTH} are read: is it the right file?`,
    );
  }
  const lines = new LineCounter();
  let document: Document;
  try {
    document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  } catch {
    throw refuse(`${where}: is nested too deeply: is it the right file?`);
  }
  const [error] = document.errors;
  if (error !== undefined) {
    const { line, col } = lines.linePos(error.pos[0]);
    throw refuse(`${where}: line ${line}, column ${col}: ${error.message}`);
  }
  try {
    return new Section(document.toJS(), { where, document, lines });
  } catch (cause) {
    throw refuse(`${where}: ${(cause as Error).message}`); // aliases that stand for too much
  }
}

/**
 * Checks a section against a schema.
 * @param refuse - makes the error, whose message names every key that is wrong
 * @param examples - for keys (such as "pool.ip4"), what to write: the remedy in error messages
 */
export function validate<T>(
  schema: z.ZodType<T>,
  section: Section,
  refuse: Refuse = refuseDescriptor,
  examples: Readonly<Record<string, string>> = {},
): T {
  const result = schema.safeParse(section.value ?? {}, { error: complaintOf });
  if (result.success) return result.data;
  const problems = result.error.issues.flatMap((issue) => {
    if (issue.code === 'unrecognized_keys') {
      const known = knownKeys(schema, issue.path);
      return issue.keys.map((key) => {
        const nearest = nearestKey(key, known);
        const hint = nearest === undefined ? '' : `; did you mean ${nearest}?`;
        return section.complaint([...issue.path, key], `no such key; there are ${known.join(', ')}${hint}`);
      });
    }
    const example = examples[issue.path.map(String).join('.')];
    const remedy = example === undefined ? '' : `; write for example "${example}"`;
    const isMissing = issue.path.length > 0 && !section.has(issue.path);
    return [section.complaint(issue.path, `${isMissing ? 'is missing' : issue.message}${remedy}`)];
  });
  throw refuse(problems.join('\n'));
}

/** JSON with sorted keys and no white space: the same octets for the same document, whatever it was written in. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (typeof value === 'object' && value !== null) {
    const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
    return `{${members.map(([key, member]) => `${JSON.stringify(key)}:${canonicalJson(member)}`).join(',')}}`;
  }
  return JSON.stringify(value);
}
