import type { Fallback, LaunchedClient, Outcome } from '../client/launcher.ts';
import type { ClientEvent } from '../client/protocol.ts';
import type { RelayTarget } from '../telescope/relay-target.ts';
import type { FailureKind } from './failure.ts';
import { showProgress } from './progress.ts';

type EstablishedEvent = Extract<ClientEvent, { event: 'established' }>;

const INSTEAD = { encapsulation: { encapsulation: 'udp' }, backend: { backend: 'userspace' } } as const;

const INSTEAD_TEXT = {
  encapsulation: 'ESP to the entry goes in UDP',
  backend: 'the telescope is in user space',
} as const;

/** How `extend` tells of its progress. */
export interface ExtendOutput {
  progress(event: ClientEvent): void;
  /** Resolves when the terminal is free for a command. */
  established(event: EstablishedEvent, client: LaunchedClient): Promise<void>;
  fallback(fallback: Fallback): void;
  ended(outcome: Outcome): Promise<void>;
  /** The client could not be started; the error is reported elsewhere. */
  abandoned(): Promise<void>;
}

/** One JSON object per line: the events of the client, `established` with how to enter. */
export function jsonOutput(
  stream: NodeJS.WriteStream,
): ExtendOutput & { failed(error: { readonly kind: FailureKind; readonly message: string }): void } {
  const write = (event: object) => void stream.write(`${JSON.stringify(event)}\n`);
  return {
    progress(event) {
      if (event.event !== 'ready' && event.event !== 'error') write(event);
    },
    async established(event, client) {
      write({ ...event, pid: client.pid, enter: enterCommand(client) });
    },
    fallback: ({ kind, why }) => write({ event: 'fallback', ...INSTEAD[kind], message: why }),
    async ended(outcome) {
      if (outcome.kind === 'failed') write({ event: 'error', ...outcome.error });
    },
    async abandoned() {},
    failed: (error) => write({ event: 'error', ...error }),
  };
}

/** For people, on standard error. */
export function humanOutput(path: readonly RelayTarget[], hasCommand: boolean): ExtendOutput {
  const progress = showProgress(path);
  const say = (text: string) => void process.stderr.write(`${text}\n`);
  return {
    progress(event) {
      if (event.event === 'hop') progress.built(event);
      if (event.event === 'hop-closed' && !hasCommand) say(`closed hop ${event.hop}: ${event.relay}`);
    },
    async established(event, client) {
      await progress.done;
      const dns = event.dns.length === 0 ? 'no DNS' : `DNS ${event.dns.join(' and ')}`;
      say(`established: ${event.addresses.join(' and ')} on ${event.interface}, MTU ${event.mtu}, ${dns}`);
      if (!hasCommand) say(`enter it with: ${enterCommand(client)} -- COMMAND; Ctrl-C closes it`);
    },
    fallback: ({ kind, why }) => say(`ike-telescope: ${INSTEAD_TEXT[kind]}: ${why}`),
    async ended(outcome) {
      await progress.failed();
      if (outcome.kind === 'failed') say(`ike-telescope: ${outcome.error.message}`);
      if (outcome.kind === 'exited' && outcome.reason !== undefined) say(`ike-telescope: ${outcome.reason}`);
    },
    abandoned: () => progress.failed(),
  };
}

/** Runs what follows it in the client's network, with its name servers. */
function enterCommand({ pid, ownUserNamespace }: LaunchedClient): string {
  const user = ownUserNamespace ? ' --user --preserve-credentials' : '';
  return `nsenter --target ${pid}${user} --net --mount`;
}
