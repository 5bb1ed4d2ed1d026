import { parseArgs } from 'node:util';
import { nodeProvider } from '../src/crypto/node.ts';
import { type FloodFigures, flood, octetsPerHalfOpen } from '../test/flood/flood.ts';
import { FLOOD_KINDS } from '../test/flood/flood-target.ts';

// npm run flood -- --count N [--json]

/** Octets that memory may grow by after garbage collection, from the first half of a flood to the second (medians). */
const MEMORY_GROWTH = 2 * 1024 * 1024;
/** Milliseconds within which an honest client must get through. */
const HONEST_PATIENCE = 2_000;
const HALF_OPEN_SAMPLE = 2_000;

const { values } = parseArgs({
  options: { count: { type: 'string', default: '100000' }, json: { type: 'boolean', default: false } },
});
const count = Number(values.count);
if (!Number.isSafeInteger(count) || count < 10) {
  console.error('flood: --count must be a number from 10');
  process.exit(2);
}
const collectGarbage = globalThis.gc;
if (collectGarbage === undefined) {
  console.error('flood: start it with node --expose-gc, as npm run flood does');
  process.exit(2);
}

const crypto = nodeProvider();
const octets = await octetsPerHalfOpen(crypto, HALF_OPEN_SAMPLE, collectGarbage);
const floods: FloodFigures[] = [];
for (const kind of FLOOD_KINDS) {
  const figures = await flood(crypto, kind, count, collectGarbage);
  floods.push(figures);
  if (!values.json) console.error(`${kind}: ${figures.cookiesPerSecond} cookies/s`);
}
const problems = floods.flatMap(problemsOf);
const result = {
  ok: problems.length === 0,
  node: process.version,
  count,
  octetsPerHalfOpen: octets,
  floods,
  problems,
};
console.log(values.json ? JSON.stringify(result) : JSON.stringify(result, null, 2));
process.exitCode = result.ok ? 0 : 1;

function problemsOf({ kind, memory, keyExchangesBeforeCookie, honest }: FloodFigures): string[] {
  const half = memory.length / 2;
  const growth = median(memory.slice(half)) - median(memory.slice(0, half));
  return [
    ...(growth > MEMORY_GROWTH ? [`${kind}: memory grew by ${growth} octets`] : []),
    ...(keyExchangesBeforeCookie > 0
      ? [`${kind}: ${keyExchangesBeforeCookie} key exchanges were computed before a cookie`]
      : []),
    ...(honest.slowest > HONEST_PATIENCE
      ? [`${kind}: an honest client took ${honest.slowest} milliseconds`]
      : []),
  ];
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1];
}
