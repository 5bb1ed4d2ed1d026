import type { Procedure } from './procedure.ts';
import type { SaContext } from './sa-context.ts';

/**
 * One exchange, or several, that we initiate on whichever IKE SA of the lineage has the Child SAs when their turn comes; one
 * that returns 'deleted' ends the IKE SA in good order.
 */
export type Job = (sa: SaContext) => Procedure<unknown>;

/** What goes first when several exchanges wait for the window, most urgent first. */
const URGENCIES = ['set-up', 'address', 'delete', 'create', 'rekey', 'rekey-ike', 'liveness'] as const;

export type Urgency = (typeof URGENCIES)[number];

/** Exchanges that wait until the one under way is over: the most urgent goes first, else the oldest. */
export class JobQueue {
  readonly #jobs: Readonly<Record<Urgency, Job[]>> = {
    'set-up': [],
    address: [],
    delete: [],
    create: [],
    rekey: [],
    'rekey-ike': [],
    liveness: [],
  };

  add(urgency: Urgency, job: Job): void {
    this.#jobs[urgency].push(job);
  }

  /** The next one; undefined if none waits. */
  take(): { readonly urgency: Urgency; readonly job: Job } | undefined {
    const urgency = URGENCIES.find((urgency) => this.#jobs[urgency].length > 0);
    return urgency === undefined ? undefined : { urgency, job: this.#jobs[urgency].shift()! };
  }

  /** Forgets those of one urgency. */
  drop(urgency: Urgency): void {
    this.#jobs[urgency].length = 0;
  }

  clear(): void {
    for (const urgency of URGENCIES) this.drop(urgency);
  }
}
