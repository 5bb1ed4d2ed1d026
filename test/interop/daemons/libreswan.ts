import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { NetworkNamespace } from '../../../src/host/namespace.ts';
import { programEnvironment } from '../../../src/host/programs.ts';
import { type Connection, type Daemon, DaemonError, type DaemonName, type Installation } from './daemon.ts';
import { CONNECTION, FOLDER, ipsecConf, ipsecSecrets, KEYS } from './libreswan-config.ts';
import { libreswanStates, spisOf } from './libreswan-sas.ts';
import { type RootContents, rootFolder } from './root.ts';

const SUITES = {
  'libreswan-4.10': 'bookworm',
  'libreswan-5.2': 'trixie',
} as const satisfies Partial<Record<DaemonName, RootContents['suite']>>;

const PACKAGES = ['libreswan', 'libnss3-tools', 'openssl', 'iproute2', 'dash', 'coreutils', 'sed', 'grep'];

const LIBEXEC = '/usr/libexec/ipsec';

/** Enters the root folder $1, which it cannot write to, and runs the daemon there when it is told that its files are in place. */
const IN_ROOT = `
set -eu
mount --bind "$1" /mnt
mount -o remount,bind,ro /mnt
mount --rbind /dev /mnt/dev
mount -t proc proc /mnt/proc
mount -t tmpfs tmpfs /mnt/run
mkdir /mnt${FOLDER} /mnt${FOLDER}/keys
echo ready
read -r go
exec chroot /mnt ${LIBEXEC}/pluto --nofork --stderrlog --log-no-time --use-xfrm --config ${FOLDER}/ipsec.conf --secretsfile ${FOLDER}/ipsec.secrets --nssdir ${FOLDER}/keys
`;

/** What the two call the same. */
const REKEY = {
  'libreswan-4.10': { ike: '--rekey-ike', child: '--rekey-ipsec' },
  'libreswan-5.2': { ike: '--rekey-ike', child: '--rekey-child' },
} as const;
const INITIATE_LIVENESS = {
  'libreswan-4.10': 'initiate-v2-liveness',
  'libreswan-5.2': 'initiate_v2_liveness',
} as const;

/** Lines of the log that only debugging brings, of which we want the SPIs in the headers of messages. */
const DEBUG = /^.*: \|.*\n/gm;

/** Milliseconds that a request to the daemon may take. */
const PATIENCE = 18_000;

/** Installs a version of libreswan, if it is not yet; it runs where the kernel has ESP. @throws CommandError */
export async function installLibreswan(name: keyof typeof SUITES): Promise<Installation> {
  const root = await rootFolder({ name, suite: SUITES[name], packages: PACKAGES });
  const { output } = await inRoot(root, [`${LIBEXEC}/pluto`, '--version']);
  const version = /Libreswan [\d.]+/.exec(output)?.[0];
  if (version === undefined) throw new DaemonError(`pluto does not say which version it is: ${output}`);
  return { name, version, start: (namespace, connection) => start(name, root, namespace, connection) };
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
  name: keyof typeof SUITES,
  root: string,
  namespace: NetworkNamespace,
  connection: Connection,
): Promise<Daemon> {
  const process = namespace.spawn(
    ['unshare', '--mount', '--pid', '--kill-child', '--', 'sh', '-c', IN_ROOT, 'sh', root],
    { stdio: ['pipe', 'pipe', 'pipe'] },
  );
  let log = '';
  for (const stream of [process.stdout, process.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      log += text;
    });
  }
  const ended = once(process, 'exit');
  const inside = `/proc/${process.pid}/root/mnt`;
  const said = () => log.replaceAll(DEBUG, '');
  const failure = (message: string) =>
    new DaemonError(`${message}\n${said().split('\n').slice(-30).join('\n')}`);
  const until = async <T>(what: string, ready: () => T | undefined | false): Promise<T> => {
    for (const deadline = Date.now() + PATIENCE; ; await delay(10)) {
      const value = ready();
      if (value !== undefined && value !== false) return value;
      if (process.exitCode !== null || Date.now() > deadline) throw failure(`no ${what} of libreswan`);
    }
  };
  const command = async (program: string, ...args: string[]) => {
    const { output, status } = await inRoot(inside, [program, ...args]);
    if (status !== 0) throw failure(`${program} ${args.join(' ')} (${status}): ${output}`);
    return output;
  };
  const whack = (...args: string[]) => command(`${LIBEXEC}/whack`, ...args);
  const states = async () => {
    const [status, traffic] = await Promise.all([whack('--status'), whack('--trafficstatus')]);
    return libreswanStates(status, traffic);
  };
  const spis = async (number: number) => {
    const known = spisOf(number, log);
    if (known !== undefined) return known;
    await whack('--impair', `${INITIATE_LIVENESS[name]}:${number}`);
    return until('liveness check', () => spisOf(number, log));
  };
  const close = async () => {
    if (process.exitCode === null && process.signalCode === null) process.kill('SIGKILL');
    await ended;
  };
  try {
    await until('root folder', () => log.includes('ready\n'));
    const file = (path: string, content: string) => writeFile(`${inside}${FOLDER}/${path}`, content);
    await file('ipsec.conf', ipsecConf(connection));
    await file('ipsec.secrets', ipsecSecrets(connection));
    await makeKeys(connection, file, command);
    process.stdin?.write('go\n');
    await until('sockets', () => log.includes('loading secrets from'));
    const added = await command(`${LIBEXEC}/addconn`, '--config', `${FOLDER}/ipsec.conf`, CONNECTION);
    if (!(await whack('--status')).includes(`"${CONNECTION}": `)) throw failure(added);
    for (const fault of ['revival', ...(connection.impair ?? [])]) await whack('--impair', fault);
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

type WriteFile = (name: string, content: string) => Promise<void>;
type Command = (program: string, ...args: string[]) => Promise<string>;

/** The database of keys: our own, and the authority that both ends have. */
async function makeKeys({ local, remote }: Connection, file: WriteFile, command: Command): Promise<void> {
  await command('certutil', '-N', '-d', KEYS, '--empty-password');
  if (local.kind === 'raw' || local.kind === 'certificate') {
    const { privateKey, certificates } = local.key;
    await file('own.key', privateKey);
    const own = `${FOLDER}/own`;
    if (local.kind === 'certificate') await file('own.crt', certificates![0]);
    else
      await command(
        'openssl',
        'req',
        '-x509',
        '-key',
        `${own}.key`,
        '-subj',
        '/CN=own',
        '-out',
        `${own}.crt`,
      );
    const password = ['-passout', 'pass:own'];
    const files = ['-inkey', `${own}.key`, '-in', `${own}.crt`, '-out', `${own}.p12`];
    await command('openssl', 'pkcs12', '-export', '-name', 'own', ...files, ...password);
    await command('pk12util', '-i', `${own}.p12`, '-d', KEYS, '-W', 'own', '-K', '');
    if (local.kind === 'raw') await command('certutil', '-D', '-d', KEYS, '-n', 'own');
  }
  const issuers = [local, remote].flatMap((proof) =>
    proof.kind === 'certificate' ? proof.key.certificates!.slice(1) : [],
  );
  for (const [index, certificate] of [...new Set(issuers)].entries()) {
    await file(`${index}.crt`, certificate);
    const name = `authority ${index}`;
    await command(
      'certutil',
      '-A',
      '-d',
      KEYS,
      '-n',
      name,
      '-t',
      'CT,,',
      '-a',
      '-i',
      `${FOLDER}/${index}.crt`,
    );
  }
}
