import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { requirePrograms } from '../host/command.ts';
import { loadNative } from '../native/load.ts';
import { tunLauncher } from '../native/perl-tun.ts';
import type { SocksArrival } from '../socks/server.ts';
import { entryAddress, type RelayTarget } from '../telescope/relay-target.ts';
import type { Family } from '../wire/address.ts';
import { FlowSender } from './flow-sender.ts';
import { type Encapsulation, type HostSockets, openHostSockets } from './host-sockets.ts';
import { type BackendChoice, chooseBackend, removeLeftovers } from './kernel-support.ts';
import {
  type ClientErrorEvent,
  type ClientEvent,
  type ExtendOrder,
  Fd,
  type Order,
  parseEvent,
  TUN_NAME,
} from './protocol.ts';

export interface LaunchOptions {
  /** The relays, entry first; at least one. */
  readonly path: readonly RelayTarget[];
  readonly backend: BackendChoice;
  /** Default: plain ESP if this process may open a raw socket, or the kernel carries the hops; else ESP in UDP. */
  readonly encapsulation?: Encapsulation;
  /** MTU of the TUN device in octets, or `max` for the most that the path carries. */
  readonly innerMtu: number | 'max';
  /** Of the address that the exit assigns. Default: 4 if it assigns such. */
  readonly family?: Family;
  /** Milliseconds in which each hop has to be built. */
  readonly hopTimeout: number;
  /** A directory that gets the keys of every hop, in Wireshark's files. Default: none does. */
  readonly keyLog?: string;
}

/** How a launched client ended. */
export type Outcome =
  | { readonly kind: 'closed' }
  /** The command ended; its status, or 128 + the signal's number. */
  | { readonly kind: 'exited'; readonly status: number; readonly reason?: string }
  | { readonly kind: 'failed'; readonly error: Omit<ClientErrorEvent, 'event'> };

/** What is done instead of something else, and why. */
export interface Fallback {
  readonly kind: 'encapsulation' | 'backend';
  readonly why: string;
}

/** A telescope in network, mount and PID namespaces of its own, which end with it. */
export interface LaunchedClient {
  /** A process in its network and mount namespaces, for nsenter. */
  readonly pid: number;
  /** Whether it has a user namespace too: without root, it could not be otherwise. */
  readonly ownUserNamespace: boolean;
  /** Why something is not as it is by default, or as `auto` would rather have it. */
  readonly fallbacks: readonly Fallback[];
  /** Everything is closed. Never rejects. */
  readonly ended: Promise<Outcome>;
  /** After the `established` event: runs a command in it, on this process's standard streams; it ends with the command. */
  run(command: readonly string[]): void;
  /**
   * After the `established` event: carries on the connection of a SOCKS client, and answers it.
   * @returns resolves when the connection is over; never rejects
   */
  carry(arrival: SocksArrival): Promise<void>;
  /** Ends the command (the second time without patience), then closes the telescope, innermost hop first. */
  close(): void;
}

const UNEXPECTED_END =
  'the process in the namespace ended unexpectedly; the namespace and the TUN device ended with it, and nothing left in clear';

const NO_NAMESPACE =
  'no namespace could be made for the telescope (see above); run as root, or allow user namespaces ' +
  '(sysctl kernel.unprivileged_userns_clone=1 or kernel.apparmor_restrict_unprivileged_userns=0)';

/**
 * Starts a client: opens the sockets of the first hop in the host's network, and a process that is born with them inside
 * new namespaces. They are its only way out. Nothing that it makes has a name, so nothing outlives it.
 * @param onEvent - called for every event, `established` among them
 * @throws LinkError, CommandError, NativeError, XfrmError if it could not be started
 */
export async function launch(
  options: LaunchOptions,
  onEvent: (event: ClientEvent) => void,
): Promise<LaunchedClient> {
  const withoutFfi = 'unavailable' in loadNative();
  requirePrograms(['unshare', 'ip', ...(withoutFfi ? (['perl'] as const) : [])]);
  const entry = entryAddress(options.path[0]);
  const { kernel, fallback } = await chooseBackend(options.backend, entry);
  const sockets = await openHostSockets(entry, options.encapsulation, kernel);
  const ownUserNamespace = process.geteuid?.() !== 0;
  let child: ChildProcess;
  try {
    child = spawnInside(sockets, { kernel, ownUserNamespace, withoutFfi });
  } finally {
    sockets.close();
  }
  const flows = new FlowSender(child);
  const ended = follow(child, onEvent, kernel ? removeLeftovers : undefined);
  const send = (order: Order) => {
    if (child.connected) child.send(order, () => {});
  };
  send(extendOrder(options, sockets, { kernel, tunInherited: withoutFfi }));
  return {
    pid: child.pid!,
    ownUserNamespace,
    fallbacks: [
      ...(fallback === undefined ? [] : [{ kind: 'backend' as const, why: fallback }]),
      ...(sockets.fallback === undefined ? [] : [{ kind: 'encapsulation' as const, why: sockets.fallback }]),
    ],
    ended,
    run: (command) => send({ type: 'run', command: [...command] }),
    carry: (arrival) => flows.carry(arrival),
    close: () => send({ type: 'close' }),
  };
}

