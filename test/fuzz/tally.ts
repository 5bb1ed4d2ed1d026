import { ExchangeType, NotifyType, nameOf } from '../../src/ike/constants.ts';
import type { DecodedPlain, DecodedProtected } from '../../src/ike/message.ts';
import type { Payload } from '../../src/ike/payload/index.ts';
import { PayloadType } from '../../src/ike/payload/index.ts';
import type { Work } from './metered-crypto.ts';

type Counts = Record<string, number>;

/** What a fuzzing run has covered. All are counts of datagrams unless they say otherwise. */
export interface TallyReport {
  /** By who is hit and what it is in the middle of. */
  readonly states: Counts;
  readonly exchanges: Counts;
  /** Changes by what they do; a datagram may have several. */
  readonly mutations: Counts;
  /** By what `decodePlain` or `decodeProtected` makes of them. */
  readonly decoded: Counts;
  /** Payloads, by type, of those that decode. */
  readonly payloads: Counts;
  readonly notifies: Counts;
  /** The most calls of each part of the provider that one of them has cost. */
  readonly mostWork: Counts;
}

/** Counts what a fuzzing run does. */
export class Tally {
  readonly #states: Counts = {};
  readonly #exchanges: Counts = {};
  readonly #mutations: Counts = {};
  readonly #decoded: Counts = {};
  readonly #payloads: Counts = {};
  readonly #notifies: Counts = {};
  readonly #mostWork: Counts = {};

  state(name: string): void {
    add(this.#states, name);
  }

  exchange(type: number, response: boolean): void {
    add(this.#exchanges, `${nameOf(ExchangeType, type)} ${response ? 'response' : 'request'}`);
  }

  mutations(names: readonly string[]): void {
    for (const name of names) add(this.#mutations, name);
  }

  decoded(decoded: DecodedPlain | DecodedProtected): void {
    add(this.#decoded, decoded.kind);
    if (decoded.kind === 'ok') for (const payload of decoded.payloads) this.#payload(payload);
  }

  work(work: Work): void {
    for (const [kind, calls] of Object.entries(work)) {
      if (calls > (this.#mostWork[kind] ?? 0)) this.#mostWork[kind] = calls;
    }
  }

  report(): TallyReport {
    return {
      states: sorted(this.#states),
      exchanges: sorted(this.#exchanges),
      mutations: sorted(this.#mutations),
      decoded: sorted(this.#decoded),
      payloads: sorted(this.#payloads),
      notifies: sorted(this.#notifies),
      mostWork: sorted(this.#mostWork),
    };
  }

  #payload(payload: Payload): void {
    add(this.#payloads, payload.kind === 'UNKNOWN' ? nameOf(PayloadType, payload.type) : payload.kind);
    if (payload.kind === 'NOTIFY') add(this.#notifies, nameOf(NotifyType, payload.type));
  }
}

/** Names that are only numbers are counted together: there are too many of them. */
function add(counts: Counts, name: string): void {
  const kept = /^\d/.test(name) ? name.replace(/^\d+/, 'others') : name;
  counts[kept] = (counts[kept] ?? 0) + 1;
}

/** The most frequent first. */
function sorted(counts: Counts): Counts {
  return Object.fromEntries(Object.entries(counts).sort(([, a], [, b]) => b - a));
}
