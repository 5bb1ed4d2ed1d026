import { parentPort, workerData } from 'node:worker_threads';
import { Fuzzer } from '../test/fuzz/fuzzer.ts';

// The part of npm run fuzz that may hang: watched by the other one.

/** What the worker is asked to do; `progress` is [attacks, executions]. */
export interface FuzzWork {
  readonly count: number;
  readonly seed: number;
  readonly progress: Int32Array;
}

/** Octets in use after garbage collection. */
export interface HeapFigure {
  readonly executions: number;
  readonly octets: number;
}

/** Measurements; the first comes when everything has been compiled and filled once. */
const MEASUREMENTS = 10;

const { count, seed, progress } = workerData as FuzzWork;
const { gc } = globalThis as { gc?: () => void };
if (gc === undefined)
  throw new Error('the fuzzer must be started with node --expose-gc, as npm run fuzz does');

const fuzzer = new Fuzzer(seed);
const heap: HeapFigure[] = [];
while (fuzzer.executions < count && !fuzzer.isEnough) {
  fuzzer.attackOnce(count - fuzzer.executions);
  progress[0] = fuzzer.attack;
  progress[1] = fuzzer.executions;
  if (fuzzer.executions < ((heap.length + 1) * count) / MEASUREMENTS) continue;
  gc();
  heap.push({ executions: fuzzer.executions, octets: process.memoryUsage().heapUsed });
}
parentPort!.postMessage({ report: fuzzer.report(), heap });
