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

/** If a guard has answered within so many milliseconds, the client is on the network. */
const ANSWERED = 60_000;

/** The relays that a client begins its telescopes at. Times are milliseconds since 1970. */
export class Guards {
  readonly #random: Random;
  /** Those that have served, in the order in which they first did; then the others as they were sampled. */
  #guards: Guard[];
  /** When one did not answer, by key. */
  readonly #failed = new Map<string, number>();
  /** Those that have failed while none answered: it may have been the client's own network. */
  readonly #suspected = new Set<string>();
  #answeredAt = Number.NEGATIVE_INFINITY;

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

  /** It has led to a telescope. Those before it get another chance if nothing has answered for a while; until then it is not to stay. */
  succeeded(keyId: string, now: number): void {
    this.#answeredAt = now;
    this.#failed.delete(keyId);
    this.#suspected.delete(keyId);
    const found = this.#guards.find((each) => each.keyId === keyId);
    const isNew = found !== undefined && found.confirmedAt === undefined;
    if (isNew && this.#suspected.size === 0) this.#confirm(found, now);
    for (const suspected of this.#suspected) this.#failed.delete(suspected);
    this.#suspected.clear();
  }

  /** It did not answer. */
  failed(keyId: string, now: number): void {
    this.#failed.set(keyId, now);
    if (now - this.#answeredAt > ANSWERED) this.#suspected.add(keyId);
  }

  #confirm(guard: Guard, now: number): void {
    guard.confirmedAt = this.#blurred(now, LIFETIME.confirmed);
    const others = this.#guards.filter((each) => each !== guard);
    const served = others.filter(({ confirmedAt }) => confirmedAt !== undefined);
    this.#guards = [...served, guard, ...others.slice(served.length)];
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
