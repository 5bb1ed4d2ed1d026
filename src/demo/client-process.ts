import { once } from 'node:events';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { type ClientEvent, parseEvent } from '../client/protocol.ts';
import type { FetchedPage } from './page.ts';
import type { Topology } from './topology.ts';

export type HopEvent = Extract<ClientEvent, { event: 'hop' }>;

/** What a client process has done. */
export interface ClientRun {
  readonly hops: readonly HopEvent[];
  readonly page: FetchedPage;
}

const FOLLOWED: readonly unknown[] = ['extending', 'hop', 'established', 'error'];

/** What the client does. */
export interface ClientTask {
  readonly url: string;
  /** A directory for its keys. */
  readonly keylog?: string | undefined;
}

/**
 * Runs `ike-telescope extend --json` at S, and in the telescope the program that fetches `url`.
 * @param onEvent - called for each event as it comes
 * @throws Error with what the client wrote, unless it ends with status 0 and a page
 */
export async function fetchThroughTelescope(
  topology: Topology,
  { url, keylog }: ClientTask,
  onEvent: (event: ClientEvent) => void,
): Promise<ClientRun> {
  const fetcher = topology.node('demo/fetch-page.js', url);
  const keys = keylog === undefined ? [] : ['--keylog', resolve(keylog)];
  const extend = ['extend', '--path', topology.pathFile, '--json', ...keys, '--', ...fetcher];
  const child = topology.namespaces.S.spawn(topology.node('cli/main.js', ...extend), {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = once(child, 'close');
  const output = text(child.stdout!);
  const hops: HopEvent[] = [];
  const complaints: string[] = [];
  for await (const line of createInterface({ input: child.stderr! })) {
    const event = line.startsWith('{') ? followedEvent(line) : undefined;
    if (event !== undefined) onEvent(event);
    if (event?.event === 'hop') hops.push(event);
    if (event?.event === 'error') complaints.push(event.message);
    if (!line.startsWith('{')) complaints.push(line);
  }
  const [status, signal] = await ended;
  if (status !== 0) {
    throw new Error(`the client ended with ${signal ?? `status ${status}`}: ${complaints.join('\n')}`);
  }
  return { hops, page: JSON.parse(await output) };
}

/** The event in a line, if it is one that the demo follows. */
function followedEvent(line: string): ClientEvent | undefined {
  const message: { readonly event?: unknown } = JSON.parse(line);
  return FOLLOWED.includes(message.event) ? parseEvent(message) : undefined;
}
