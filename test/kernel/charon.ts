import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../../src/host/command.ts';
import type { NetworkNamespace } from '../../src/host/namespace.ts';
import { DaemonError } from '../interop/daemons/daemon.ts';
import { type ReceivedSection, type Section, vici } from '../interop/daemons/vici.ts';
import { pause } from '../interop/transfer.ts';

/** What it says goes to standard error, and it is told what to do through a file of ours. */
const DAEMON_CONF = `
charon-systemd {
  journal { default = -1 }
  filelog { stderr { default = 1 } }
  plugins { vici { socket = unix:///run/vici } }
}
`;

/** Runs the daemon in the root folder $1, which it cannot write to. Its /etc has the files of $2 besides its own, its /run is $3. */
const IN_ROOT = `
set -eu
mount --bind "$1" /mnt
mount -o remount,bind,ro /mnt
mount -t tmpfs etc /mnt/tmp
cp -a /mnt/etc/. "$2"/. /mnt/tmp
mount --move /mnt/tmp /mnt/etc
printf %s "$4" > /mnt/etc/strongswan.d/zz-daemon.conf
mount --rbind /dev /mnt/dev
mount -t proc proc /mnt/proc
mount --bind "$3" /mnt/run
exec chroot /mnt /usr/sbin/charon-systemd
`;

const LOAD = 'exec chroot /mnt /usr/sbin/swanctl --load-all --noprompt --uri unix:///run/vici';

/** Milliseconds that a request may take. */
const PATIENCE = 60_000;

export interface CharonOptions {
  /** A folder with strongSwan, see `strongswanRoot`. */
  readonly root: string;
  readonly namespace: NetworkNamespace;
  /** Files that belong into /etc. */
  readonly etc: string;
}

/** A strongSwan daemon as Debian ships it, with the kernel's ESP, in a network namespace. */
export class Charon {
  readonly #process: ChildProcess;
  readonly #socket: string;
  #log = '';

  private constructor(process: ChildProcess, socket: string) {
    this.#process = process;
    this.#socket = socket;
    process.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#log += text;
    });
  }

  /** Resolves when it has its configuration. @throws DaemonError */
  static async start({ root, namespace, etc }: CharonOptions): Promise<Charon> {
    const files = `${etc}.run`;
    mkdirSync(files);
    const child = namespace.spawn(
      [
        ...['unshare', '--mount', '--pid', '--fork', '--kill-child', '--'],
        ...['sh', '-c', IN_ROOT, 'sh', root, etc, files, DAEMON_CONF],
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    const charon = new Charon(child, join(files, 'vici'));
    await charon.#answers();
    const { stdout, stderr } = await run(['nsenter', '-t', String(child.pid), '-m', '--', 'sh', '-c', LOAD]);
    if (!/successfully loaded \d+ connections/.test(stdout))
      throw charon.#failure(new Error(stdout + stderr));
    return charon;
  }

  /** Sets up a Child SA and its IKE SA, which have the same name here. @throws DaemonError */
  async initiate(name: string): Promise<void> {
    await this.ask('initiate', { child: name, timeout: String(PATIENCE) });
  }

  /** What it says of its IKE SAs. */
  async sas(): Promise<readonly ReceivedSection[]> {
    const { events } = await vici(this.#socket, 'list-sas', {}, 'list-sa');
    return events;
  }

  /** @throws DaemonError with the end of its log */
  async ask(request: string, message: Section = {}): Promise<void> {
    try {
      await vici(this.#socket, request, message);
    } catch (error) {
      await pause(100); // what it has logged may come after its answer
      throw this.#failure(error as Error);
    }
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

  async #answers(): Promise<void> {
    for (const deadline = Date.now() + PATIENCE; ; await pause(20)) {
      try {
        await vici(this.#socket, 'version');
        return;
      } catch (error) {
        if (this.#hasEnded || Date.now() > deadline) throw this.#failure(error as Error);
      }
    }
  }

  #failure(error: Error): DaemonError {
    return new DaemonError([error.message, ...this.#log.trimEnd().split('\n').slice(-25)].join('\n'));
  }
}
