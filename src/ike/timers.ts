import type { Millis } from '../link/clock.ts';
import type { RetransmissionSchedule } from './config.ts';
import type { SaContext } from './sa-context.ts';

/** When one request is sent again (RFC 7296 2.4). */
export class RetransmissionTimer {
  readonly #schedule: RetransmissionSchedule;
  #sends = 1;
  #deadline: Millis;

  /** @param now - when the request was sent first */
  constructor(schedule: RetransmissionSchedule, now: Millis) {
    this.#schedule = schedule;
    this.#deadline = now + this.#interval();
  }

  get deadline(): Millis {
    return this.#deadline;
  }

  /** How often the request was sent so far. */
  get sends(): number {
    return this.#sends;
  }

  /** What to do once the deadline has passed. */
  expire(now: Millis): 'resend' | 'give-up' {
    if (this.#sends >= this.#schedule.tries) return 'give-up';
    this.#sends++;
    this.#deadline = now + this.#interval();
    return 'resend';
  }

  #interval(): Millis {
    const { first, factor, cap } = this.#schedule;
    return Math.min(cap, first * factor ** (this.#sends - 1));
  }
}

type Work = (sa: SaContext) => void;

/** Work on an IKE SA that is due at a time of its own, by a name that can be any text; the earliest counts. */
export class Agenda {
  readonly #entries = new Map<string, { readonly at: Millis; readonly work: Work }>();

  /** Replaces what has the same name. */
  set(name: string, at: Millis, work: Work): void {
    this.#entries.set(name, { at, work });
  }

  /** Sets it unless there is one of that name already. */
  start(name: string, at: Millis, work: Work): void {
    if (!this.#entries.has(name)) this.set(name, at, work);
  }

  delete(name: string): void {
    this.#entries.delete(name);
  }

  clear(): void {
    this.#entries.clear();
  }

  get earliest(): Millis | undefined {
    if (this.#entries.size === 0) return undefined;
    return Math.min(...Array.from(this.#entries.values(), ({ at }) => at));
  }

  /** Does to `sa` what is due, each once; what that adds that is due at once is done as well. */
  runDue(now: Millis, sa: SaContext): void {
    for (const [name, { at, work }] of this.#entries) {
      if (at > now) continue;
      this.#entries.delete(name);
      work(sa);
    }
  }
}
