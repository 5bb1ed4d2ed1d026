import { parseArgs } from 'node:util';
import { buildUnderLoss } from '../test/loss/lossy-telescopes.ts';

// npm run loss -- --count N --seed N [--json]

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '100' },
    seed: { type: 'string', default: '1' },
    json: { type: 'boolean', default: false },
  },
});
const count = Number(values.count);
const seed = Number(values.seed);
if (!Number.isSafeInteger(count) || count < 1 || !Number.isSafeInteger(seed) || seed < 0) {
  console.error('loss: --count must be a number from 1, --seed one from 0');
  process.exit(2);
}
const started = performance.now();
const report = await buildUnderLoss(count, seed);
const ok = report.built === count && report.failures.length === 0;
const seconds = Math.round((performance.now() - started) / 100) / 10;
const result = { ok, seed, ...report, seconds };
console.log(values.json ? JSON.stringify(result) : JSON.stringify(result, null, 2));
process.exitCode = ok ? 0 : 1;
