import { z } from 'zod';
import type { RelayDescriptor } from '../descriptor/descriptor.ts';
import { fraction, type Random, shuffled } from './draw.ts';

/*
 * A client that chose its first relay anew each time would sooner or later begin at one of an observer's. So it samples a few, keeps
 * to the order in which they first served it, and goes on to the next only while the ones before do not answer.
 */

const DAY = 86_400_000;

const guard = z.object({
  keyId: z.string(),
  /** When it was sampled, as milliseconds since 1970; blurred, so that the file does not tell when the client was used. */
  sampledAt: z.number(),
  /** When it first led to a telescope. */
  confirmedAt: z.number().optional(),
  /** Since when the relay has not been in the set. */
  unlistedAt: z.number().optional(),
});

/** What is kept of guards between runs. */
export const guardsSchema = z.object({ version: z.literal(1), guards: z.array(guard) });
export type GuardsState = z.infer<typeof guardsSchema>;
type Guard = z.infer<typeof guard>;

/** How many relays are sampled, and for how long they are kept: Tor's figures (guard-spec), in days. */
const SAMPLE = { most: 60, share: 0.2, least: 3 } as const;
const LIFETIME = { sampled: 120, confirmed: 60, unlisted: 20 } as const;
/** Some of which are tried before all others. */
const PRIMARY = 3;
/** After how many milliseconds one that did not answer is tried again: a primary one, and any other. */
const RETRY = { primary: 10 * 60_000, other: 60 * 60_000 } as const;

/** The relays that a client begins its telescopes at. Times are milliseconds since 1970. */
export class Guards {
  readonly #random: Random;
  /** Those that have served, in the order in which they first did; then the others as they were sampled. */
  #guards: Guard[];
  /** When one did not answer, by key. */
  readonly #failed = new Map<string, number>();

  constructor(state: GuardsState | undefined, random: Random) {
    this.#guards = state?.guards.map((each) => ({ ...each })) ?? [];
    this.#random = random;
  }

  /** What is to be kept. */
  get state(): GuardsState {
    return { version: 1, guards: this.#guards.map((each) => ({ ...each })) };
  }

  /** The guards to begin at, the one to try first at the beginning. Those that are not in the set now are not among them. */
  choose(relays: readonly RelayDescriptor[], now: number): RelayDescriptor[] {
    const listed = new Map(relays.map((relay) => [relay.keyId, relay]));
    this.#forget(listed, now);
    this.#sample(relays, now);
    const order = this.#guards.filter(({ keyId }) => listed.has(keyId));
    const rests = ({ keyId }: Guard, index: number) =>
      now - (this.#failed.get(keyId) ?? Number.NEGATIVE_INFINITY) <
      (index < PRIMARY ? RETRY.primary : RETRY.other);
    const resting = new Set(order.filter(rests));
    return [...order.filter((each) => !resting.has(each)), ...resting].map(({ keyId }) => listed.get(keyId)!);
  }

  /** It has led to a telescope. */
  succeeded(keyId: string, now: number): void {
    this.#failed.delete(keyId);
    const found = this.#guards.find((each) => each.keyId === keyId);
    if (found === undefined || found.confirmedAt !== undefined) return;
    found.confirmedAt = this.#blurred(now, LIFETIME.confirmed);
    const others = this.#guards.filter((each) => each !== found);
    const served = others.filter(({ confirmedAt }) => confirmedAt !== undefined);
    this.#guards = [...served, found, ...others.slice(served.length)];
  }

  /** It did not answer, while others do: what keeps the client off the network is no guard's fault. */
  failed(keyId: string, now: number): void {
    this.#failed.set(keyId, now);
  }

  #forget(listed: ReadonlyMap<string, unknown>, now: number): void {
    for (const each of this.#guards) {
      if (listed.has(each.keyId)) delete each.unlistedAt;
      else each.unlistedAt ??= now;
    }
    const isOver = (since: number | undefined, days: number) =>
      since !== undefined && now - since > days * DAY;
    this.#guards = this.#guards.filter(
      ({ sampledAt, confirmedAt, unlistedAt }) =>
        !isOver(unlistedAt, LIFETIME.unlisted) &&
        !isOver(confirmedAt, LIFETIME.confirmed) &&
        !(confirmedAt === undefined && isOver(sampledAt, LIFETIME.sampled)),
    );
  }

  #sample(relays: readonly RelayDescriptor[], now: number): void {
    const wanted = Math.min(SAMPLE.most, Math.max(SAMPLE.least, Math.floor(relays.length * SAMPLE.share)));
    const known = new Set(this.#guards.map(({ keyId }) => keyId));
    const usable = relays.filter(({ keyId }) => known.has(keyId)).length;
    const others = shuffled(
      relays.filter(({ keyId }) => !known.has(keyId)),
      this.#random,
    );
    for (const { keyId } of others.slice(0, Math.max(0, wanted - usable)))
      this.#guards.push({ keyId, sampledAt: this.#blurred(now, LIFETIME.sampled) });
  }

  /** Some time in the tenth of a lifetime before. */
  #blurred(now: number, days: number): number {
    return Math.floor(now - (fraction(this.#random) * days * DAY) / 10);
  }
}
