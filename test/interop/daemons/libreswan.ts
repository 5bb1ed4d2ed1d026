import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { run } from '../../../src/host/command.ts';
import type { NetworkNamespace } from '../../../src/host/namespace.ts';
import { programEnvironment } from '../../../src/host/programs.ts';
import { isInGuest } from '../../guest/guest.ts';
import { type Connection, type Daemon, DaemonError, type DaemonName, type Installation } from './daemon.ts';
import { CONNECTION, ipsecConf, ipsecSecrets } from './libreswan-config.ts';
import { KeyDatabases } from './libreswan-keys.ts';
import { libreswanStates, spisOf } from './libreswan-sas.ts';
import { recordWhack, replayWhack } from './recorded-whack.ts';
import { type RootContents, rootFolder } from './root.ts';

const SUITES = {
  'libreswan-4.10': 'bookworm',
  'libreswan-5.2': 'trixie',
} as const satisfies Partial<Record<DaemonName, RootContents['suite']>>;

const PACKAGES = ['libreswan', 'libnss3-tools', 'openssl', 'iproute2', 'dash', 'coreutils', 'sed', 'grep'];

const LIBEXEC = '/usr/libexec/ipsec';

/** What the root folder $1 has to have for its programs, besides what is unpacked there. */
const DEVICES = `
mountpoint -q "$1/proc" && exit
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
`;

/** Gives it the address that it is assigned; all else about packets is in the kernel's policies. */
const UPDOWN = `#!/bin/sh
case $PLUTO_VERB in up-client*) ip address add "$PLUTO_MY_SOURCEIP" dev lo ;; esac
`;

/** What the two call the same. */
const REKEY = {
  'libreswan-4.10': { ike: '--rekey-ike', child: '--rekey-ipsec' },
  'libreswan-5.2': { ike: '--rekey-ike', child: '--rekey-child' },
} as const;
/** How they spell the names of faults, before values. */
const SPELLING = {
  'libreswan-4.10': (fault: string) => fault.replace(/^[^:]*/, (word) => word.replaceAll('_', '-')),
  'libreswan-5.2': (fault: string) => fault.replace(/^[^:]*/, (word) => word.replaceAll('-', '_')),
} as const;

/** Lines of the log that only debugging brings, of which we want the SPIs in the headers of messages. */
const DEBUG = /^.*: \|.*\n/gm;

/** What it says of a configuration that it does not take, or takes in part. */
const REFUSED =
  /(?:bad subnet .*|ERROR: \S+ipsec.conf: \d+: .*|.*failed to add connection: .*|.*invalid, keyword ignored: .*|.*did not load properly)/;

/** Milliseconds that a request to the daemon may take. */
const PATIENCE = 18_000;
/** And its start: in a guest on a busy machine several start at once, and try all their algorithms. */
const PATIENCE_AT_START = 60_000;

/** Installs a version of libreswan, if it is not yet. It has no ESP of its own: only in a guest will it start. @throws CommandError */
export async function installLibreswan(name: keyof typeof SUITES): Promise<Installation> {
  const root = await rootFolder({ name, suite: SUITES[name], packages: PACKAGES });
  if (isInGuest()) await run(['sh', '-c', DEVICES, 'sh', root]);
  const output = await succeedInRoot(root, [`${LIBEXEC}/pluto`, '--version']);
  const version = /Libreswan [\d.]+/.exec(output)?.[0];
  if (version === undefined) throw new DaemonError(`pluto does not say which version it is: ${output}`);
  if (!isInGuest())
    return { name, version, start: () => Promise.reject(new DaemonError('libreswan runs in a guest')) };
  const folder = await mkdtemp(`${root}/run/whack-`);
  const status = ['--rundir', folder.slice(root.length), '--status', '--trafficstatus'];
  const program = {
    name,
    root,
    keys: new KeyDatabases(root, (command) => succeedInRoot(root, command)),
    askStates: await recordWhack(`${folder}/pluto.ctl`, () => inRoot(root, [`${LIBEXEC}/whack`, ...status])),
  };
  return { name, version, start: (namespace, connection) => start(program, namespace, connection) };
}

/** What all daemons of a version have in common. */
interface Program {
  readonly name: keyof typeof SUITES;
  readonly root: string;
  readonly keys: KeyDatabases;
  /** As `whack` asks for the states. */
  readonly askStates: Uint8Array;
}

/** What a program in a root folder said. @throws DaemonError if it fails */
async function succeedInRoot(root: string, command: readonly string[]): Promise<string> {
  const { output, status } = await inRoot(root, command);
  if (status !== 0) throw new DaemonError(`${command.join(' ')} (${status}): ${output}`);
  return output;
}

