import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ADDRESSES, openTopology, type Topology } from '../../src/demo/topology.ts';
import { compiledSources } from '../support/compiled.ts';
import {
  eventually,
  initOf,
  networkNamespaceOf,
  processesIn,
  type RunningClient,
  startClient,
} from './running-client.ts';

const PATIENCE = 60_000;
const PORT = 8080;

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

/** Every namespace, process and device of the client is gone, and S is as it was. */
async function expectNothingLeft(client: RunningClient, networkNamespace: string): Promise<void> {
  await eventually('the end of its processes', () => client.processes().length === 0);
  expect(processesIn(networkNamespace)).toEqual([]);
  const links = await topology.namespaces.S.exec(['ip', '-json', 'link']);
  expect(JSON.parse(links.stdout).map(({ ifname }: { ifname: string }) => ifname)).toEqual(['lo', 'toA']);
  const routes = await topology.namespaces.S.exec(['ip', '-json', 'route']);
  expect(JSON.parse(routes.stdout)).toHaveLength(1);
}

const closedHops = (client: RunningClient) =>
  client.events.flatMap((event) => (event.event === 'hop-closed' ? [event.hop] : []));

describe('a command in a telescope', () => {
  it(
    'reaches the destination from the address of the exit, and its status is passed on',
    async () => {
      const script = `require('net').connect(${PORT}, '${ADDRESSES.D}').on('data', (d) => {
        process.stdout.write(d); process.exitCode = 7; })`;
      const client = start(process.execPath, '-e', script);
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
    'sees only the loopback and the telescope, its name servers, and no descriptor of ours',
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
          init: fs.readFileSync('/proc/1/cmdline', 'utf8').includes('inside-main.js'),
        }));`;
      const client = start(process.execPath, '-e', script);
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
        init: true,
      });
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
      await expectNothingLeft(client, namespace);
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
      await expectNothingLeft(client, namespace);
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
      await expectNothingLeft(client, namespace);
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
      await expectNothingLeft(client, namespace);
    },
    PATIENCE,
  );
});
