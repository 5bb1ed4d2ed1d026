import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import { REGRESSIONS, saveRegression } from '../test/fuzz/regression.ts';
import type { FuzzResult, FuzzWork } from './fuzz-worker.ts';

// npm run fuzz -- --count N --seed N [--json]

/** Without an attack that ends for so long, it hangs. */
const PATIENCE = 60_000;
/** Octets that the heap may grow by after garbage collection, from the first measurement to the last. */
const HEAP_GROWTH = 2 * 1024 * 1024;

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '100000' },
    seed: { type: 'string', default: '1' },
    json: { type: 'boolean', default: false },
  },
});
const count = Number(values.count);
const seed = Number(values.seed);
if (!Number.isSafeInteger(count) || count < 1 || !Number.isSafeInteger(seed) || seed < 0) {
  console.error('fuzz: --count must be a number from 1, --seed one from 0');
  process.exit(2);
}

const progress = new Int32Array(new SharedArrayBuffer(8));
const work: FuzzWork = { count, seed, progress };
const worker = new Worker(new URL('./fuzz-worker.js', import.meta.url), { workerData: work });
const started = performance.now();

const watchdog = setInterval(() => {
  const [attack] = progress;
  if (attack === lastAttack) {
    if (performance.now() - lastChange < PATIENCE) return;
    console.error(`fuzz: attack ${attack} of seed ${seed} hangs`);
    process.exit(1);
  }
  lastAttack = attack;
  lastChange = performance.now();
  if (!values.json && process.stderr.isTTY) process.stderr.write(`\r${progress[1]} of ${count}`);
}, 1_000);
let lastAttack = -1;
let lastChange = performance.now();

worker.on('error', (error) => {
  console.error(`fuzz: attack ${progress[0]} of seed ${seed} brought the fuzzer down:`, error);
  process.exit(1);
});
worker.on('message', ({ report, heap, relay }: FuzzResult) => {
  clearInterval(watchdog);
  const seconds = (performance.now() - started) / 1000;
  const { failures, ...figures } = report;
  const growth = heap.length < 2 ? 0 : heap[heap.length - 1].octets - heap[0].octets;
  const found = failures.map(({ message, attack }) => ({
    message,
    file: saveRegression(REGRESSIONS, attack, message),
  }));
  const ok = found.length === 0 && growth <= HEAP_GROWTH;
  const result = {
    ok,
    node: process.version,
    ...figures,
    seconds: Math.round(seconds * 10) / 10,
    perSecond: Math.round(report.executions / seconds),
    relay,
    heap: { growth, limit: HEAP_GROWTH, figures: heap },
    failures: found,
  };
  console.log(values.json ? JSON.stringify(result) : JSON.stringify(result, null, 2));
  process.exitCode = ok ? 0 : 1;
});
