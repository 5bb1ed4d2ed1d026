import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { run } from '../../src/host/command.ts';
import type { NetworkNamespace } from '../../src/host/namespace.ts';
import { DaemonError } from '../interop/daemons/daemon.ts';
import { type ReceivedSection, type Section, vici } from '../interop/daemons/vici.ts';
import { pause } from '../interop/transfer.ts';

/** strongSwan's own: kernel-netlink, and neither routes nor addresses of its making. */
const STRONGSWAN_CONF = `
charon {
  load = random nonce openssl aes sha1 sha2 md5 hmac kdf mgf1 gcm ccm curve25519 pem pkcs1 pkcs8 pubkey x509 constraints kernel-netlink socket-default vici
  install_routes = no
  install_virtual_ip = no
  retransmit_timeout = 1
  retransmit_base = 1.4
  retransmit_tries = 5
  plugins { vici { socket = unix:///run/vici } }
}
charon-systemd {
  journal { default = -1 }
  filelog { stderr { default = 1 } }
}
swanctl { load = pem pkcs1 pkcs8 x509 pubkey openssl curve25519 sha1 sha2 random aes gcm }
`;

/** Runs the daemon in the root folder $1, which it cannot write to; $2 is its /run, with its files. */
const IN_ROOT = `
set -eu
mount --bind "$1" /mnt
mount -o remount,bind,ro /mnt
mount --rbind /dev /mnt/dev
mount -t proc proc /mnt/proc
mount --bind "$2" /mnt/run
exec env STRONGSWAN_CONF=/run/strongswan.conf SWANCTL_DIR=/run/swanctl chroot /mnt /usr/sbin/charon-systemd
`;

const LOAD =
  'STRONGSWAN_CONF=/run/strongswan.conf SWANCTL_DIR=/run/swanctl exec chroot /mnt /usr/sbin/swanctl --load-all --noprompt --uri unix:///run/vici';

/** Milliseconds that a request may take. */
const PATIENCE = 20_000;

export interface CharonOptions {
  /** A folder with strongSwan, see `strongswanRoot`. */
  readonly root: string;
  readonly namespace: NetworkNamespace;
  /** Made for it. */
  readonly directory: string;
  /** By their names in swanctl's folder: 'swanctl.conf', 'private/A.pem'. */
  readonly files: Readonly<Record<string, string>>;
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
  static async start({ root, namespace, directory, files }: CharonOptions): Promise<Charon> {
    mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, 'strongswan.conf'), STRONGSWAN_CONF);
    for (const [name, text] of Object.entries(files)) {
      const file = join(directory, 'swanctl', name);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, text, { mode: 0o600 });
    }
    const child = namespace.spawn(
      [
        'unshare',
        '--mount',
        '--pid',
        '--fork',
        '--kill-child',
        '--',
        'sh',
        '-c',
        IN_ROOT,
        'sh',
        root,
        directory,
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    const charon = new Charon(child, join(directory, 'vici'));
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
