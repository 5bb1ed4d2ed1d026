import { userSpaceBackend } from '../../src/backend/userspace/backend.ts';
import { nodeProvider } from '../../src/crypto/node.ts';
import type { Millis } from '../../src/link/clock.ts';
import { userSpaceHops } from '../../src/telescope/backend.ts';
import { buildSchedule } from '../../src/telescope/profile.ts';
import { openTelescope } from '../../src/telescope/telescope.ts';
import { SaLedger, unpaired } from '../support/sa-ledger.ts';
import { seededRandom, seededUniform } from '../support/seeded-random.ts';
import type { Fault, SimHost } from '../support/sim-network.ts';
import { TelescopeWorld } from '../support/sim-telescope.ts';
import { buildTimeBound } from './bound.ts';

const HOPS = 3;
/** Of what a client sends, and of what is sent to it, whatever hop it is for: end to end. */
const LOSS = 0.3;
/** On every edge, those between relays included. */
const DUPLICATION = 0.1;
/** One way on an edge; at random up to `JITTER` more, so that packets overtake each other. */
const LATENCY: Millis = 5;
const JITTER: Millis = 50;
/** Of the statement that all telescopes are built in time: that one of a million is not. */
const RISK = 1e-6;
/** When relays have forgotten what was never finished, and deleted what was replaced. */
const AFTERMATH: Millis = 300_000;
/** Clients that build at the same time. */
const CLIENTS = 20;

export interface LossReport {
  readonly telescopes: number;
  readonly built: number;
  /** Virtual milliseconds. `bound` was computed before the first telescope was built. */
  readonly milliseconds: {
    readonly p50: Millis;
    readonly p99: Millis;
    readonly max: Millis;
    readonly bound: Millis;
  };
  /** Shares of what clients sent and were sent. */
  readonly lost: { readonly sent: number; readonly received: number };
  /** What ended in another way than with equal SAs at both ends. */
  readonly failures: readonly string[];
}

/** The longest time that building under loss may take, from the product's schedule alone. */
export function lossBound(): Millis {
  const roundTrip = 2 * HOPS * (LATENCY + JITTER);
  return buildTimeBound({ schedule: buildSchedule, hops: HOPS, loss: LOSS, roundTrip }, RISK);
}

/** Builds telescopes through three relays over a network that loses, repeats and reorders. Everything follows from the seed. */
export async function buildUnderLoss(count: number, seed: number): Promise<LossReport> {
  const trial = await LossTrial.open(seed);
  return trial.run(count);
}

class LossTrial {
  readonly #world: TelescopeWorld;
  readonly #relays: ReadonlyMap<string, SaLedger>;
  readonly #seed: number;
  readonly #failures: string[] = [];
  readonly #times: Millis[] = [];
  readonly #passed = { sent: 0, received: 0 };
  readonly #lost = { sent: 0, received: 0 };

  private constructor(world: TelescopeWorld, relays: ReadonlyMap<string, SaLedger>, seed: number) {
    this.#world = world;
    this.#relays = relays;
    this.#seed = seed;
  }

