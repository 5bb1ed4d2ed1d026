import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { run } from '../../../src/host/command.ts';
import type { NetworkNamespace } from '../../../src/host/namespace.ts';
import {
  type Connection,
  type Daemon,
  DaemonError,
  type DaemonName,
  type DaemonSas,
  type Installation,
} from './daemon.ts';
import { type RootContents, rootFolder } from './root.ts';
import { CONNECTION, connectionRequests, daemonConfig } from './strongswan-config.ts';
import { strongswanSas } from './strongswan-sas.ts';
import { type Answer, type Section, vici } from './vici.ts';

const SUITES = {
  'strongswan-5.9': 'bookworm',
  'strongswan-6.0': 'trixie',
  'strongswan-6.1': 'forky',
} as const satisfies Partial<Record<DaemonName, RootContents['suite']>>;

const PACKAGES = [
  'charon-systemd',
  'strongswan-swanctl',
  'libstrongswan-standard-plugins',
  'libstrongswan-extra-plugins',
  'libcharon-extra-plugins',
];

/** Runs the daemon in the root folder $1, which it cannot write to, with the configuration $2. */
const IN_ROOT = `
set -eu
mount --bind "$1" /mnt
mount -o remount,bind,ro /mnt
mount --rbind /dev /mnt/dev
mount -t proc proc /mnt/proc
mount -t tmpfs tmpfs /mnt/run
printf %s "$2" > /mnt/run/strongswan.conf
for filter in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > "$filter"; done
exec env STRONGSWAN_CONF=/run/strongswan.conf chroot /mnt /usr/sbin/charon-systemd
`;

const SOCKET = '/run/vici';

/** Milliseconds that a request to the daemon may take. */
const PATIENCE = 15_000;

/** Installs a version of strongSwan, if it is not yet. @throws CommandError */
export async function installStrongswan(name: keyof typeof SUITES): Promise<Installation> {
  const root = await rootFolder({ name, suite: SUITES[name], packages: PACKAGES });
  return {
    name,
    version: await versionIn(root),
    start: (namespace, connection) => start(root, namespace, connection),
  };
}

/** The program that says so would also like to speak to a daemon, and fails. */
async function versionIn(root: string): Promise<string> {
  const { stdout } = await run([
    'sh',
    '-c',
    'chroot "$1" /usr/sbin/swanctl --version 2>&1 || true',
    'sh',
    root,
  ]);
  const version = /strongSwan [\d.]+/.exec(stdout)?.[0];
  if (version === undefined) throw new DaemonError(`swanctl does not say which version it is: ${stdout}`);
  return version;
}

async function start(root: string, namespace: NetworkNamespace, connection: Connection): Promise<Daemon> {
  const requests = connectionRequests(connection);
  const process = namespace.spawn(
    [
      ...['unshare', '--mount', '--pid', '--fork', '--kill-child', '--'],
      ...['sh', '-c', IN_ROOT, 'sh', root, daemonConfig(connection, SOCKET)],
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let log = '';
  for (const stream of [process.stdout, process.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      log += text;
    });
  }
  const ended = once(process, 'exit');
  const path = `/proc/${process.pid}/root/mnt${SOCKET}`;
  const ask = async (request: string, message?: Section, event?: string): Promise<Answer> => {
    try {
      return await vici(path, request, message, event);
    } catch (error) {
      throw new DaemonError(`${(error as Error).message}\n${log.split('\n').slice(-25).join('\n')}`);
    }
  };
  const close = async () => {
    if (process.exitCode === null && process.signalCode === null) process.kill('SIGKILL');
    await ended;
  };
  try {
    await listening(
      path,
      () => process.exitCode !== null,
      () => log,
    );
    for (const [request, message] of requests) await ask(request, message);
  } catch (error) {
    await close();
    throw error;
  }
  const timeout = String(PATIENCE);
  return {
    async initiate() {
      await ask('initiate', { child: CONNECTION, ike: CONNECTION, timeout });
    },
    async rekey(what) {
      const { response } = await ask('rekey', { [what]: CONNECTION });
      if (response.matches === '0') throw new DaemonError(`there is no ${what} SA to rekey`);
    },
    async terminate(what) {
      await ask('terminate', { [what]: CONNECTION, timeout });
    },
    async sas(): Promise<DaemonSas> {
      const { events } = await ask('list-sas', { noblock: 'no' }, 'list-sa');
      return strongswanSas(events);
    },
    log: async () => log,
    close,
  };
}

async function listening(path: string, ended: () => boolean, log: () => string): Promise<void> {
  for (const deadline = Date.now() + PATIENCE; !existsSync(path); await delay(20)) {
    if (ended() || Date.now() > deadline) throw new DaemonError(`strongSwan does not start:\n${log()}`);
  }
}
