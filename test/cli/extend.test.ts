import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ADDRESSES, openTopology, type Topology } from '../../src/demo/topology.ts';
import { compiledSources } from '../support/compiled.ts';
import {
  eventually,
  expectNothingLeft,
  initOf,
  networkNamespaceOf,
  type RunningClient,
  startClient,
} from './running-client.ts';

const PATIENCE = 60_000;
const PORT = 8080;
const NOBODY = 65_534;
/** Prints the address that D sees. */
const ASK = `require('net').connect(${PORT}, '${ADDRESSES.D}').on('data', (d) => process.stdout.write(d))`;

let topology: Topology;
beforeAll(async () => {
  topology = await openTopology({
    compiled: compiledSources(),
    relayConfig: { dns: ['203.0.113.53'] },
  });
  await topology.startRelays();
  const server = `require('net').createServer((s) => s.end(s.remoteAddress)).listen(${PORT}, () => console.log('up'))`;
  const served = topology.namespaces.D.spawn([process.execPath, '-e', server], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await new Promise((resolve) => served.stdout?.once('data', resolve));
}, PATIENCE);
afterAll(() => topology.close());

function start(...command: readonly string[]): RunningClient {
  return startClient(topology, [
    '--path',
    topology.pathFile,
    ...(command.length > 0 ? ['--', ...command] : []),
  ]);
}

/** A wrapper of the client: it prepares /run and /etc of a host, in a mount namespace that ends with the test. */
function hostWith(script: string): readonly string[] {
  const own = 'mount -t tmpfs tmpfs /run && cp -a /etc /run/.etc && mount --bind /run/.etc /etc';
  return ['unshare', '--mount', 'sh', '-c', `${own}\n${script}`, 'sh'];
}

const closedHops = (client: RunningClient) =>
  client.events.flatMap((event) => (event.event === 'hop-closed' ? [event.hop] : []));

describe('a command in a telescope', () => {
  it(
    'reaches the destination from the address of the exit, and its status is passed on',
    async () => {
      const client = start(process.execPath, '-e', `${ASK}.on('end', () => { process.exitCode = 7; })`);
      expect(await client.ended).toEqual({ status: 7, signal: null });
      expect(client.stdout()).toContain(ADDRESSES.X);
      const hops = client.events.flatMap((event) => (event.event === 'hop' ? [event] : []));
      expect(hops.map(({ relay, mtu }) => [relay, mtu])).toEqual([
        ['A', 1446],
        ['B', 1390],
        ['C', 1334],
      ]);
      expect(hops.map(({ source }) => source)).toEqual([
        ADDRESSES.S,
        hops[0].assigned[0],
        hops[1].assigned[0],
      ]);
      expect(closedHops(client)).toEqual([3, 2, 1]);
      expect(client.events.at(-1)).toEqual({ event: 'closed' });
    },
    PATIENCE,
  );

  it(
    "sees only the loopback and the telescope, its name servers and not the host's, and no descriptor of ours",
    async () => {
      const script = `
        const fs = require('fs'), { execFileSync } = require('child_process');
        const json = (...args) => JSON.parse(execFileSync('ip', ['-json', ...args]));
        const fds = fs.readdirSync('/proc/self/fd').filter((fd) => fd > 2).flatMap((fd) => {
          try { return [fs.readlinkSync('/proc/self/fd/' + fd)]; } catch { return []; } });
        console.log(JSON.stringify({
          links: json('link').map(({ ifname, mtu }) => [ifname, mtu]),
          addresses: json('-4', 'address', 'show', 'dev', 'tun0')[0].addr_info.map(({ local, prefixlen }) => [local, prefixlen]),
          routes: json('route').map(({ dst, dev }) => [dst, dev]),
          sys: fs.readdirSync('/sys/class/net').sort(),
          resolvers: fs.readFileSync('/etc/resolv.conf', 'utf8'),
          sockets: fds.filter((file) => file.startsWith('socket:') || file === '/dev/net/tun'),
          run: fs.readdirSync('/run').filter((name) => name !== 'ike-telescope').sort(),
          program: fs.readlinkSync('/run/program'),
          buses: Object.keys(process.env).filter((name) => /DBUS|XDG_RUNTIME_DIR/.test(name)),
          init: fs.readFileSync('/proc/1/cmdline', 'utf8').includes('inside-main.js'),
        }));`;
      // The host has a name service cache daemon: its socket crosses network namespaces. Its resolver writes to /run.
      const host = `mkdir /run/nscd /run/resolver && ln -s /usr/bin/env /run/program
        echo 'nameserver 198.51.100.53' > /run/resolver/resolv.conf && ln -sf ../run/resolver/resolv.conf /etc/resolv.conf
        exec perl -MIO::Socket::UNIX -e '$^F = 99;
          IO::Socket::UNIX->new(Local => "/run/nscd/socket", Listen => 1) or die; exec @ARGV' "$@"`;
      const client = startClient(
        topology,
        ['--path', topology.pathFile, '--', process.execPath, '-e', script],
        { DBUS_SESSION_BUS_ADDRESS: 'unix:path=/run/user/0/bus', XDG_RUNTIME_DIR: '/run/user/0' },
        hostWith(host),
      );
      expect(await client.ended).toEqual({ status: 0, signal: null });
      const established = await client.event('established');
      expect(established).toMatchObject({ interface: 'tun0', mtu: 1280, dns: ['203.0.113.53'] });
      expect(JSON.parse(client.stdout())).toEqual({
        links: [
          ['lo', 65536],
          ['tun0', 1280],
        ],
        addresses: [[established.addresses[0], 32]],
        routes: [['default', 'tun0']],
        sys: ['lo', 'tun0'],
        resolvers: 'nameserver 203.0.113.53\n',
        sockets: [],
        run: ['program', 'resolver'],
        program: '/usr/bin/env',
        buses: [],
        init: true,
      });
    },
    PATIENCE,
  );

  it(
    'keeps its name servers when the host replaces its own',
    async () => {
      const script = `
        const fs = require('fs'), read = () => fs.readFileSync('/etc/resolv.conf', 'utf8');
        console.log(read());
        setInterval(() => {
          if (fs.existsSync('/etc/replaced') && read() === 'nameserver 203.0.113.53\\n') process.exit(0);
        }, 20);
        setTimeout(() => process.exit(1), 15_000);`;
      const client = startClient(
        topology,
        ['--path', topology.pathFile, '--', process.execPath, '-e', script],
        {},
        hostWith('echo "nameserver 198.51.100.53" > /etc/resolv.conf; exec "$@"'),
      );
      await eventually('the command', () => client.stdout().includes('nameserver 203.0.113.53'));
      const onHost = (command: string) =>
        topology.namespaces.S.exec(['nsenter', '--mount', '-t', `${client.pid}`, 'sh', '-c', command]);
      await onHost(
        'echo "nameserver 198.51.100.54" > /etc/new && mv /etc/new /etc/resolv.conf && touch /etc/replaced',
      );
      expect(await client.ended).toEqual({ status: 0, signal: null });
    },
    PATIENCE,
  );

  it(
    'that cannot be started gives 127 and the reason',
    async () => {
      const client = start('no-such-program');
      expect((await client.ended).status).toBe(127);
      expect((await client.event('exited')).reason).toBe('no-such-program: command not found');
    },
    PATIENCE,
  );

  it(
    'takes what it has started with it, and ends by Ctrl-C itself',
    async () => {
      const client = start('sh', '-c', 'setsid sleep 1000 & echo started; exec sleep 1000');
      const { pid } = await client.event('established');
      const namespace = networkNamespaceOf(pid!);
      await eventually('the command', () => client.stdout().includes('started'));
      client.press('SIGINT');
      expect(await client.ended).toEqual({ status: 130, signal: null });
      expect(closedHops(client)).toEqual([3, 2, 1]);
      await expectNothingLeft(topology, client, namespace);
    },
    PATIENCE,
  );

  it(
    'is asked to end by SIGTERM to the program',
    async () => {
      const client = start('sh', '-c', 'trap "exit 9" TERM; echo started; while :; do sleep 0.05; done');
      await eventually('the command', () => client.stdout().includes('started'));
      process.kill(client.pid, 'SIGTERM');
      expect(await client.ended).toEqual({ status: 9, signal: null });
      expect(closedHops(client)).toEqual([3, 2, 1]);
    },
    PATIENCE,
  );
});

describe('without a command', () => {
  it(
    'the telescope can be entered, and Ctrl-C closes it innermost first',
    async () => {
      const client = start();
      const { pid, enter, addresses } = await client.event('established');
      const namespace = networkNamespaceOf(pid!);
      const { S } = topology.namespaces;
      const inside = await S.exec([...enter!.split(' '), 'ip', '-brief', '-4', 'address']);
      expect(inside.stdout).toMatch(new RegExp(`tun0 +\\w+ +${addresses[0]}/32`));
      client.press('SIGINT');
      expect(await client.ended).toEqual({ status: 0, signal: null });
      expect(client.events.slice(-4)).toEqual([
        { event: 'hop-closed', hop: 3, relay: 'C' },
        { event: 'hop-closed', hop: 2, relay: 'B' },
        { event: 'hop-closed', hop: 1, relay: 'A' },
        { event: 'closed' },
      ]);
      await expectNothingLeft(topology, client, namespace);
    },
    PATIENCE,
  );
});

describe('kill -9', () => {
  it(
    'of the launcher closes the telescope and leaves nothing',
    async () => {
      const client = start('sh', '-c', 'sleep 1000 & echo started; exec sleep 1000');
      const { pid } = await client.event('established');
      const namespace = networkNamespaceOf(pid!);
      await eventually('the command', () => client.stdout().includes('started'));
      expect(client.processes().length).toBeGreaterThanOrEqual(5);
      process.kill(client.pid, 'SIGKILL');
      expect((await client.ended).signal).toBe('SIGKILL');
      await expectNothingLeft(topology, client, namespace);
      // It was closed in order: its relays know of it.
      await eventually('the relays to know', async () => {
        const states = await Promise.all(
          (['A', 'B', 'C'] as const).map((name) => topology.relay(name).state()),
        );
        return states.every(({ clients }) => clients.length === 0);
      });
    },
    PATIENCE,
  );

  it.each(['the process that made the namespaces', 'their init'])(
    'of %s ends everything in them, and is reported',
    async (victim) => {
      const client = start('sh', '-c', 'setsid sleep 1000 & echo started; exec sleep 1000');
      const { pid } = await client.event('established');
      const namespace = networkNamespaceOf(pid!);
      await eventually('the command', () => client.stdout().includes('started'));
      process.kill(victim === 'their init' ? initOf(client.processes()) : pid!, 'SIGKILL');
      expect(await client.ended).toEqual({ status: 71, signal: null });
      expect(await client.event('error')).toMatchObject({
        kind: 'system',
        message: expect.stringContaining('ended unexpectedly'),
      });
      await expectNothingLeft(topology, client, namespace);
    },
    PATIENCE,
  );
});

async function expectEncapsulated(client: RunningClient, why: string): Promise<void> {
  expect(await client.ended).toEqual({ status: 0, signal: null });
  expect(client.stdout()).toContain(ADDRESSES.X);
  const fallback = client.stderr().match(/^.*"event":"fallback".*$/gm);
  expect(fallback).toHaveLength(1);
  expect(JSON.parse(fallback![0]).message).toContain(why);
  // ESP in UDP: 8 octets less at the first hop.
  expect((await client.event('hop')).mtu).toBe(1438);
  await eventually('the end of its processes', () => client.processes().length === 0);
}

describe('without koffi', () => {
  const env = { IKE_TELESCOPE_WITHOUT_FFI: '1' };

  it(
    'a telescope carries traffic, its ESP in UDP',
    async () => {
      const client = startClient(
        topology,
        ['--path', topology.pathFile, '--', process.execPath, '-e', ASK],
        env,
      );
      await expectEncapsulated(client, 'IKE_TELESCOPE_WITHOUT_FFI');
    },
    PATIENCE,
  );

  it(
    'plain ESP is refused',
    async () => {
      const client = startClient(topology, ['--path', topology.pathFile, '--encapsulation', 'esp'], env);
      expect(await client.ended).toEqual({ status: 71, signal: null });
      expect(await client.event('error')).toMatchObject({ kind: 'system' });
    },
    PATIENCE,
  );

  it.each([
    ['xfrm', 71],
    ['auto', 0],
  ])(
    "the kernel's IPsec is not to be had, which with --backend %s ends in %i",
    async (backend, status) => {
      const options = ['--path', topology.pathFile, '--backend', backend, '--encapsulation', 'udp'];
      const client = startClient(topology, [...options, '--', 'true'], env);
      expect((await client.ended).status).toBe(status);
      expect(client.stderr()).toMatch(
        status === 0
          ? /"event":"fallback","backend":"userspace","message":"[^"]*IKE_TELESCOPE_WITHOUT_FFI/
          : /"event":"error","kind":"system","message":"the kernel's IPsec: [^"]*IKE_TELESCOPE_WITHOUT_FFI/,
      );
    },
    PATIENCE,
  );
});