/** What a program in a root folder said, on both outputs, and its status: null if it was ended. */
async function inRoot(
  root: string,
  command: readonly string[],
): Promise<{ output: string; status: number | null }> {
  const child = spawn('chroot', [root, ...command], {
    env: programEnvironment(),
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: PATIENCE,
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  const [status] = (await once(child, 'close')) as [number | null];
  return { output, status };
}

async function start(
  { name, root, keys, askStates }: Program,
  namespace: NetworkNamespace,
  connection: Connection,
): Promise<Daemon> {
  const folder = await mkdtemp(`${root}/run/pluto-`);
  const inside = folder.slice(root.length);
  await writeFile(`${folder}/ipsec.conf`, ipsecConf(connection, `${inside}/updown`));
  await writeFile(`${folder}/ipsec.secrets`, ipsecSecrets(connection));
  await writeFile(`${folder}/updown`, UPDOWN, { mode: 0o755 });
  await cp(await keys.of(connection), `${folder}/keys`, { recursive: true });
  const process = namespace.spawn(
    [
      ...['chroot', root, `${LIBEXEC}/pluto`, '--nofork', '--stderrlog', '--log-no-time', '--use-xfrm'],
      ...['--config', `${inside}/ipsec.conf`, '--secretsfile', `${inside}/ipsec.secrets`],
      ...['--nssdir', `${inside}/keys`, '--rundir', inside, '--dumpdir', inside],
      ...['revival', ...(connection.impair ?? [])].flatMap((fault) => ['--impair', SPELLING[name](fault)]),
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
  const said = () => log.replaceAll(DEBUG, '');
  const failure = (message: string) =>
    new DaemonError(`${message}\n${said().split('\n').slice(-30).join('\n')}`);
  const until = async <T>(
    what: string,
    ready: () => T | undefined | false,
    patience = PATIENCE_AT_START,
  ): Promise<T> => {
    for (const deadline = Date.now() + patience; ; await delay(10)) {
      const value = ready();
      if (value !== undefined && value !== false) return value;
      if (process.exitCode !== null || process.signalCode !== null)
        throw failure(`libreswan has ended (${process.signalCode ?? process.exitCode})`);
      if (Date.now() > deadline) throw failure(`no ${what} of libreswan`);
    }
  };
  const whack = async (...args: string[]) => {
    const { output, status } = await inRoot(root, [`${LIBEXEC}/whack`, '--rundir', inside, ...args]);
    if (status !== 0) throw failure(`whack ${args.join(' ')} (${status}): ${output}`);
    return output;
  };
  const states = async () => libreswanStates(await replayWhack(`${folder}/pluto.ctl`, askStates, PATIENCE));
  const spis = async (number: number) => {
    const known = spisOf(number, log);
    if (known !== undefined) return known;
    await whack('--impair', SPELLING[name](`initiate-v2-liveness:${number}`));
    return until('liveness check', () => spisOf(number, log), PATIENCE);
  };
  const close = async () => {
    if (process.exitCode === null && process.signalCode === null) process.kill('SIGKILL');
    await ended;
    // Programs that it had started may have them open for longer.
    for (const stream of [process.stdout, process.stderr]) stream?.destroy();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await until('sockets', () => log.includes('loading secrets from'));
    await until('connection', () => log.includes(`"${CONNECTION}": added`) || REFUSED.test(log));
    const refusal = REFUSED.exec(log);
    if (refusal !== null) throw failure(`libreswan does not take its configuration: ${refusal[0]}`);
  } catch (error) {
    await close();
    throw error;
  }
  return {
    async initiate() {
      await whack('--initiate', '--name', CONNECTION);
    },
    async rekey(what) {
      await whack(REKEY[name][what], '--name', CONNECTION, '--asynchronous');
    },
    reauthenticate: () => Promise.reject(new DaemonError('libreswan has no command that reauthenticates')),
    async terminate(what) {
      const { ike, children } = await states();
      const number = what === 'ike' ? ike?.number : children[0]?.number;
      if (number === undefined) throw new DaemonError(`there is no ${what} SA`);
      await whack('--deletestate', `${number}`);
    },
    async sas() {
      const { ike, children } = await states();
      return {
        ike: ike && { ...(await spis(ike.number)), suite: ike.suite },
        children: children.map(({ number: _, ...child }) => child),
      };
    },
    log: async () => said(),
    close,
  };
}
