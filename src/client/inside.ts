import type { Socket as UdpSocket } from 'node:dgram';
import type { Socket } from 'node:net';
import createDebug from 'debug';
import { XfrmError } from '../backend/xfrm/channel.ts';
import { KeyLogFiles } from '../decode/key-log-files.ts';
import { CommandError } from '../host/command.ts';
import { type Link, LinkError } from '../link/link.ts';
import { loadNative } from '../native/load.ts';
import { NativeError } from '../native/native.ts';
import type { TelescopeBackend } from '../telescope/backend.ts';
import { TelescopeError } from '../telescope/errors.ts';
import { type Hop, openTelescope, type Telescope } from '../telescope/telescope.ts';
import { HostLink } from '../transport/host-link.ts';
import { closeAll } from './closing.ts';
import { type CommandEnd, type RunningCommand, startCommand } from './command.ts';
import { type DataPlane, openDataPlane } from './data-plane.ts';
import { exitResolver, Flows } from './flows.ts';
import { type ClientEvent, type ExtendOrder, Fd, type FlowOrder } from './protocol.ts';
import { ResolverConfiguration } from './resolver-configuration.ts';
import { addressesOf, prepareSurroundings } from './surroundings.ts';

const log = createDebug('ike-telescope:client');

/** RFC 791: every IPv4 network carries packets of this many octets; a telescope of less is of no use. */
const SMALLEST_INNER_MTU = 576;

/** How long a command may take to end itself after SIGTERM, in milliseconds. */
const COMMAND_PATIENCE = 5_000;

/** What comes with an order about a SOCKS client; absent if it was closed on the way. */
export type FlowHandle = Socket | UdpSocket | undefined;

/** What a process inside is asked to do, in the order in which it can be done. */
export interface Orders {
  readonly extend: Promise<ExtendOrder>;
  readonly run: Promise<readonly string[]>;
  /** Hands over the connections of SOCKS clients, those that came before it too. */
  takeFlows(take: (order: FlowOrder, handle: FlowHandle) => void): void;
  /** Aborted when everything is to be closed. */
  readonly close: AbortSignal;
  /** Aborted when it is to be closed without waiting for the command. */
  readonly closeNow: AbortSignal;
}

/** Opens a telescope in this namespace, runs a command in it if asked to, and closes it; reports all of it. */
export async function serve(orders: Orders, report: (event: ClientEvent) => void): Promise<void> {
  let plane: DataPlane | undefined;
  let telescope: Telescope | undefined;
  let keyLog: KeyLogFiles | undefined;
  let failure: unknown;
  try {
    const order = await orders.extend;
    // Not what a directory of that name is in the command's surroundings.
    if (order.keyLog !== undefined) keyLog = new KeyLogFiles(order.keyLog);
    await prepareSurroundings();
    const resolvers = await ResolverConfiguration.open();
    const link = hostLink(order);
    plane = await openDataPlane(order, link.id);
    telescope = await build(order, { link, backend: plane.backend, keyLog }, orders.close, report);
    const { assigned, hops } = telescope;
    const mtu = order.innerMtu === 'max' ? hops[hops.length - 1].mtu : order.innerMtu;
    const device = await plane.enter(telescope, mtu);
    if (assigned.dns.length > 0) await resolvers.use(assigned.dns);
    report({
      event: 'established',
      interface: device,
      addresses: addressesOf(assigned),
      mtu,
      dns: [...assigned.dns],
    });
    const flows = new Flows(exitResolver(assigned), report);
    orders.takeFlows((flow, handle) => flows.take(flow, handle));
    failure = await use(telescope, orders, report);
  } catch (error) {
    failure = error;
  }
  if (orders.close.aborted && failure === orders.close.reason) failure = undefined; // it was asked for
  await closeAll(
    () => telescope?.close(),
    () => plane?.close(),
    () => keyLog?.close(),
  ).catch((error) => {
    failure ??= error;
  });
  report(failure === undefined ? { event: 'closed' } : errorEvent(failure));
}

/** The sockets that this process was born with: there is no other way out. */
function hostLink({ host, kernel }: ExtendOrder): HostLink {
  const loaded = loadNative();
  return new HostLink({
    address: host.address,
    towards: host.entry,
    mtu: host.mtu,
    native: 'native' in loaded ? loaded.native : undefined,
    ikePort: host.ikePort,
    encapsulatedPort: host.encapsulatedPort,
    encapsulatedOnly: !host.rawEsp && !kernel,
    kernelEsp: kernel,
    sockets: {
      ike: Fd.ike,
      encapsulated: Fd.encapsulated,
      rawEsp: host.rawEsp ? Fd.rawEsp : undefined,
      route: Fd.route,
    },
  });
}

