import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { ClientEvent } from '../../src/client/protocol.ts';
import type { Topology } from '../../src/demo/topology.ts';
import { isInGuest } from '../guest/guest.ts';

/** A guest is slow, and several may share a CPU. */
const PATIENCE = isInGuest() ? 200_000 : 40_000;

/** An event of `extend --json`, with what only the command line adds. */
export type CliEvent = ClientEvent & { readonly pid?: number; readonly enter?: string };

type EventOf<E extends CliEvent['event']> = Extract<CliEvent, { event: E }>;

/** A running `ike-telescope extend`; its processes are known by a mark in their environment. */
export interface RunningClient {
  readonly pid: number;
  readonly events: readonly CliEvent[];
  readonly stdout: () => string;
  readonly stderr: () => string;
  /** The exit status; 128 + n is not made of signals. */
  readonly ended: Promise<{ readonly status: number | null; readonly signal: NodeJS.Signals | null }>;
  /** Waits for an event. */
  event<E extends CliEvent['event']>(name: E): Promise<EventOf<E>>;
  /** Processes that it has started and those that they have, itself included. */
  processes(): number[];
  /** Sends a signal to its process group, as a terminal does. */
  press(signal: NodeJS.Signals): void;
}

/** Starts `ike-telescope extend --json ARGS` in S, in a process group of its own; a wrapper becomes it by exec. */
export function startClient(
  topology: Topology,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  wrapper: readonly string[] = [],
): RunningClient {
  const mark = `IKE_TELESCOPE_TEST=${randomUUID()}`;
  const [name, value] = mark.split('=');
  const command = [...wrapper, ...topology.node('cli/main.js', 'extend', '--json', ...args)];
  const child = topology.namespaces.S.spawn(command, {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
    env: { ...process.env, ...env, [name]: value },
  });
  const output = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream]?.setEncoding('utf8').on('data', (text: string) => {
      output[stream] += text;
    });
  }
  const events = () =>
    `${output.stdout}\n${output.stderr}`
      .split('\n')
      .filter((line) => line.startsWith('{"event":'))
      .map((line) => JSON.parse(line) as CliEvent);
  const ended = new Promise<{ status: number | null; signal: NodeJS.Signals | null }>((resolve) =>
    child.once('close', (status, signal) => resolve({ status, signal })),
  );
  return {
    pid: child.pid!,
    get events() {
      return events();
    },
    stdout: () => output.stdout,
    stderr: () => output.stderr,
    ended,
    event: <E extends CliEvent['event']>(wanted: E) =>
      eventually(
        `event ${wanted}`,
        () => events().find(({ event }) => event === wanted) as EventOf<E> | undefined,
      ),
    processes: () => processesWith((file) => readFileSync(join(file, 'environ'), 'utf8').includes(mark)),
    press: (signal) => process.kill(-child.pid!, signal),
  };
}

/** Waits, on a busy machine too, until `ready` gives something other than undefined or false. */
export async function eventually<T>(
  what: string,
  ready: () => T | undefined | false | Promise<T | undefined | false>,
): Promise<T> {
  for (const end = Date.now() + PATIENCE; Date.now() < end; ) {
    const value = await ready();
    if (value !== undefined && value !== false) return value;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`waited in vain for ${what}`);
}

/** Every namespace, process and device of the client is gone, and S is as it was. */
export async function expectNothingLeft(
  topology: Topology,
  client: RunningClient,
  networkNamespace: string,
): Promise<void> {
  await eventually('the end of its processes', () => client.processes().length === 0);
  expect(processesIn(networkNamespace)).toEqual([]);
  const links = await topology.namespaces.S.exec(['ip', '-json', 'link']);
  expect(JSON.parse(links.stdout).map(({ ifname }: { ifname: string }) => ifname)).toEqual(['lo', 'toA']);
  const routes = await topology.namespaces.S.exec(['ip', '-json', 'route']);
  expect(JSON.parse(routes.stdout)).toHaveLength(1);
}

/** Sends a signal to the process of a relay. */
export function signalRelay(topology: Topology, name: string, signal: NodeJS.Signals): void {
  process.kill(relayProcesses(topology, name)[0], signal);
}

export function isRelayRunning(topology: Topology, name: string): boolean {
  return relayProcesses(topology, name).length > 0;
}

function relayProcesses(topology: Topology, name: string): number[] {
  return processesRunning(join(topology.directory, `relay-${name}.yaml`));
}

/** A path file through these relays. */
export function pathOf(topology: Topology, ...relays: readonly string[]): string {
  const file = join(topology.directory, `path-${relays.join('')}.yaml`);
  writeFileSync(file, `relays:\n${relays.map((relay) => `  - descriptor: ${relay}.yaml\n`).join('')}`);
  return file;
}

/** The one of them that is the init of a PID namespace below ours. */
export function initOf(pids: readonly number[]): number {
  const init = pids.find((pid) => /^NSpid:.*\t1$/m.test(readFileSync(`/proc/${pid}/status`, 'utf8')));
  if (init === undefined) throw new Error('none of them is an init');
  return init;
}

/** The network namespace that a process is in. */
export function networkNamespaceOf(pid: number): string {
  return readlinkSync(`/proc/${pid}/ns/net`);
}

/** The processes in a network namespace. */
export function processesIn(networkNamespace: string): number[] {
  return processesWith((file) => readlinkSync(join(file, 'ns/net')) === networkNamespace);
}

/** The processes with `text` in their command line. */
function processesRunning(text: string): number[] {
  return processesWith((file) => readFileSync(join(file, 'cmdline'), 'utf8').includes(text));
}

function processesWith(test: (file: string) => boolean): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return test(`/proc/${pid}`);
      } catch {
        return false; // it has ended meanwhile
      }
    })
    .map(Number);
}
