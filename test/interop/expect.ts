import { pause } from './transfer.ts';

/** How long a daemon may take to do what it was asked for, in milliseconds. */
export const PATIENCE = 15_000;

/** @throws Error if the two are not the same JSON */
export function expect(actual: unknown, expected: unknown, what: string): void {
  const [is, should] = [actual, expected].map((value) => JSON.stringify(value));
  if (is !== should) throw new Error(`${what} is ${is} and not ${should}`);
}

/** The same of what comes in its own time: what a daemon does and logs, and what is seen on the wire. @throws Error */
export async function expectSoon(
  actual: () => unknown | Promise<unknown>,
  expected: unknown,
  what: string,
): Promise<void> {
  for (const end = performance.now() + PATIENCE; performance.now() < end; await pause(50)) {
    if (JSON.stringify(await actual()) === JSON.stringify(expected)) return;
  }
  expect(await actual(), expected, what);
}
