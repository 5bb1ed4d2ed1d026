import createDebug from 'debug';
import type { RelayDescriptor } from '../descriptor/descriptor.ts';
import type { RelaySet } from '../descriptor/relay-set.ts';
import type { Clock, Millis } from '../link/clock.ts';
import type { BuildTimeouts } from '../select/build-timeouts.ts';
import { fraction, type Random } from '../select/draw.ts';
import { type ExitNeed, letsOut } from '../select/exit-need.ts';
import type { Guards } from '../select/guards.ts';
import { choosePath, SelectionError } from '../select/paths.ts';

const log = createDebug('ike-telescope:keeper');

/** So many are built before anybody wants them. */
const READY = 2;
/** What they have to let out: the first of these that an exit does. */
const EXPECTED: readonly (readonly ExitNeed[])[] = [
  [
    { protocol: 'tcp', port: 443 },
    { protocol: 'tcp', port: 80 },
  ],
  [{ protocol: 'tcp', port: 443 }],
  [],
];
/** Each is a process. */
const MOST = 16;
/** A telescope takes new flows for so long after its first, in milliseconds; times a number from 0.8 to 1.2. */
const USED_FOR = 10 * 60_000;
/** One that nobody uses is replaced after so long, or up to twice as long. */
const UNUSED_FOR = 10 * 60_000;
/** When one was taken, the next is begun within so long. */
const DELAY = 10_000;
/** After a failure the next try waits for so long, twice as long after each further one, up to the latter. */
const BACK_OFF = { first: 500, most: 60_000 } as const;
/** Two relays that could not be connected are not tried again for so long. */
const APART_FOR = 10 * 60_000;
/** A flow gives up after so many telescopes that failed. */
const TRIES = 3;

/** A telescope that could not be built. */
export class BuildError extends Error {
  override readonly name = 'BuildError';
  /** The hop that failed, from 1; undefined if it was this machine. */
  readonly hop: number | undefined;

  constructor(message: string, hop: number | undefined) {
    super(message);
    this.hop = hop;
  }
}

/** A built telescope. */
export interface KeptTelescope<Flow> {
  /** Never rejects. */
  readonly ended: Promise<unknown>;
  /** Carries traffic. @returns resolves when that is over; never rejects */
  carry(flow: Flow): Promise<void>;
  close(): void;
}

/** Builds a telescope. Rejects with a BuildError, also when `signal` is aborted; nothing is left then. */
export type BuildTelescope<Flow> = (
  path: readonly RelayDescriptor[],
  signal: AbortSignal,
) => Promise<KeptTelescope<Flow>>;

export interface KeeperOptions<Flow> {
  readonly relays: RelaySet;
  readonly guards: Guards;
  readonly timeouts: BuildTimeouts;
  readonly build: BuildTelescope<Flow>;
  readonly clock: Clock;
  /** Milliseconds since 1970. */
  readonly wallClock: () => number;
  readonly random: Random;
  /** Relays in a path. */
  readonly length: number;
  /** Whether relays of one network or operator may be in one path. */
  readonly near: boolean;
  /** Guards or build times have changed. */
  readonly onLearnt: () => void;
  readonly onEvent: (event: KeeperEvent) => void;
}

/** What a keeper tells: nothing about paths. */
export type KeeperEvent =
  | { readonly event: 'built'; readonly milliseconds: number }
  /** `hop`: which could not be built; without, and without a message, this machine did not do its part. */
  | { readonly event: 'failed'; readonly hop?: number; readonly message?: string }
  | { readonly event: 'closed' };

interface Kept<Flow> {
  readonly telescope: KeptTelescope<Flow>;
  readonly exit: RelayDescriptor;
  /** Whose flows it carries; undefined while it carries nobody's. */
  isolation: string | undefined;
  flows: number;
  /** Ends its taking of flows. */
  expire: () => void;
  retired: boolean;
}

/** Keeps telescopes ready, and gives each flow one that carries no other isolation's. */
export class TelescopeKeeper<Flow> {
  readonly #options: KeeperOptions<Flow>;
  readonly #kept = new Set<Kept<Flow>>();
  readonly #building = new Set<AbortController>();
  /** Those that take longer than most do: they no longer count, but may still come. */
  readonly #late = new Set<AbortController>();
  /** What flows wait for, by their isolation. */
  readonly #awaited = new Map<string, Promise<unknown>>();
  /** To be called when there is another telescope. */
  readonly #waiting: (() => void)[] = [];
  readonly #apart = new Map<string, Millis>();
  #failures = 0;
  #planned: (() => void) | undefined;
  #closed = false;

