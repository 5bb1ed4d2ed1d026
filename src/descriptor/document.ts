import { type Document, LineCounter, parseDocument } from 'yaml';
import type { z } from 'zod';

/** A descriptor or path that is refused; the message names the file, the field and what to do. */
export class DescriptorError extends Error {
  override readonly name = 'DescriptorError';
}

/** A YAML 1.2 or JSON text: its one value, and where what stands. */
export interface YamlText {
  readonly value: unknown;
  readonly document: Document;
  readonly lines: LineCounter;
}

/** @param refuse - makes the error for malformed text of a message that names `where` and the line */
export function readYaml(text: string, where: string, refuse: (message: string) => Error): YamlText {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const [error] = document.errors;
  if (error !== undefined) {
    const { line, col } = lines.linePos(error.pos[0]);
    throw refuse(`${where}: line ${line}, column ${col}: ${error.message}`);
  }
  try {
    return { value: document.toJS(), document, lines };
  } catch (cause) {
    throw refuse(`${where}: ${(cause as Error).message}`); // aliases that stand for too much
  }
}

/** The one value in a YAML 1.2 or JSON text. @throws DescriptorError with the line for malformed text */
export function parseText(text: string, where: string): unknown {
  return readYaml(text, where, (message) => new DescriptorError(message)).value;
}

/** Checks `value` against a schema. @throws DescriptorError naming every field that is wrong */
export function validate<T>(schema: z.ZodType<T>, value: unknown, where: string): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const problems = result.error.issues.map((issue) => {
    const field = issue.path.map(String).join('.');
    return field === '' ? issue.message : `${field}: ${issue.message}`;
  });
  throw new DescriptorError(`${where}: ${problems.join('; ')}`);
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
