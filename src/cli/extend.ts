import { constants } from 'node:os';
import { Command, InvalidArgumentError, Option } from 'commander';
import type { Encapsulation } from '../client/host-sockets.ts';
import type { BackendChoice } from '../client/kernel-support.ts';
import { type LaunchedClient, launch, type Outcome } from '../client/launcher.ts';
import type { ClientEvent } from '../client/protocol.ts';
import { defaultProvider } from '../crypto/default.ts';
import type { RelayDescriptor } from '../descriptor/descriptor.ts';
import { readPath } from '../descriptor/path-file.ts';
import { INNER_MTU, MAX_HOPS } from '../telescope/telescope.ts';
import type { Family } from '../wire/address.ts';
import { type ExtendOutput, humanOutput, jsonOutput } from './extend-output.ts';
import { ExitStatus, kindOf, STATUS_OF, UsageError } from './failure.ts';
import { KEY_LOG_OPTION, prepareKeyLog } from './key-log.ts';

interface ExtendOptions {
  readonly path: string;
  readonly backend: BackendChoice;
  readonly encapsulation?: Encapsulation;
  readonly innerMtu: number | 'max';
  readonly family?: '4' | '6';
  /** Seconds. */
  readonly timeout: number;
  readonly json?: true;
  readonly keylog?: string;
}

const HELP = `
Without a COMMAND the telescope is held until Ctrl-C. With one, it is closed when the command ends, whose exit
status is passed on (126 or 127 if it cannot be started); progress and, with --json, events go to standard error then,
for standard output is the command's.

In it, names are asked of the exit's name servers only, packets to others are dropped, and /run is empty: the host's
services (D-Bus, Wayland, the resolver) would act outside it. Sockets in /tmp, such as X11's and tmux's, stay.

Exit status: 64 the command line or a file is wrong; 69 the telescope could not be built, or was lost; 71 this
machine lacks a privilege, a program or a route; 70 a defect of ike-telescope.

Nothing outlives the program, however it ends: no process, device, route or namespace. If every process of it is killed at once,
the kernel's SAs of the first hop stay, of no use to anybody, until the next start.`;

export function extendCommand(): Command {
  return new Command('extend')
    .description('build a telescope through the relays of a path, and run a command in it')
    .argument('[command...]', 'what to run in it, after "--"')
    .requiredOption('--path <file>', 'path.yaml: the relays, entry first')
    .addOption(
      new Option(
        '--encapsulation <kind>',
        'of ESP to the entry; default: esp if permitted, else udp',
      ).choices(['esp', 'udp']),
    )
    .addOption(
      new Option(
        '--backend <kind>',
        "what carries the hops; xfrm: the kernel's IPsec, which needs root; auto: the kernel's if it can",
      )
        .choices(['userspace', 'xfrm', 'auto'])
        .default('userspace'),
    )
    .addOption(
      new Option('--inner-mtu <octets>', '"max" or a number: another MTU than everybody else sets you apart')
        .default(INNER_MTU)
        .argParser(parseInnerMtu),
    )
    .addOption(
      new Option('--family <number>', 'of the address that the exit assigns; default: 4 if it can').choices([
        '4',
        '6',
      ]),
    )
    .addOption(new Option('--timeout <seconds>', 'for each hop').default(30).argParser(parseSeconds))
    .option('--json', 'report events as one JSON object per line')
    .option('--keylog <dir>', `${KEY_LOG_OPTION}; undoes the anonymity of this telescope`)
    .addHelpText('after', HELP)
    .passThroughOptions()
    .action(async (command: string[], options: ExtendOptions) => {
      process.exitCode = await extend(command, options);
    });
}

function parseInnerMtu(text: string): number | 'max' {
  if (text === 'max') return text;
  const octets = Number(text);
  if (Number.isInteger(octets) && octets >= 576 && octets <= 65_535) return octets;
  throw new InvalidArgumentError('It must be "max" or a number of octets from 576 to 65535.');
}

function parseSeconds(text: string): number {
  const seconds = Number(text);
  if (seconds > 0 && seconds <= 3_600) return seconds;
  throw new InvalidArgumentError('It must be a number of seconds, more than 0 and at most 3600.');
}

/** @returns the exit status */
async function extend(command: readonly string[], options: ExtendOptions): Promise<number> {
  const json = options.json ? jsonOutput(command.length > 0 ? process.stderr : process.stdout) : undefined;
  try {
    const path = readRelays(options.path);
    if (options.keylog !== undefined) prepareKeyLog(options.keylog, 'this telescope');
    if (json === undefined) warnOfNoExit(path);
    const output = json ?? humanOutput(path, command.length > 0);
    return await runClient(path, command, options, output);
  } catch (error) {
    if (json === undefined) throw error;
    const kind = kindOf(error);
    json.failed({ kind, message: error instanceof Error ? error.message : String(error) });
    return STATUS_OF[kind];
  }
}

function readRelays(file: string): readonly RelayDescriptor[] {
  const path = readPath(file, defaultProvider());
  if (path.length > MAX_HOPS) {
    throw new UsageError(`${file}: a path has at most ${MAX_HOPS} relays, not ${path.length}`);
  }
  return path;
}

function warnOfNoExit(path: readonly RelayDescriptor[]): void {
  const last = path[path.length - 1];
  if (last.exit) return;
  process.stderr.write(
    `ike-telescope: the last relay, ${last.name}, is not an exit: nothing beyond it can be reached\n`,
  );
}

async function runClient(
  path: readonly RelayDescriptor[],
  command: readonly string[],
  options: ExtendOptions,
  output: ExtendOutput,
): Promise<number> {
  let client: LaunchedClient | undefined;
  let phase: 'building' | 'holding' | 'running' = 'building';
  let interrupted: NodeJS.Signals | undefined;
  const onSignal = (signal: NodeJS.Signals) => {
    // The terminal has sent SIGINT to the command as well, and that is the one to decide.
    if (phase === 'running' && signal === 'SIGINT') return;
    if (phase === 'building') interrupted = signal;
    client?.close();
  };
  const onEvent = async (event: ClientEvent) => {
    if (event.event !== 'established') return output.progress(event);
    await output.established(event, client!);
    if (command.length === 0) {
      phase = 'holding';
    } else {
      phase = 'running';
      client!.run(command);
    }
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const signal of signals) process.on(signal, onSignal);
  try {
    client = await launch(
      {
        path,
        backend: options.backend,
        encapsulation: options.encapsulation,
        innerMtu: options.innerMtu,
        ...(options.family !== undefined && { family: Number(options.family) as Family }),
        hopTimeout: options.timeout * 1000,
        ...(options.keylog !== undefined && { keyLog: options.keylog }),
      },
      (event) => void onEvent(event),
    );
    for (const fallback of client.fallbacks) output.fallback(fallback);
    if (interrupted !== undefined) client.close();
    const outcome = await client.ended;
    await output.ended(outcome);
    return statusOf(outcome, interrupted);
  } catch (error) {
    await output.abandoned();
    throw error;
  } finally {
    for (const signal of signals) process.off(signal, onSignal);
  }
}

function statusOf(outcome: Outcome, interrupted: NodeJS.Signals | undefined): number {
  switch (outcome.kind) {
    case 'closed':
      return interrupted === undefined ? ExitStatus.OK : 128 + constants.signals[interrupted];
    case 'exited':
      return outcome.status;
    case 'failed':
      return STATUS_OF[outcome.error.kind];
  }
}
