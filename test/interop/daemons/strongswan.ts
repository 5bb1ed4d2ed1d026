import { run } from '../../../src/host/command.ts';
import type { NetworkNamespace } from '../../../src/host/namespace.ts';
import { CharonProcess } from './charon-process.ts';
import {
  type Connection,
  type Daemon,
  DaemonError,
  type DaemonName,
  type DaemonSas,
  type Installation,
} from './daemon.ts';
import { leaveHalfOpen } from './half-open.ts';
import { type RootContents, rootFolder } from './root.ts';
import { CONNECTION, connectionRequests, daemonConfig } from './strongswan-config.ts';
import { strongswanSas } from './strongswan-sas.ts';

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
  const root = await strongswanRoot(name);
  return {
    name,
    version: await versionIn(root),
    start: (namespace, connection) => Strongswan.start(root, namespace, connection),
  };
}

/** A root folder with a version of strongSwan. @throws CommandError */
export function strongswanRoot(name: keyof typeof SUITES): Promise<string> {
  return rootFolder({ name, suite: SUITES[name], packages: PACKAGES });
}

/** The program that says so would also like to speak to a daemon, and fails. */
async function versionIn(root: string): Promise<string> {
  const command = 'chroot "$1" /usr/sbin/swanctl --version 2>&1 || true';
  const { stdout } = await run(['sh', '-c', command, 'sh', root]);
  const version = /strongSwan [\d.]+/.exec(stdout)?.[0];
  if (version === undefined) throw new DaemonError(`swanctl does not say which version it is: ${stdout}`);
  return version;
}

class Strongswan implements Daemon {
  readonly #charon: CharonProcess;

  private constructor(charon: CharonProcess) {
    this.#charon = charon;
  }

  static async start(root: string, namespace: NetworkNamespace, connection: Connection): Promise<Daemon> {
    const requests = connectionRequests(connection);
    const child = namespace.spawn(
      [
        ...['unshare', '--mount', '--pid', '--fork', '--kill-child', '--'],
        ...['sh', '-c', IN_ROOT, 'sh', root, daemonConfig(connection, SOCKET)],
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    const charon = await CharonProcess.of(child, `/proc/${child.pid}/root/mnt${SOCKET}`);
    try {
      for (const [request, message] of requests) await charon.ask(request, message);
      if (connection.cookies) await leaveHalfOpen(namespace);
    } catch (error) {
      await charon.close();
      throw error;
    }
    return new Strongswan(charon);
  }

  async initiate(): Promise<void> {
    await this.#charon.ask('initiate', { child: CONNECTION, ike: CONNECTION, timeout: String(PATIENCE) });
  }

  async rekey(what: 'ike' | 'child'): Promise<void> {
    await this.#charon.ask('rekey', { [what]: CONNECTION });
  }

  async reauthenticate(): Promise<void> {
    await this.#charon.ask('rekey', { ike: CONNECTION, reauth: 'yes' });
  }

  async terminate(what: 'ike' | 'child'): Promise<void> {
    await this.#charon.ask('terminate', { [what]: CONNECTION, timeout: String(PATIENCE) });
  }

  async sas(): Promise<DaemonSas> {
    const { events } = await this.#charon.ask('list-sas', {}, 'list-sa');
    return strongswanSas(events);
  }

  async log(): Promise<string> {
    return this.#charon.log;
  }

  close(): Promise<void> {
    return this.#charon.close();
  }
}
