import { Listr, ListrLogger, ProcessOutput } from 'listr2';
import type { ClientEvent } from '../client/protocol.ts';
import type { RelayTarget } from '../telescope/relay-target.ts';

type HopEvent = Extract<ClientEvent, { event: 'hop' }>;

/** Hops on the terminal (standard error), as they are built. */
export interface Progress {
  built(hop: HopEvent): void;
  /** Marks the hop being built as failed and stops drawing. */
  failed(): Promise<void>;
  /** Resolves when nothing more is drawn. */
  readonly done: Promise<void>;
}

export function showProgress(path: readonly RelayTarget[]): Progress {
  const finish: ((hop: HopEvent | undefined) => void)[] = [];
  const logger = new ListrLogger({ processOutput: new ProcessOutput(process.stderr, process.stderr) });
  const tasks = path.map(({ name }, index) => {
    const finished = new Promise<HopEvent | undefined>((resolve) => finish.push(resolve));
    return {
      title: `hop ${index + 1}: ${name}`,
      async task(_: unknown, task: { title?: string }) {
        const hop = await finished;
        if (hop === undefined) throw new Error('not built');
        task.title = describeHop(hop);
      },
    };
  });
  const list = new Listr(tasks, {
    registerSignalListeners: false,
    rendererOptions: { logger, showErrorMessage: false, collapseErrors: false },
    fallbackRendererCondition: () => !process.stderr.isTTY,
    fallbackRendererOptions: { logger },
  });
  const done = list.run().then(
    () => {},
    () => {}, // said once, as the program's own error
  );
  return {
    built: (hop) => finish[hop.hop - 1]?.(hop),
    failed() {
      for (const end of finish) end(undefined);
      return done;
    },
    done,
  };
}

function describeHop({ hop, relay, source, assigned, mtu, roundTrips, milliseconds }: HopEvent): string {
  return (
    `hop ${hop}: ${relay}, from ${source}: assigned ${assigned.join(' and ')}, MTU ${mtu}, ` +
    `${roundTrips} round trips, ${Math.round(milliseconds)} ms`
  );
}