  constructor(options: KeeperOptions<Flow>) {
    this.#options = options;
    this.#plan(0);
  }

  /** How many there are: ready, and in use. */
  get counts(): { readonly ready: number; readonly used: number } {
    const ready = [...this.#kept].filter(({ isolation }) => isolation === undefined).length;
    return { ready, used: this.#kept.size - ready };
  }

  /**
   * Carries a flow through a telescope that lets it out.
   * @param isolation - flows share telescopes only if this is the same
   * @returns resolves when it is over
   * @throws SelectionError, BuildError if there is none
   */
  async carry(flow: Flow, isolation: string, needs: readonly ExitNeed[]): Promise<void> {
    const kept = this.#take(isolation, needs) ?? (await this.#buildFor(isolation, needs));
    kept.flows++;
    await kept.telescope.carry(flow);
    kept.flows--;
    this.#closeIfDone(kept);
  }

  /** Closes all of them. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#planned?.();
    for (const building of [...this.#building, ...this.#late]) building.abort();
    const all = [...this.#kept];
    for (const { telescope } of all) telescope.close();
    await Promise.all(all.map(({ telescope }) => telescope.ended));
  }

  /** One that is this isolation's from now on. */
  #take(isolation: string, needs: readonly ExitNeed[]): Kept<Flow> | undefined {
    const fit = [...this.#kept].filter(
      ({ retired, exit }) => !retired && exit.exit && needs.every((need) => letsOut(exit, need)),
    );
    const taken =
      fit.find((each) => each.isolation === isolation) ?? fit.find((each) => each.isolation === undefined);
    if (taken !== undefined) this.#use(taken, isolation);
    return taken;
  }

  #use(kept: Kept<Flow>, isolation: string): void {
    if (kept.isolation !== undefined) return;
    const { clock, random } = this.#options;
    kept.isolation = isolation;
    kept.expire();
    const jitter = 0.8 + 0.4 * fraction(random);
    kept.expire = clock.at(clock.now() + USED_FOR * jitter, () => this.#retire(kept));
    this.#plan(fraction(random) * DELAY);
  }

  /** Flows of one isolation have one telescope built, and take whichever comes first. */
  async #buildFor(isolation: string, needs: readonly ExitNeed[]): Promise<Kept<Flow>> {
    for (let failures = 0; ; ) {
      const others = this.#awaited.get(isolation);
      try {
        await Promise.race([others ?? this.#buildAlone(isolation, needs), this.#nextArrival()]);
      } catch (error) {
        const isOurs = others === undefined && error instanceof SelectionError;
        if (this.#closed || isOurs || ++failures >= TRIES) throw error;
      }
      const taken = this.#take(isolation, needs);
      if (taken !== undefined) return taken;
    }
  }

  #nextArrival(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #buildAlone(isolation: string, needs: readonly ExitNeed[]): Promise<unknown> {
    const built = this.#build(needs).finally(() => this.#awaited.delete(isolation));
    this.#awaited.set(isolation, built);
    built.catch(() => {}); // nobody may wait any more
    return built;
  }

  /** Sees later to it that there are enough. */
  #plan(delay: Millis): void {
    const { clock } = this.#options;
    if (this.#closed || this.#planned !== undefined) return;
    this.#planned = clock.at(clock.now() + delay, () => {
      this.#planned = undefined;
      if (this.counts.ready + this.#building.size >= READY || this.#kept.size >= MOST) return;
      this.#build(this.#expected()).then(
        () => this.#plan(fraction(this.#options.random) * DELAY),
        (error) => {
          if (error instanceof SelectionError) this.#failures++;
          this.#options.onEvent({ event: 'failed', ...failureOf(error) });
          this.#plan(this.#backOff());
        },
      );
    });
  }

