import { parseArgs } from 'node:util';
import { soak } from '../test/soak/soak.ts';

// npm run soak -- --hours N --seed N [--json]

const { values } = parseArgs({
  options: {
    hours: { type: 'string', default: '2' },
    seed: { type: 'string', default: '1' },
    json: { type: 'boolean', default: false },
  },
});
const hours = Number(values.hours);
const seed = Number(values.seed);
if (!(hours > 0 && hours <= 10_000) || !Number.isSafeInteger(seed) || seed < 0) {
  console.error('soak: --hours must be a number above 0, --seed one from 0');
  process.exit(2);
}
const started = performance.now();
const report = await soak(hours, seed);
const ok = report.failures.length === 0;
const seconds = Math.round((performance.now() - started) / 100) / 10;
const result = { ok, seed, ...report, seconds };
console.log(values.json ? JSON.stringify(result) : JSON.stringify(result, null, 2));
process.exitCode = ok ? 0 : 1;
