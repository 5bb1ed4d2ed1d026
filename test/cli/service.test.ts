import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { nodeProvider } from '../../src/crypto/node.ts';
import { encodeKeyFile } from '../../src/relay/key-file.ts';
import { compiledSources } from '../support/compiled.ts';
import { ed25519Key } from '../support/signing-keys.ts';
import { until } from '../support/waiting.ts';

const NOBODY = 65_534;
const directory = mkdtempSync(join(tmpdir(), 'cli-service-'));
const children: ChildProcess[] = [];
afterAll(() => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(directory, { recursive: true });
});

/** The numbers of capabilities(7). */
const CAPABILITY = { NET_BIND_SERVICE: 10, NET_ADMIN: 12, NET_RAW: 13 } as const;
const UNIT = readFileSync('contrib/ike-telescope-relay@.service', 'utf8');

/** The capabilities that a line of the unit lists. */
function listed(line: string): readonly string[] {
  const [, names] = new RegExp(`^${line}=(.*)$`, 'm').exec(UNIT)!;
  return names.split(' ').map((name) => name.replace(/^CAP_/, '').toLowerCase());
}

function start(command: readonly string[], env: NodeJS.ProcessEnv = {}) {
  const [program, ...args] = command;
  const child = spawn(program, args, {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, ...env },
  });
  children.push(child);
  const output = { child, text: '' };
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    output.text += text;
  });
  return output;
}

it('a relay runs as the service of contrib/: as no privileged user, with what the unit lists in every task, and tells systemd', {
  timeout: 60_000,
}, async () => {
  const capabilities = listed('AmbientCapabilities');
  expect(listed('CapabilityBoundingSet')).toEqual(capabilities);
  const key = join(directory, 'a.pem');
  writeFileSync(key, encodeKeyFile(ed25519Key(nodeProvider(), 98)), { mode: 0o600 });
  const lines = [
    'name: a',
    'key: a.pem',
    'address: { ip4: 127.0.79.1 }',
    'pool: { ip4: 10.1.0.0/16 }',
    'mtu: 1500',
  ];
  writeFileSync(join(directory, 'relay.yaml'), lines.join('\n'));
  chmodSync(directory, 0o700);
  for (const path of [key, directory]) chownSync(path, NOBODY, NOBODY);

  const socket = join(directory, 'notify');
  const listen = `$s = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => $ARGV[0]) or die; chmod 0666, $ARGV[0]; $| = 1; print "bound\\n"; while ($s->recv($m, 4096), length $m) { print "$m\\n" }`;
  const manager = start(['perl', '-MIO::Socket::UNIX', '-e', listen, socket]);
  await until('the socket', () => manager.text.includes('bound'));
  const sets = ['--ambient-caps', '--inh-caps', '--bounding-set'].flatMap((option) => [
    option,
    ['-all', ...capabilities.map((name) => `+${name}`)].join(),
  ]);
  const user = [
    'setpriv',
    '--reuid',
    String(NOBODY),
    '--regid',
    String(NOBODY),
    '--clear-groups',
    ...sets,
    '--no-new-privs',
  ];
  const relay = start(
    [
      ...user,
      process.execPath,
      join(compiledSources(), 'cli/main.js'),
      'relay',
      '--config',
      join(directory, 'relay.yaml'),
    ],
    { NOTIFY_SOCKET: socket, RUNTIME_DIRECTORY: directory },
  );
  await until('READY=1', () => manager.text.includes('READY=1'));
  await until('its first line', () => relay.text.includes('is listening'));
  expect(readdirSync(directory)).toContain('a.sock');

  const mask = Object.entries(CAPABILITY)
    .filter(([name]) => capabilities.includes(name.toLowerCase()))
    .reduce((bits, [, bit]) => bits | (1n << BigInt(bit)), 0n);
  const tasks = `/proc/${relay.child.pid}/task`;
  const held = readdirSync(tasks).map((task) => {
    const [, bits] = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync(join(tasks, task, 'status'), 'utf8'))!;
    return BigInt(`0x${bits}`);
  });
  expect(held.length).toBeGreaterThan(4);
  expect(new Set(held)).toEqual(new Set([mask]));

  const closed = once(relay.child, 'close');
  relay.child.kill('SIGTERM');
  expect(await closed).toEqual([0, null]);
  await until('STOPPING=1', () => manager.text.includes('STOPPING=1'));
});