describe('without privileges', () => {
  let directory: string;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'ike-telescope-nobody-'));
    chmodSync(directory, 0o755);
    const names = ['A', 'B', 'C'].map((name) => `${name}.yaml`);
    for (const name of names) {
      writeFileSync(join(directory, name), readFileSync(join(topology.directory, name)), { mode: 0o644 });
    }
    writeFileSync(
      join(directory, 'path.yaml'),
      `relays:\n${names.map((name) => `  - descriptor: ${name}\n`).join('')}`,
    );
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  // A TUN driver that everybody may open, as udev makes it, in a mount namespace that ends with the test.
  const asNobody = [
    ...['unshare', '--mount', 'sh', '-c'],
    `mount -t tmpfs tmpfs /dev/net && mknod -m 666 /dev/net/tun c 10 200 && exec setpriv --reuid=${NOBODY} --regid=${NOBODY} --clear-groups "$@"`,
    'sh',
  ];

  it(
    'a telescope carries traffic, in a user namespace of its own',
    async () => {
      const script = `console.error(require('fs').readFileSync('/proc/self/uid_map', 'utf8')); ${ASK}`;
      const client = startClient(
        topology,
        ['--path', join(directory, 'path.yaml'), '--', process.execPath, '-e', script],
        {},
        asNobody,
      );
      await expectEncapsulated(client, 'raw socket for ESP');
      expect(client.stderr()).toMatch(new RegExp(`^ +0 +${NOBODY} +1$`, 'm'));
      expect((await client.event('established')).enter).toContain('--user --preserve-credentials');
    },
    PATIENCE,
  );

  it(
    "the kernel's IPsec is not to be had",
    async () => {
      const options = ['--path', join(directory, 'path.yaml'), '--backend', 'xfrm'];
      const client = startClient(topology, options, {}, asNobody);
      expect((await client.ended).status).toBe(71);
      expect((await client.event('error')).message).toBe("the kernel's IPsec needs root");
    },
    PATIENCE,
  );
});
