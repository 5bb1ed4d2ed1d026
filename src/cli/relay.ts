import { once } from 'node:events';
import { Command } from 'commander';
import { defaultProvider } from '../crypto/default.ts';
import { systemClock } from '../endpoint/system-clock.ts';
import { loadNative } from '../native/load.ts';
import { loadRelayConfig, type RelayConfig } from '../relay/config.ts';
import { Relay, type RelayState } from '../relay/relay.ts';

/** How often a change of state is looked for, in milliseconds. */
const WATCH_INTERVAL = 200;

/** What a relay reports of itself; never an address or a key. */
type RelayEvent =
  | { readonly event: 'listening'; readonly relay: string; readonly keyId: string }
  | { readonly event: 'overlay'; readonly peer: string; readonly up: boolean }
  | { readonly event: 'clients'; readonly clients: number }
  | { readonly event: 'closed' };

export function relayCommand(): Command {
  return new Command('relay')
    .description('run a relay, until SIGINT or SIGTERM')
    .requiredOption('--config <file>', 'relay.yaml')
    .option('--descriptor', "print the relay's signed descriptor, for clients and other relays, and exit")
    .option('--json', 'report events as one JSON object per line')
    .action(async (options: { config: string; descriptor?: true; json?: true }) => {
      const config = loadRelayConfig(options.config, defaultProvider());
      if (options.descriptor) process.stdout.write(config.descriptor);
      else
        await runRelay(
          config,
          options.json ? (event) => printLine(JSON.stringify(event)) : (event) => printLine(describe(event)),
        );
    });
}

async function runRelay(config: RelayConfig, report: (event: RelayEvent) => void): Promise<void> {
  const stopped = Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')]);
  const loaded = loadNative();
  const relay = await Relay.open({
    config,
    crypto: defaultProvider(),
    clock: systemClock,
    native: 'native' in loaded ? loaded.native : undefined,
  });
  report({ event: 'listening', relay: config.own.name, keyId: config.own.keyId });
  const answer = (message: unknown) => {
    if ((message as { type?: unknown } | null)?.type === 'state')
      tell({ type: 'state', state: relay.state() });
  };
  process.on('message', answer);
  tell({ type: 'ready' });
  const watch = watchState(() => relay.state(), report);
  await stopped;
  clearInterval(watch);
  process.off('message', answer);
  await relay.close();
  report({ event: 'closed' });
  if (process.connected) process.disconnect();
}

/** Reports what has changed since the last look, to the operator and to a parent process. */
function watchState(state: () => RelayState, report: (event: RelayEvent) => void): NodeJS.Timeout {
  const up = new Set<string>();
  let clients = 0;
  const look = () => {
    const now = state();
    const changed = now.overlays.filter((overlay) => (overlay.up !== undefined) !== up.has(overlay.peer));
    for (const { peer, up: tunnel } of changed) {
      if (tunnel === undefined) up.delete(peer);
      else up.add(peer);
      report({ event: 'overlay', peer, up: tunnel !== undefined });
    }
    if (changed.length > 0) tell({ type: 'overlays', up: up.size, total: now.overlays.length });
    if (now.clients.length !== clients) {
      clients = now.clients.length;
      report({ event: 'clients', clients });
    }
  };
  return setInterval(look, WATCH_INTERVAL);
}

function describe(event: RelayEvent): string {
  switch (event.event) {
    case 'listening':
      return `relay ${event.relay} (key id ${event.keyId}) is listening`;
    case 'overlay':
      return `overlay tunnel to ${event.peer} is ${event.up ? 'up' : 'down'}`;
    case 'clients':
      return `clients: ${event.clients}`;
    case 'closed':
      return 'closed';
  }
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