  static async open(seed: number): Promise<LossTrial> {
    const relays = new Map<string, SaLedger>();
    const world = await TelescopeWorld.open({
      relays: HOPS,
      latency: LATENCY,
      relayOptions: (name) => {
        const crypto = nodeProvider(seededRandom(seed * 1_000 + relays.size));
        const ledger = new SaLedger();
        relays.set(name, ledger);
        return { crypto, backend: ledger.over(userSpaceBackend(crypto)) };
      },
    });
    const trial = new LossTrial(world, relays, seed);
    const { network } = world.relays;
    network.eavesdropping = false;
    const names = [...relays.keys()];
    for (const [i, name] of names.slice(1).entries()) network.setFault(names[i], name, trial.#rough(i, 0));
    return trial;
  }

  async run(count: number): Promise<LossReport> {
    const { clock } = this.#world;
    const bound = lossBound();
    const shares = Array.from({ length: Math.min(CLIENTS, count) }, (_, i) =>
      this.#client(i, Math.ceil((count - i) / CLIENTS)),
    );
    await clock.until(Promise.all(shares), Number.POSITIVE_INFINITY);
    await clock.advance(AFTERMATH);
    this.#judgeAftermath();
    const times = [...this.#times].sort((a, b) => a - b);
    const at = (share: number) =>
      Math.round(times[Math.min(times.length - 1, Math.floor(share * times.length))]);
    if (times.some((time) => time > bound)) this.#failures.push('a telescope took longer than the bound');
    return {
      telescopes: count,
      built: times.length,
      milliseconds: { p50: at(0.5), p99: at(0.99), max: at(1), bound },
      lost: {
        sent: this.#lost.sent / this.#passed.sent,
        received: this.#lost.received / this.#passed.received,
      },
      failures: this.#failures,
    };
  }

  async #client(index: number, count: number): Promise<void> {
    const name = `s${index}`;
    const host = this.#world.relays.client(name, `203.0.113.${100 + index}`, ['a']);
    for (let i = 0; i < count; i++) await this.#build(host, name, index + i * CLIENTS);
  }

  async #build(host: SimHost, name: string, number: number): Promise<void> {
    const { clock, path, relays } = this.#world;
    const { network } = relays;
    const crypto = nodeProvider(seededRandom(this.#seed * 1_000_000 + number));
    const ledger = new SaLedger();
    network.setFault(name, 'a', this.#rough(number + HOPS, LOSS));
    const started = clock.now();
    try {
      const backend = userSpaceHops(ledger.over(userSpaceBackend(crypto)));
      const telescope = await openTelescope(host, path, { crypto, clock, backend });
      this.#times.push(clock.now() - started);
      network.setFault(name, 'a', undefined);
      this.#judgeTelescope(number, ledger);
      await telescope.close();
    } catch (error) {
      this.#failures.push(`telescope ${number}: ${messages(error)}`);
      network.setFault(name, 'a', undefined);
    }
    if (ledger.size > 0)
      this.#failures.push(`telescope ${number}: its client kept ${ledger.size} SAs or SPIs`);
  }

  #judgeTelescope(number: number, ledger: SaLedger): void {
    const { inbound, outbound, reserved } = ledger;
    if (inbound.size !== HOPS || outbound.size !== HOPS || reserved.size > 0)
      this.#failures.push(`telescope ${number}: ${inbound.size} and ${outbound.size} SAs for ${HOPS} hops`);
    const relays = [...this.#relays.values()];
    for (const sa of inbound.keys())
      if (!relays.some((relay) => relay.outbound.has(sa)))
        this.#failures.push(`telescope ${number}: nobody sends on ${sa}`);
    for (const sa of outbound.keys())
      if (!relays.some((relay) => relay.inbound.has(sa)))
        this.#failures.push(`telescope ${number}: nobody receives on ${sa}`);
  }

  /** Nothing but the overlays is left, and these are the same at both ends. */
  #judgeAftermath(): void {
    const { inbound, outbound } = unpaired([...this.#relays.values()]);
    for (const sa of [...inbound, ...outbound]) this.#failures.push(`an SA is left at one end only: ${sa}`);
    for (const [name, { reserved }] of this.#relays) {
      const { clients, overlays, ikeSas } = this.#world.relays.relay(name).state();
      if (clients.length > 0) this.#failures.push(`relay ${name} has ${clients.length} clients left`);
      if (ikeSas !== overlays.length)
        this.#failures.push(`relay ${name} has ${ikeSas} IKE SAs for its overlays`);
      if (reserved.size > 0) this.#failures.push(`relay ${name} has ${reserved.size} SPIs left`);
    }
  }

  /** Both directions of an edge. */
  #rough(number: number, loss: number): Fault {
    const uniform = seededUniform(this.#seed * 1_000_000 + number);
    const delay = () => Math.floor(uniform() * JITTER);
    return ({ to }) => {
      const direction = to === 'a' ? 'sent' : 'received';
      if (loss > 0) this.#passed[direction]++;
      if (uniform() < loss) {
        this.#lost[direction]++;
        return [];
      }
      return uniform() < DUPLICATION ? [delay(), delay()] : [delay()];
    };
  }
}

/** An error and what it was caused by. */
function messages(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined ? error.message : `${error.message} (${messages(error.cause)})`;
}