  #expected(): readonly ExitNeed[] {
    const exits = this.#options.relays.relays();
    return EXPECTED.find((needs) => exits.some((relay) => needs.every((need) => letsOut(relay, need))))!;
  }

  #backOff(): Millis {
    const delay = Math.min(BACK_OFF.most, BACK_OFF.first * 2 ** this.#failures);
    return delay * (0.5 + fraction(this.#options.random));
  }

  async #build(needs: readonly ExitNeed[]): Promise<Kept<Flow>> {
    const { build, clock, timeouts, guards, wallClock, length, onLearnt, onEvent } = this.#options;
    if (this.#kept.size + this.#building.size + this.#late.size >= MOST) {
      throw new SelectionError(`there are ${MOST} telescopes already; use fewer user names at a time`);
    }
    const path = this.#choose(needs);
    const abort = new AbortController();
    this.#building.add(abort);
    const started = clock.now();
    const patience = timeouts.patience(length);
    const late = clock.at(started + patience.wait, () => {
      this.#building.delete(abort);
      this.#late.add(abort);
      this.#plan(0);
    });
    const giveUp = clock.at(started + patience.keep, () => abort.abort());
    try {
      const telescope = await build(path, abort.signal);
      const milliseconds = clock.now() - started;
      this.#failures = 0;
      timeouts.built(length, milliseconds);
      guards.succeeded(path[0].keyId, wallClock());
      onEvent({ event: 'built', milliseconds });
      return this.#keep(telescope, path[path.length - 1]);
    } catch (error) {
      if (!this.#closed) this.#learnFrom(error, path, abort.signal.aborted);
      throw error;
    } finally {
      this.#building.delete(abort);
      this.#late.delete(abort);
      late();
      giveUp();
      onLearnt();
    }
  }

  #choose(needs: readonly ExitNeed[]): RelayDescriptor[] {
    const { relays, guards, random, length, near, wallClock, clock } = this.#options;
    const known = relays.relays();
    const wish = { length, needs, near, guards: guards.choose(known, wallClock()) };
    const mayFollow = (from: RelayDescriptor, to: RelayDescriptor) =>
      clock.now() >= (this.#apart.get(pairOf(from, to)) ?? Number.NEGATIVE_INFINITY);
    try {
      return choosePath(known, { ...wish, mayFollow }, random);
    } catch (error) {
      if (this.#apart.size === 0) throw error;
      this.#apart.clear();
      return choosePath(known, wish, random);
    }
  }

  #keep(telescope: KeptTelescope<Flow>, exit: RelayDescriptor): Kept<Flow> {
    const { clock, random, onEvent } = this.#options;
    const kept: Kept<Flow> = {
      telescope,
      exit,
      isolation: undefined,
      flows: 0,
      retired: false,
      expire: clock.at(clock.now() + UNUSED_FOR * (1 + fraction(random)), () => this.#retire(kept)),
    };
    this.#kept.add(kept);
    for (const wake of this.#waiting.splice(0)) wake();
    void telescope.ended.then(() => {
      this.#kept.delete(kept);
      kept.retired = true;
      kept.expire();
      onEvent({ event: 'closed' });
      this.#plan(fraction(random) * DELAY);
    });
    if (this.#closed) telescope.close();
    return kept;
  }

  #retire(kept: Kept<Flow>): void {
    kept.retired = true;
    this.#closeIfDone(kept);
  }

  #closeIfDone(kept: Kept<Flow>): void {
    if (kept.retired && kept.flows === 0) kept.telescope.close();
  }

  #learnFrom(error: unknown, path: readonly RelayDescriptor[], tookTooLong: boolean): void {
    const { guards, timeouts, wallClock, clock } = this.#options;
    this.#failures++;
    if (tookTooLong) timeouts.gaveUp();
    if (!(error instanceof BuildError) || error.hop === undefined) return;
    log('hop %d failed', error.hop);
    if (error.hop === 1) guards.failed(path[0].keyId, wallClock());
    else this.#apart.set(pairOf(path[error.hop - 2], path[error.hop - 1]), clock.now() + APART_FOR);
  }
}

/** What may be said of an error: others name relays and addresses. */
function failureOf(error: unknown): { readonly hop?: number; readonly message?: string } {
  if (error instanceof SelectionError) return { message: error.message };
  return error instanceof BuildError && error.hop !== undefined ? { hop: error.hop } : {};
}

function pairOf(from: RelayDescriptor, to: RelayDescriptor): string {
  return `${from.keyId} ${to.keyId}`;
}