async function build(
  order: ExtendOrder,
  means: {
    readonly link: Link;
    readonly backend: TelescopeBackend | undefined;
    readonly keyLog: KeyLogFiles | undefined;
  },
  close: AbortSignal,
  report: (event: ClientEvent) => void,
): Promise<Telescope> {
  const { path, hopTimeout } = order;
  const { link, backend, keyLog } = means;
  const patience = new HopPatience(hopTimeout, close);
  let number = 0;
  try {
    return await openTelescope(link, path, {
      encapsulated: order.encapsulated,
      innerMtu: order.innerMtu === 'max' ? SMALLEST_INNER_MTU : order.innerMtu,
      signal: patience.signal,
      ...(order.family !== undefined && { family: order.family }),
      ...(backend !== undefined && { backend }),
      ...(keyLog !== undefined && { keyLog }),
      onExtending(hop, relay) {
        number = hop;
        patience.start(hop, relay.name);
        report({ event: 'extending', hop, relay: relay.name });
      },
      onHop(hop) {
        patience.stop();
        reportHop(hop, number, report);
      },
    });
  } finally {
    patience.stop();
  }
}

/** Aborts what is being built when a hop takes too long, or when `close` is. */
class HopPatience {
  readonly #abort = new AbortController();
  readonly #timeout: number;
  #timer: NodeJS.Timeout | undefined;

  /** @param timeout - milliseconds per hop */
  constructor(timeout: number, close: AbortSignal) {
    this.#timeout = timeout;
    const give = () => this.#abort.abort(close.reason);
    if (close.aborted) give();
    else close.addEventListener('abort', give, { once: true });
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  start(hop: number, relay: string): void {
    this.stop();
    this.#timer = setTimeout(() => {
      const cause = `no answer within ${this.#timeout / 1000} s; is it up, and reachable from the hop before it?`;
      this.#abort.abort(new TelescopeError(hop, relay, 'extending to the relay', cause));
    }, this.#timeout);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}

function reportHop(built: Hop, hop: number, report: (event: ClientEvent) => void): void {
  const relay = built.relay.name;
  const { source, mtu, roundTrips, milliseconds } = built;
  const assigned = addressesOf(built.assigned);
  report({ event: 'hop', hop, relay, source, assigned, mtu, roundTrips, milliseconds });
  log('hop %d is built', hop);
  void built.connection.closed.then(() => {
    log('hop %d is closed', hop);
    report({ event: 'hop-closed', hop, relay });
  });
}

/** Keeps the telescope for as long as it is of use. @returns why it was lost, if it was */
async function use(
  telescope: Telescope,
  orders: Orders,
  report: (event: ClientEvent) => void,
): Promise<TelescopeError | undefined> {
  let command: RunningCommand | undefined;
  const ran = orders.run.then((words) => {
    command = startCommand(words);
    return command.ended;
  });
  const lost = await Promise.race([telescope.closed, aborted(orders.close), ran.then(() => undefined)]);
  if (command !== undefined) {
    const end = await endCommand(command, orders.closeNow);
    if (lost === undefined) report({ event: 'exited', ...end });
  }
  return lost;
}

/** Waits for the end of a command that is to end; what it has started ends with this process, the init of both. */
async function endCommand(command: RunningCommand, now: AbortSignal): Promise<CommandEnd> {
  const killed = aborted(AbortSignal.any([now, AbortSignal.timeout(COMMAND_PATIENCE)]));
  command.kill('SIGTERM');
  void killed.then(() => command.kill('SIGKILL'));
  return command.ended;
}

function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    else signal.addEventListener('abort', () => resolve(undefined), { once: true });
  });
}

function errorEvent(error: unknown): ClientEvent {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof TelescopeError) {
    const { hop, relay, action } = error;
    return { event: 'error', kind: 'telescope', message, hop, relay, action };
  }
  const system = [LinkError, NativeError, CommandError, XfrmError].some((type) => error instanceof type);
  if (!system) log('%O', error);
  return { event: 'error', kind: system ? 'system' : 'internal', message };
}
