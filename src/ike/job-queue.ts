import type { Procedure } from './procedure.ts';

/** One exchange, or several, that we initiate; one that returns 'deleted' ends the IKE SA in good order. */
export type Job = () => Procedure<unknown>;

/** What goes first when several exchanges wait for the window, most urgent first. */
const URGENCIES = ['set-up', 'delete', 'create', 'rekey', 'liveness'] as const;

export type Urgency = (typeof URGENCIES)[number];

/** Exchanges that wait until the one under way is over: the most urgent goes first, else the oldest. */
export class JobQueue {
  readonly #jobs: Readonly<Record<Urgency, Job[]>> = {
    'set-up': [],
    delete: [],
    create: [],
    rekey: [],
    liveness: [],
  };

  add(urgency: Urgency, job: Job): void {
    this.#jobs[urgency].push(job);
  }

  /** The next one; undefined if none waits. */
  take(): Job | undefined {
    return this.#jobs[URGENCIES.find((urgency) => this.#jobs[urgency].length > 0) ?? 'liveness'].shift();
  }

  clear(): void {
    for (const urgency of URGENCIES) this.#jobs[urgency].length = 0;
  }
}
