import { once } from 'node:events';
import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import { MethodError } from '../control/methods.ts';
import { defaultProvider } from '../crypto/default.ts';
import { systemClock } from '../endpoint/system-clock.ts';
import { loadNative } from '../native/load.ts';
import { loadRelayConfig, type RelayBackend, type RelayConfig } from '../relay/config.ts';
import { Relay, type RelayState } from '../relay/relay.ts';
import { KEY_LOG_OPTION, openKeyLog } from './key-log.ts';
import { openRelayServices } from './relay-services.ts';
import { tellService } from './service.ts';

/** How often a change of state is looked for, in milliseconds. */
const WATCH_INTERVAL = 200;

interface OverlayEvent {
  readonly event: 'overlay';
  readonly peer: string;
  readonly up: boolean;
  /** Why it is down. */
  readonly problem?: string;
}

/** What a relay reports of itself: never an address or a key, and nothing of its clients, whose coming and going would
 * link them to what an observer sees elsewhere (T30). */
type RelayEvent =
  | { readonly event: 'listening'; readonly relay: string; readonly keyId: string }
  | OverlayEvent
  | { readonly event: 'exit'; readonly problem: string }
  | { readonly event: 'reloaded'; readonly changed: readonly string[] }
  | { readonly event: 'reload-failed'; readonly problem: string }
  | { readonly event: 'closed' };

interface RelayCommandOptions {
  readonly config: string;
  readonly descriptor?: true;
  readonly backend?: RelayBackend;
  readonly control?: string;
  readonly json?: true;
  readonly keylog?: string;
}

export function relayCommand(): Command {
  return new Command('relay')
    .description('run a relay, until SIGINT or SIGTERM')
    .requiredOption('--config <file>', 'relay.yaml')
    .option('--descriptor', "print the relay's signed descriptor, for clients and other relays, and exit")
    .addOption(
      new Option(
        '--backend <kind>',
        "what carries packets: this program, or the kernel's IPsec; default: relay.yaml's, else userspace",
      ).choices(['userspace', 'xfrm']),
    )
    .option(
      '--control <path>',
      "the control socket; default: relay.yaml's, else NAME.sock in /run/ike-telescope",
    )
    .option('--json', 'report events as one JSON object per line')
    .option('--keylog <dir>', `${KEY_LOG_OPTION}; undoes the anonymity of every client`)
    .action(async (options: RelayCommandOptions) => {
      const load = () => {
        const loaded = loadRelayConfig(options.config, defaultProvider());
        const { backend = loaded.backend, control = loaded.control } = options;
        return { ...loaded, backend, control: control && resolve(control) };
      };
      if (options.descriptor) process.stdout.write(load().descriptor);
      else
        await runRelay(
          load,
          options.keylog,
          options.json ? (event) => printLine(JSON.stringify(event)) : (event) => printLine(describe(event)),
        );
    });
}

async function runRelay(
  load: () => RelayConfig,
  keyLogDirectory: string | undefined,
  report: (event: RelayEvent) => void,
): Promise<void> {
  const config = load();
  const keyLog =
    keyLogDirectory === undefined ? undefined : openKeyLog(keyLogDirectory, 'every client of this relay');
  const stopped = Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')]);
  const loaded = loadNative();
  const native = 'native' in loaded ? loaded.native : undefined;
  const relay = await Relay.open({
    config,
    crypto: defaultProvider(),
    clock: systemClock,
    native,
    ...(keyLog !== undefined && { keyLog }),
  });
  const reload = () => {
    try {
      const changed = relay.reload(load());
      report({ event: 'reloaded', changed });
      return changed;
    } catch (error) {
      report({ event: 'reload-failed', problem: (error as Error).message });
      throw new MethodError((error as Error).message);
    }
  };
  const closeServices = await openRelayServices(relay, config, reload, warn).catch(async (error) => {
    await relay.close();
    throw error;
  });
  const onHangUp = () => {
    try {
      reload();
    } catch {} // has been reported
  };
  process.on('SIGHUP', onHangUp);
  tellService(native, 'READY=1');
  report({ event: 'listening', relay: config.own.name, keyId: config.own.keyId });
  const answer = (message: unknown) => {
    if ((message as { type?: unknown } | null)?.type === 'state')
      tell({ type: 'state', state: relay.state() });
  };
  process.on('message', answer);
  tell({ type: 'ready' });
  const watch = watchState(() => relay.state(), report);
  await stopped;
  tellService(native, 'STOPPING=1');
  clearInterval(watch);
  process.off('message', answer);
  process.off('SIGHUP', onHangUp);
  await closeServices();
  await relay.close();
  keyLog?.close();
  report({ event: 'closed' });
  if (process.connected) process.disconnect();
}

/** Reports what has changed since the last look, to the operator and to a parent process. */
function watchState(state: () => RelayState, report: (event: RelayEvent) => void): NodeJS.Timeout {
  const reported = new Map<string, OverlayEvent>();
  let exitProblem: string | undefined;
  const look = () => {
    const now = state();
    let changed = false;
    for (const { peer, up, problem } of now.overlays) {
      const before = reported.get(peer);
      const wasUp = before?.up ?? false;
      if (wasUp === (up !== undefined) && before?.problem === problem) continue;
      const event = { event: 'overlay', peer, up: up !== undefined, problem } as const;
      reported.set(peer, event);
      report(event);
      changed ||= wasUp !== event.up;
    }
    const up = now.overlays.filter((overlay) => overlay.up !== undefined).length;
    if (changed) tell({ type: 'overlays', up, total: now.overlays.length });
    if (now.exitProblem !== undefined && exitProblem === undefined) {
      exitProblem = now.exitProblem;
      report({ event: 'exit', problem: exitProblem });
    }
  };
  return setInterval(look, WATCH_INTERVAL);
}

function describe(event: RelayEvent): string {
  switch (event.event) {
    case 'listening':
      return `relay ${event.relay} (key id ${event.keyId}) is listening`;
    case 'overlay':
      return `overlay tunnel to ${event.peer} is ${event.up ? 'up' : 'down'}${event.problem ? `: ${event.problem}` : ''}`;
    case 'exit':
      return `exit has failed: ${event.problem}`;
    case 'reloaded':
      return event.changed.length === 0 ? 'nothing has changed' : `changed: ${event.changed.join(', ')}`;
    case 'reload-failed':
      return `not reloaded: ${event.problem}`;
    case 'closed':
      return 'closed';
  }
}

function warn(problem: string): void {
  process.stderr.write(`ike-telescope: ${problem}\n`);
}

function printLine(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** What a parent process that opened an IPC channel is told. */
function tell(
  message:
    | { readonly type: 'ready' }
    | { readonly type: 'overlays'; readonly up: number; readonly total: number }
    | { readonly type: 'state'; readonly state: RelayState },
): void {
  if (process.connected) process.send!(message, undefined, undefined, () => {});
}