function extendOrder(
  options: LaunchOptions,
  sockets: HostSockets,
  { kernel, tunInherited }: Pick<ExtendOrder, 'kernel' | 'tunInherited'>,
): ExtendOrder {
  return {
    type: 'extend',
    path: [...options.path],
    host: sockets.host,
    encapsulated: kernel ? options.encapsulation === 'udp' : sockets.rawEsp === undefined,
    kernel,
    innerMtu: options.innerMtu,
    ...(options.family !== undefined && { family: options.family }),
    hopTimeout: options.hopTimeout,
    tunInherited,
    ...(options.keyLog !== undefined && { keyLog: resolve(options.keyLog) }),
  };
}

/**
 * `unshare` stays as the parent of a process that is the init of its PID namespace, and kills it when it is killed
 * itself. Node closes the inherited descriptors on exec, so commands do not get them.
 */
function spawnInside(
  sockets: HostSockets,
  {
    kernel,
    ownUserNamespace,
    withoutFfi,
  }: { readonly kernel: boolean; readonly ownUserNamespace: boolean; readonly withoutFfi: boolean },
): ChildProcess {
  const inside = [process.execPath, fileURLToPath(new URL('../client/inside-main.js', import.meta.url))];
  const stdio: (number | 'inherit' | 'ignore' | 'ipc')[] = ['inherit', 'inherit', 'inherit'];
  stdio[Fd.ipc] = 'ipc';
  stdio[Fd.ike] = sockets.ike;
  stdio[Fd.encapsulated] = sockets.encapsulated;
  stdio[Fd.rawEsp] = sockets.rawEsp ?? 'ignore';
  stdio[Fd.tun] = 'ignore';
  stdio[Fd.route] = sockets.route;
  const hostNetwork = kernel ? openSync('/proc/thread-self/ns/net', 'r') : undefined;
  stdio[Fd.hostNetwork] = hostNetwork ?? 'ignore';
  const args = [
    ...(ownUserNamespace ? ['--user', '--map-root-user'] : []),
    ...['--net', '--mount', '--pid', '--fork', '--kill-child', '--'],
    ...(withoutFfi ? tunLauncher(TUN_NAME, inside, Fd.tun) : inside),
  ];
  try {
    return spawn('unshare', args, { stdio, serialization: 'advanced' });
  } finally {
    if (hostNetwork !== undefined) closeSync(hostNetwork);
  }
}

/**
 * Passes events on, and makes one outcome of how the process ended. Unless it has said that everything is closed, `cleanUp` comes first.
 * @internal
 */
export function follow(
  child: ChildProcess,
  onEvent: (event: ClientEvent) => void,
  cleanUp: (() => Promise<void>) | undefined,
): Promise<Outcome> {
  let ready = false;
  let closed = false;
  let outcome: Outcome | undefined;
  child.on('message', (message) => {
    const event = parseEvent(message);
    if (event.event === 'ready') ready = true;
    if (event.event === 'closed') {
      closed = true;
      outcome ??= { kind: 'closed' };
    }
    if (event.event === 'exited') {
      outcome = { kind: 'exited', status: event.status, reason: event.reason };
    }
    if (event.event === 'error') {
      const { event: _, ...error } = event;
      outcome = { kind: 'failed', error };
    }
    onEvent(event);
  });
  return new Promise((resolve) => {
    const end = async (message: string) => {
      if (!closed) await cleanUp?.();
      resolve(outcome ?? { kind: 'failed', error: { kind: 'system', message } });
    };
    child.once('error', (error) => end(`unshare: ${error.message}`));
    // After the last messages; there is no 'disconnect' if it ends before it has taken a socket that it was sent.
    child.once('close', () => end(ready ? UNEXPECTED_END : NO_NAMESPACE));
  });
}
