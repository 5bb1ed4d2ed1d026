import { parentPort, workerData } from 'node:worker_threads';
import { Fuzzer, type FuzzReport } from '../test/fuzz/fuzzer.ts';
import { attackRelay, type RelayAttackReport } from '../test/fuzz/relay-attack.ts';

// The part of npm run fuzz that may hang: watched by the other one.

/** What the worker is asked to do; `progress` is [attacks, executions]. */
export interface FuzzWork {
  readonly count: number;
  readonly seed: number;
  readonly progress: Int32Array;
}

/** Octets in use after garbage collection. */
interface HeapFigure {
  readonly executions: number;
  readonly octets: number;
}

/** What it answers. */
export interface FuzzResult {
  readonly report: FuzzReport;
  readonly heap: readonly HeapFigure[];
  readonly relay: RelayAttackReport;
}

/** Measurements; the first comes when everything has been compiled and filled once. */
const MEASUREMENTS = 10;
/** For so many datagrams one is thrown at a whole relay besides. */
const RELAY_SHARE = 50;

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
progress[0]++;
const relay = await attackRelay(Math.ceil(count / RELAY_SHARE), seed);
const result: FuzzResult = { report: fuzzer.report(), heap, relay };
parentPort!.postMessage(result);
