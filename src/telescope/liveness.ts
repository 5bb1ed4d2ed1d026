import type { Clock, Millis } from '../link/clock.ts';
import type { Tunnel } from '../link/sa-store.ts';
import { TelescopeError } from './errors.ts';
import type { Hop } from './telescope.ts';

type Interval = readonly [shortest: Millis, longest: Millis];

/** Liveness checks of a hop are this far apart at random, each hop for itself, so that layers do not correlate (T9). */
const CHECK: Interval = [15_000, 30_000];
/** So often a hop's counters are looked at, at random too. */
const LOOK: Interval = [1_000, 3_000];
/** After as long without an answer to what is sent, a hop is checked at once (RFC 7296 2.4). */
const UNANSWERED: Millis = 5_000;

/**
 * Checks every hop from time to time and reports, once, the outermost hop that is gone. A hop that stays silent may only
 * be cut off by one before it, so the ones before it are asked first.
 * @returns a function that stops the checks
 */
export function watchLiveness(
  hops: readonly Hop[],
  clock: Clock,
  random: (length: number) => Uint8Array,
  onGone: (error: TelescopeError) => void,
): () => void {
  let stopped = false;
  const cancels: (() => void)[] = [];
  const within = ([shortest, longest]: Interval) =>
    clock.now() + shortest + (random(1)[0] / 255) * (longest - shortest);

  const watch = (index: number) => {
    // What goes through the innermost goes through all: if each looked, all would ask at once (T9).
    const silence = index === hops.length - 1 ? new Silence(hops[index].tunnel) : undefined;
    let due = within(CHECK);
    const look = () => {
      cancels[index] = clock.at(within(LOOK), async () => {
        if ((silence?.at(clock.now()) ?? 0) >= UNANSWERED || clock.now() >= due) {
          const cause = await causeOfEnd(hops[index]);
          if (cause !== undefined) await report(index, cause);
          silence?.end();
          due = within(CHECK);
        }
        if (!stopped) look();
      });
    };
    look();
  };

  const report = async (index: number, cause: Error) => {
    if (stopped) return;
    stopped = true;
    let gone = index;
    let why = cause;
    for (let outer = 0; outer < gone; outer++) {
      const outerCause = await causeOfEnd(hops[outer]);
      if (outerCause === undefined) continue;
      gone = outer;
      why = outerCause;
    }
    onGone(new TelescopeError(gone + 1, hops[gone].relay.name, 'keeping the tunnel', why));
  };

  for (const [index, { connection }] of hops.entries()) {
    watch(index);
    void connection.closed.then((error) => report(index, error ?? closedByRelay()));
  }
  return () => {
    stopped = true;
    for (const cancel of cancels) cancel();
  };
}

/** Asks a hop whether it is alive. @returns undefined, or why it is of no use any more */
async function causeOfEnd({ connection }: Hop): Promise<Error | undefined> {
  if (!(await connection.checkLiveness())) return (await connection.closed) ?? closedByRelay();
  return connection.child === undefined ? closedByRelay() : undefined;
}

function closedByRelay(): Error {
  return new Error('the relay closed the tunnel');
}

/** How long a tunnel has been sending without receiving anything. */
class Silence {
  readonly #tunnel: Tunnel;
  #received: number;
  #sent: number;
  #since: Millis | undefined;

  constructor(tunnel: Tunnel) {
    this.#tunnel = tunnel;
    this.#received = this.#count('packetsIn');
    this.#sent = this.#count('packetsOut');
  }

  /** To be asked often: what happens in between is taken to happen at `now`. */
  at(now: Millis): Millis {
    const received = this.#count('packetsIn');
    const sent = this.#count('packetsOut');
    if (received !== this.#received) this.#since = undefined;
    else if (sent !== this.#sent) this.#since ??= now;
    this.#received = received;
    this.#sent = sent;
    return this.#since === undefined ? 0 : now - this.#since;
  }

  end(): void {
    this.#since = undefined;
  }

  #count(name: string): number {
    return this.#tunnel.counters[name] ?? 0;
  }
}
