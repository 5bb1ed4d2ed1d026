import { setImmediate as nextTurn } from 'node:timers/promises';
import type { CryptoProvider } from '../../src/crypto/provider.ts';
import { type FloodKind, FloodTarget } from './flood-target.ts';

/** What a flood of one kind did to a responder with a relay's limits. */
export interface FloodFigures {
  readonly kind: FloodKind;
  readonly requests: number;
  readonly cookies: number;
  /** Requests answered with a cookie, per second of CPU time. */
  readonly cookiesPerSecond: number;
  /** Key exchanges computed for requests of the flood. */
  readonly keyExchanges: number;
  /** Those of them that were computed for a request without a cookie although cookies were demanded. */
  readonly keyExchangesBeforeCookie: number;
  /** Half-open IKE SAs, at most. */
  readonly halfOpen: number;
  /** Octets of the heap and of buffers, after garbage collection, ten times during the flood. */
  readonly memory: readonly number[];
  /** Handshakes of honest clients during the flood, and milliseconds of the slowest. */
  readonly honest: { readonly handshakes: number; readonly slowest: number };
}

/** The defaults of relay.yaml. */
const LIMITS = { maxHalfOpen: 1_000, cookieThreshold: 100 };
/** Requests between two turns of the event loop: what a socket gives at a time. */
const BURST = 64;
const MEASUREMENTS = 10;
const HONEST_CLIENTS = 5;

/** Floods a responder with `count` requests. @param collectGarbage - before memory is measured */
export async function flood(
  crypto: CryptoProvider,
  kind: FloodKind,
  count: number,
  collectGarbage: () => void,
): Promise<FloodFigures> {
  const target = await FloodTarget.open(crypto, kind, LIMITS);
  const memory: number[] = [];
  const honest: Promise<number>[] = [];
  for (let sent = 0; sent < count; sent++) {
    if (sent % Math.ceil(count / HONEST_CLIENTS) === 0) honest.push(target.connect());
    target.attack();
    if (sent % BURST === 0) await nextTurn();
    if ((sent + 1) % Math.ceil(count / MEASUREMENTS) === 0) memory.push(used(collectGarbage));
  }
  const times = await Promise.all(honest);
  await target.close();
  const { cookies, keyExchanges, keyExchangesBeforeCookie, mostHalfOpen, cpu } = target;
  return {
    kind,
    requests: count,
    cookies,
    cookiesPerSecond: Math.round(cookies / cpu),
    keyExchanges,
    keyExchangesBeforeCookie,
    halfOpen: mostHalfOpen,
    memory,
    honest: { handshakes: times.length, slowest: Math.round(Math.max(...times)) },
  };
}

/** Octets of memory that a half-open IKE SA takes, on average of `count`. @param collectGarbage - as for `flood` */
export async function octetsPerHalfOpen(
  crypto: CryptoProvider,
  count: number,
  collectGarbage: () => void,
): Promise<number> {
  const limits = { maxHalfOpen: 2 * count, cookieThreshold: 2 * count };
  const target = await FloodTarget.open(crypto, 'anywhere', limits);
  for (let i = 0; i < count / 10; i++) target.attack();
  const before = { octets: used(collectGarbage), halfOpen: target.halfOpen };
  for (let i = 0; i < count; i++) target.attack();
  const octets = used(collectGarbage) - before.octets;
  const made = target.halfOpen - before.halfOpen;
  await target.close();
  return Math.round(octets / made);
}

function used(collectGarbage: () => void): number {
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
