import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
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
import { leaveHalfOpen } from './half-open.ts';
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

/** Milliseconds that a request to the daemon may take, and its start. */
const PATIENCE = 15_000;
const PATIENCE_AT_START = 60_000;

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
  readonly #process: ChildProcess;
  readonly #socket: string;
  #log = '';

  private constructor(process: ChildProcess) {
    this.#process = process;
    this.#socket = `/proc/${process.pid}/root/mnt${SOCKET}`;
    for (const stream of [process.stdout, process.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#log += text;
      });
    }
  }

  static async start(root: string, namespace: NetworkNamespace, connection: Connection): Promise<Daemon> {
    const requests = connectionRequests(connection);
    const daemon = new Strongswan(
      namespace.spawn(
        [
          ...['unshare', '--mount', '--pid', '--fork', '--kill-child', '--'],
          ...['sh', '-c', IN_ROOT, 'sh', root, daemonConfig(connection, SOCKET)],
        ],
        { stdio: ['ignore', 'pipe', 'pipe'] },
      ),
    );
    try {
      await daemon.#answers();
      for (const [request, message] of requests) await daemon.#ask(request, message);
      if (connection.cookies) await leaveHalfOpen(namespace);
    } catch (error) {
      await daemon.close();
      throw error;
    }
    return daemon;
  }

  async initiate(): Promise<void> {
    await this.#ask('initiate', { child: CONNECTION, ike: CONNECTION, timeout: String(PATIENCE) });
  }

  async rekey(what: 'ike' | 'child'): Promise<void> {
    await this.#ask('rekey', { [what]: CONNECTION });
  }

  async reauthenticate(): Promise<void> {
    await this.#ask('rekey', { ike: CONNECTION, reauth: 'yes' });
  }

  async terminate(what: 'ike' | 'child'): Promise<void> {
    await this.#ask('terminate', { [what]: CONNECTION, timeout: String(PATIENCE) });
  }

  async sas(): Promise<DaemonSas> {
    const { events } = await this.#ask('list-sas', {}, 'list-sa');
    return strongswanSas(events);
  }

  async log(): Promise<string> {
    return this.#log;
  }

  async close(): Promise<void> {
    if (this.#hasEnded) return;
    const end = once(this.#process, 'exit');
    this.#process.kill('SIGKILL');
    await end;
  }

  get #hasEnded(): boolean {
    return this.#process.exitCode !== null || this.#process.signalCode !== null;
  }

  async #ask(request: string, message?: Section, event?: string): Promise<Answer> {
    try {
      return await vici(this.#socket, request, message, event);
    } catch (error) {
      await delay(100); // what it has logged may come after its answer
      throw this.#failure(error);
    }
  }

  /** Waits until it answers. @throws DaemonError if it ends instead, or if that takes long */
  async #answers(): Promise<void> {
    for (const deadline = Date.now() + PATIENCE_AT_START; ; await delay(20)) {
      try {
        await vici(this.#socket, 'version');
        return;
      } catch (error) {
        if (this.#hasEnded || Date.now() > deadline) throw this.#failure(error);
      }
    }
  }

  #failure(error: unknown): DaemonError {
    const lines = this.#log.trimEnd().split('\n').slice(-25);
    return new DaemonError([(error as Error).message, ...lines].join('\n'));
  }
}
