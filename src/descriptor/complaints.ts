import type { z } from 'zod';

const TYPES: Readonly<Record<string, string>> = {
  string: 'text; put it in quotes',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list, such as [a, b]',
  object: 'a block with keys of its own',
  record: 'a block with keys of its own',
};

/** What is wrong, for an author who does not know zod; undefined where the schema itself has to say it. */
export function complaintOf(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case 'invalid_type':
      return TYPES[issue.expected] && `must be ${TYPES[issue.expected]}`;
    case 'too_small':
      return `must ${amount(issue.origin, issue.minimum, 'or more')}`;
    case 'too_big':
      return `must ${amount(issue.origin, issue.maximum, 'or less')}`;
    case 'invalid_value':
      return `must be ${issue.values.map(String).join(' or ')}`;
    default:
      return undefined;
  }
}

function amount(origin: string, bound: number | bigint, direction: string): string {
  if (origin === 'array' && bound === 1) return 'not be empty';
  return origin === 'array' ? `have ${bound} entries ${direction}` : `be ${bound} ${direction}`;
}

/** The keys that a schema takes in the object at `path`. */
export function knownKeys(schema: z.ZodType, path: readonly PropertyKey[]): readonly string[] {
  let here = unwrapped(schema);
  for (const key of path) here = unwrapped(here.shape?.[key as string] ?? here.element);
  return Object.keys(here.shape ?? {});
}

interface Described {
  readonly shape?: Readonly<Record<string, unknown>>;
  readonly element?: unknown;
  readonly def?: { readonly innerType?: unknown };
}

/** Without what makes it optional. */
function unwrapped(schema: unknown): Described {
  let inside = schema as Described | undefined;
  while (inside?.def?.innerType !== undefined) inside = inside.def.innerType as Described;
  return inside ?? {};
}

/** The key that was probably meant: up to two letters differ, and less than half of them. */
export function nearestKey(key: string, known: readonly string[]): string | undefined {
  const distances = known.map((other) => ({
    other,
    distance: editDistance(key.toLowerCase(), other.toLowerCase()),
  }));
  const [nearest] = distances.sort((a, b) => a.distance - b.distance);
  return nearest !== undefined && nearest.distance <= 2 && 2 * nearest.distance < key.length
    ? nearest.other
    : undefined;
}

/** Letters to insert, delete or replace (Levenshtein). */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    row = next;
  }
  return row[b.length];
}
