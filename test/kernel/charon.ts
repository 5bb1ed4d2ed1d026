import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../../src/host/command.ts';
import type { NetworkNamespace } from '../../src/host/namespace.ts';
import { SLOWNESS } from '../guest/slowness.ts';
import { CharonProcess } from '../interop/daemons/charon-process.ts';
import type { ReceivedSection, Section } from '../interop/daemons/vici.ts';

/** What it says goes to standard error, and it is told what to do through a file of ours. */
const DAEMON_CONF = `
charon-systemd {
  journal { default = -1 }
  filelog { stderr { default = 1 } }
  plugins { vici { socket = unix:///run/vici } }
}
`;

/** Runs the daemon in the root folder $1. Its /etc has the files of $2 besides its own, its /run is $3; it cannot write elsewhere. */
const IN_ROOT = `
set -eu
mount --bind "$1" /mnt
mount -o remount,bind,ro /mnt
mount -t overlay etc /mnt/etc -o ro,lowerdir="$2":/mnt/etc
mount --rbind /dev /mnt/dev
mount -t proc proc /mnt/proc
mount --bind "$3" /mnt/run
exec chroot /mnt /usr/sbin/charon-systemd
`;

const LOAD = 'exec chroot /mnt /usr/sbin/swanctl --load-all --noprompt --uri unix:///run/vici';

/** Milliseconds that a request may take. */
const PATIENCE = 60_000 * SLOWNESS;

export interface CharonOptions {
  /** A folder with strongSwan, see `strongswanRoot`. */
  readonly root: string;
  readonly namespace: NetworkNamespace;
  /** Files that belong into /etc. */
  readonly etc: string;
}

/** A strongSwan daemon as Debian ships it, with the kernel's ESP, in a network namespace. */
export class Charon {
  readonly #charon: CharonProcess;

  private constructor(charon: CharonProcess) {
    this.#charon = charon;
  }

  /** Resolves when it has its configuration. @throws DaemonError */
  static async start({ root, namespace, etc }: CharonOptions): Promise<Charon> {
    const files = `${etc}.run`;
    mkdirSync(files);
    mkdirSync(join(etc, 'strongswan.d'), { recursive: true });
    writeFileSync(join(etc, 'strongswan.d/zz-daemon.conf'), DAEMON_CONF);
    const child = namespace.spawn(
      [
        ...['unshare', '--mount', '--pid', '--fork', '--kill-child', '--'],
        ...['sh', '-c', IN_ROOT, 'sh', root, etc, files],
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    const charon = await CharonProcess.of(child, join(files, 'vici'));
    const { stdout, stderr } = await run(['nsenter', '-t', String(child.pid), '-m', '--', 'sh', '-c', LOAD]);
    if (!/successfully loaded \d+ connections/.test(stdout)) throw charon.failure(new Error(stdout + stderr));
    return new Charon(charon);
  }

  /** Sets up a Child SA and its IKE SA, which have the same name here. @throws DaemonError */
  async initiate(name: string): Promise<void> {
    await this.ask('initiate', { child: name, timeout: String(PATIENCE) });
  }

  /** What it says of its IKE SAs. @throws DaemonError */
  async sas(): Promise<readonly ReceivedSection[]> {
    const { events } = await this.#charon.ask('list-sas', {}, 'list-sa');
    return events;
  }

  /** @throws DaemonError with the end of its log */
  async ask(request: string, message?: Section): Promise<void> {
    await this.#charon.ask(request, message);
  }

  close(): Promise<void> {
    return this.#charon.close();
  }
}
