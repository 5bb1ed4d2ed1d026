import type { Millis } from '../link/clock.ts';
import type { RetransmissionSchedule } from './config.ts';

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

/** A few named deadlines, of which the earliest counts. */
export class Deadlines<Name extends string> {
  readonly #at = new Map<Name, Millis>();

  set(name: Name, at: Millis): void {
    this.#at.set(name, at);
  }

  /** Sets it unless it is running. */
  start(name: Name, at: Millis): void {
    if (!this.#at.has(name)) this.#at.set(name, at);
  }

  clear(name: Name): void {
    this.#at.delete(name);
  }

  get earliest(): Millis | undefined {
    return this.#at.size === 0 ? undefined : Math.min(...this.#at.values());
  }

  /** Removes a deadline that has passed and returns its name. */
  takeDue(now: Millis): Name | undefined {
    for (const [name, at] of this.#at) {
      if (at > now) continue;
      this.#at.delete(name);
      return name;
    }
    return undefined;
  }
}
