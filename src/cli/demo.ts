import { constants } from 'node:os';
import { Command, Option } from 'commander';
import { runDemo } from '../demo/demo.ts';
import { runLoopbackDemo } from '../demo/loopback.ts';
import { namespaceAccess, PrerequisiteError, requirePrerequisites } from '../demo/prerequisites.ts';
import { runInUserNamespace } from '../demo/user-namespace.ts';
import { ExitStatus, kindOf, STATUS_OF } from './failure.ts';

interface DemoCommandOptions {
  readonly json?: true;
  readonly loopback?: true;
  readonly keepPcap?: string;
  readonly keylog?: string;
}

const FAILED = 1;
/** Milliseconds. */
const TIME_LIMIT = 60_000;

const HELP = `
Needs root or user namespaces, /dev/net/tun, iproute2 and util-linux. With --loopback it needs nothing, and shows only
that three hops work: nothing about what observers see.

Exit status: 0 the page came through and nobody saw what they should not; 1 otherwise; 71 this machine lacks something.`;

export function demoCommand(): Command {
  return new Command('demo')
    .description('fetch a page through three relays in network namespaces, and print who saw what')
    .option('--loopback', 'over 127.0.0.0/8 in one process, without privileges')
    .addOption(
      new Option('--keep-pcap <directory>', 'keep a capture of each link, for Wireshark or decode').conflicts(
        'loopback',
      ),
    )
    .addOption(
      new Option('--keylog <directory>', "write the client's keys there, in Wireshark's files").conflicts(
        'loopback',
      ),
    )
    .option('--json', 'print one JSON object and nothing else')
    .addHelpText('after', HELP)
    .action(async (options: DemoCommandOptions) => {
      process.exitCode = await demo(options);
    });
}

/** @returns the exit status */
async function demo(options: DemoCommandOptions): Promise<number> {
  const stop = new AbortController();
  let stopped: NodeJS.Signals | undefined;
  const onSignal = (signal: NodeJS.Signals) => {
    stopped = signal;
    stop.abort(new Error(`stopped by ${signal}`));
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const signal of signals) process.on(signal, onSignal);
  const limit = setTimeout(
    () => stop.abort(new Error(`not done after ${TIME_LIMIT / 1000} seconds`)),
    TIME_LIMIT,
  );
  try {
    return await runMode(options, stop.signal);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    process.stderr.write(`ike-telescope: ${message}\n`);
    if (options.json) print(JSON.stringify({ ok: false, mode: modeOf(options), error: message }));
    if (stopped !== undefined) return 128 + constants.signals[stopped];
    if (stop.signal.aborted) return FAILED;
    return error instanceof PrerequisiteError ? ExitStatus.OS : STATUS_OF[kindOf(error)];
  } finally {
    clearTimeout(limit);
    for (const signal of signals) process.off(signal, onSignal);
  }
}

/** @returns the exit status */
async function runMode(options: DemoCommandOptions, signal: AbortSignal): Promise<number> {
  const narrate = options.json ? () => {} : print;
  if (!options.loopback) {
    const native = requirePrerequisites();
    if ((await namespaceAccess()) === 'user-namespace')
      return runInUserNamespace(process.argv.slice(1), signal);
    const { keepPcap, keylog } = options;
    const result = await runDemo({ native, narrate, keepPcap, keylog, signal });
    if (options.json) print(JSON.stringify(result));
    return result.ok ? ExitStatus.OK : FAILED;
  }
  const result = await runLoopbackDemo(narrate, signal);
  if (options.json) print(JSON.stringify(result));
  return result.ok ? ExitStatus.OK : FAILED;
}

function modeOf({ loopback }: DemoCommandOptions): string {
  return loopback ? 'loopback' : 'namespaces';
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
