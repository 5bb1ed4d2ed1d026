import { once } from 'node:events';
import { Command, InvalidArgumentError, Option } from 'commander';
import { ClientState, stateDirectory } from '../client/client-state.ts';
import type { Encapsulation } from '../client/host-sockets.ts';
import { launchedTelescopes } from '../client/launched-telescope.ts';
import { SocksFront } from '../client/socks-front.ts';
import { type KeeperEvent, TelescopeKeeper } from '../client/telescope-keeper.ts';
import { defaultProvider } from '../crypto/default.ts';
import { RelayDirectory } from '../descriptor/relay-directory.ts';
import { systemClock } from '../endpoint/system-clock.ts';
import { choosePath } from '../select/paths.ts';
import type { SocksArrival } from '../socks/server.ts';
import { INNER_MTU, MAX_HOPS } from '../telescope/telescope.ts';
import { type Address, parseAddress } from '../wire/address.ts';
import { UsageError } from './failure.ts';

interface UpOptions {
  readonly relays: string;
  readonly socks: { readonly host: Address; readonly port: number };
  readonly hops: number;
  readonly encapsulation?: Encapsulation;
  readonly state: string;
  readonly near?: true;
  readonly json?: true;
}

/** A line of output. */
type UpEvent = KeeperEvent | { readonly event: 'listening'; readonly port: number };

const HELP = `
Keeps telescopes ready and serves SOCKS 5 through them: CONNECT and UDP ASSOCIATE; names are resolved at the exit. A program that
gives another user name or password goes through another telescope. New connections leave a telescope after ten minutes or so.

    curl --socks5-hostname 127.0.0.1:1080 https://example.org

A program must leave names to the proxy (socks5h, "proxy DNS"); what it does not send to the proxy goes out in clear.

The relays that telescopes begin at are chosen once and kept, in the state directory. SIGHUP reads the descriptors again.`;

export function upCommand(): Command {
  return new Command('up')
    .description('keep telescopes ready, and serve SOCKS 5 through them')
    .requiredOption('--relays <dir>', 'a directory with the descriptors of the relays to choose from')
    .addOption(
      new Option('--socks <address:port>', 'where to listen; a loopback address')
        .default({ host: '127.0.0.1', port: 1080 }, '127.0.0.1:1080')
        .argParser(parseEndpoint),
    )
    .addOption(new Option('--hops <number>', 'relays in a path').default(3).argParser(parseHops))
    .addOption(
      new Option(
        '--encapsulation <kind>',
        'of ESP to the entry; default: esp if permitted, else udp',
      ).choices(['esp', 'udp']),
    )
    .option('--state <dir>', 'where guards and build times are kept', stateDirectory())
    .option('--near', 'relays of one network or operator may be in a path: for a laboratory')
    .option('--json', 'report events as one JSON object per line')
    .addHelpText('after', HELP)
    .action(up);
}

function parseEndpoint(text: string): UpOptions['socks'] {
  const [, host = '', port] =
    /^(?:\[([^\]]+)\]|([^:]*)):(\d+)$/.exec(text)?.filter((part) => part !== undefined) ?? [];
  try {
    if (Number(port) <= 65_535) return { host: parseAddress(host), port: Number(port) };
  } catch {}
  throw new InvalidArgumentError('It must be an address and a port, such as 127.0.0.1:1080 or [::1]:1080.');
}

function parseHops(text: string): number {
  const hops = Number(text);
  if (Number.isInteger(hops) && hops >= 1 && hops <= MAX_HOPS) return hops;
  throw new InvalidArgumentError(`It must be a number from 1 to ${MAX_HOPS}.`);
}

async function up(options: UpOptions): Promise<void> {
  const random = defaultProvider();
  const relays = new RelayDirectory(options.relays, random);
  const state = new ClientState(options.state, random);
  const { guards, timeouts } = state;
  const say = options.json ? sayJson : sayText;
  const near = options.near === true;
  // What no time will mend is an error now.
  choosePath(
    relays.relays(),
    { length: options.hops, needs: [], near, guards: guards.choose(relays.relays(), Date.now()) },
    random,
  );
  const keeper = new TelescopeKeeper<SocksArrival>({
    relays,
    guards,
    timeouts,
    build: launchedTelescopes({ encapsulation: options.encapsulation, innerMtu: INNER_MTU }),
    clock: systemClock,
    wallClock: Date.now,
    random,
    length: options.hops,
    near,
    onLearnt: () => orSay(() => state.save(), 'what was learnt is lost if this ends'),
    onEvent: say,
  });
  const stop = new AbortController();
  const reload = () => orSay(() => relays.reload(), 'the relays are what they were');
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
  process.on('SIGHUP', reload);
  try {
    const front = await SocksFront.listen(keeper, options.socks).catch((error: Error) => {
      throw new UsageError(`--socks: ${error.message}`);
    });
    say({ event: 'listening', port: front.port });
    await once(stop.signal, 'abort');
    front.close();
  } finally {
    await keeper.close();
    process.off('SIGHUP', reload);
  }
}

/** What goes on without it. */
function orSay(action: () => void, consequence: string): void {
  try {
    action();
  } catch (error) {
    process.stderr.write(`ike-telescope: ${(error as Error).message}; ${consequence}\n`);
  }
}

function sayJson(event: UpEvent): void {
  process.stdout.write(`${JSON.stringify(event)}\n`);
}

function sayText(event: UpEvent): void {
  process.stdout.write(`${textOf(event)}\n`);
}

function textOf(event: UpEvent): string {
  switch (event.event) {
    case 'listening':
      return `SOCKS 5 on port ${event.port}`;
    case 'built':
      return `a telescope is ready, after ${Math.round(event.milliseconds)} ms`;
    case 'failed':
      return `a telescope could not be built: ${reasonOf(event)}`;
    case 'closed':
      return 'a telescope is closed';
  }
}

function reasonOf({ hop, message }: Extract<KeeperEvent, { event: 'failed' }>): string {
  if (hop !== undefined) return `hop ${hop} does not answer, or refuses`;
  return (
    message ??
    'this machine lacks a route, a program or a privilege; DEBUG=ike-telescope:* tells more, and names relays'
  );
}
