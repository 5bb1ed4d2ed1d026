import { Command } from 'commander';
import { ControlClient } from '../control/client.ts';
import { onlySocket } from '../control/socket-path.ts';
import type { RelayListing, RelayStatus } from '../relay/control.ts';

interface ControlOptions {
  readonly socket?: string;
  readonly json?: true;
  readonly addresses?: true;
}

type Print = (result: unknown) => string;

/** The commands that ask a running relay, by its control socket. */
export function controlCommands(): readonly Command[] {
  return [
    asking('status', 'tell how a running relay is', (status) => statusText(status as RelayStatus)),
    asking('list', 'list its clients and overlay tunnels', (listing) =>
      listingText(listing as RelayListing),
    ).option('--addresses', 'with the addresses of clients, which are secrets of theirs'),
    watchCommand(),
    asking('close', 'close a client or an overlay tunnel', () => 'closed\n').argument(
      '<id>',
      'as list tells it',
    ),
    asking('reload', 'read its relay.yaml again', (result) => reloadText(result as { changed: string[] })),
  ];
}

function asking(name: string, description: string, print: Print): Command {
  return controlCommand(name, description).action(async (...args: unknown[]) => {
    const command = args.at(-1) as Command;
    const { socket, json, ...params } = command.opts<ControlOptions>();
    const [id] = command.args;
    const client = await ControlClient.connect(socket ?? onlySocket());
    try {
      const result = await client.call(name, { ...params, ...(id !== undefined && { id }) });
      process.stdout.write(json ? `${JSON.stringify(result)}\n` : print(result));
    } finally {
      await client.close();
    }
  });
}

function watchCommand(): Command {
  return controlCommand('watch', 'tell how it is, and again whenever that changes, until SIGINT').action(
    async ({ socket, json }: ControlOptions) => {
      const client = await ControlClient.connect(socket ?? onlySocket(), ({ params }) => {
        process.stdout.write(json ? `${JSON.stringify(params)}\n` : `${summary(params as RelayStatus)}\n`);
      });
      const stop = () => void client.close();
      process.once('SIGINT', stop).once('SIGTERM', stop);
      await client.call('watch');
      await client.closed;
    },
  );
}

function controlCommand(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .option(
      '--socket <path>',
      'its control socket; default: the only one in /run/ike-telescope, or $XDG_RUNTIME_DIR/ike-telescope',
    )
    .option('--json', 'print JSON');
}

function summary({ clients, halfOpen, overlays, traffic, exitProblem }: RelayStatus): string {
  const { octetsIn, octetsOut } = traffic.clients;
  return [
    `clients ${clients}`,
    `half-open ${halfOpen}`,
    `overlays ${overlays.up} of ${overlays.total}`,
    `from clients ${amount(octetsIn)}, to them ${amount(octetsOut)}`,
    ...(exitProblem === undefined ? [] : [`exit has failed: ${exitProblem}`]),
  ].join(', ');
}

function statusText(status: RelayStatus): string {
  const { name, keyId, version, backend, uptime, handshakes, drops } = status;
  const counts = (counted: object) =>
    Object.entries(counted)
      .filter(([, count]) => count > 0)
      .map(([what, count]) => `${what} ${count}`)
      .join(', ') || 'none';
  return [
    `relay ${name} (key id ${keyId}), ${backend}, version ${version}, up ${duration(uptime)}`,
    summary(status),
    `handshakes: ${counts(handshakes)}`,
    `dropped: ${counts(drops)}`,
    '',
  ].join('\n');
}

function listingText({ clients, overlays }: RelayListing): string {
  const lines = [
    ...overlays.map(({ id, peer, up, problem }) => [
      'overlay',
      id,
      peer,
      up ? 'up' : `down${problem ? `: ${problem}` : ''}`,
    ]),
    ...clients.map(({ id, overlayPeer, address, assigned }) => [
      'client',
      id,
      ...(overlayPeer === undefined ? [] : [`through ${overlayPeer}`]),
      ...(address === undefined ? [] : [`from ${address}`]),
      ...(assigned === undefined ? [] : [[assigned.ip4, assigned.ip6?.address].filter(Boolean).join(' ')]),
    ]),
  ];
  return lines.map((line) => `${line.join('  ')}\n`).join('');
}

function reloadText({ changed }: { readonly changed: readonly string[] }): string {
  return changed.length === 0 ? 'nothing has changed\n' : `changed: ${changed.join(', ')}\n`;
}

/** @param octets - how many */
function amount(octets: number): string {
  const units = ['octets', 'kB', 'MB', 'GB', 'TB'];
  const unit = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(octets, 1)) / 3));
  return `${unit === 0 ? octets : (octets / 1_000 ** unit).toFixed(1)} ${units[unit]}`;
}

/** @param seconds - whole */
function duration(seconds: number): string {
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7_200) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3_600)} h`;
  return `${Math.floor(seconds / 86_400)} days`;
}
