import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ADDRESSES, openTopology, type Topology } from '../../src/demo/topology.ts';
import { compiledSources } from '../support/compiled.ts';
import { eventually, type RunningClient, startClient } from './running-client.ts';

const PATIENCE = 60_000;
const PORT = 8080;
const NOBODY = 65_534;

let topology: Topology;
beforeAll(async () => {
  topology = await openTopology({ compiled: compiledSources() });
  await topology.startRelays();
  const server = `require('net').createServer((s) => s.end(s.remoteAddress)).listen(${PORT}, () => console.log('up'))`;
  const served = topology.namespaces.D.spawn([process.execPath, '-e', server], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await new Promise((resolve) => served.stdout?.once('data', resolve));
}, PATIENCE);
afterAll(() => topology.close());

const ASK = `require('net').connect(${PORT}, '${ADDRESSES.D}').on('data', (d) => process.stdout.write(d))`;

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

  it(
    'a telescope carries traffic, in a user namespace of its own',
    async () => {
      // A TUN driver that everybody may open, as udev makes it, in a mount namespace that ends with the test.
      const asNobody = [
        ...['unshare', '--mount', 'sh', '-c'],
        `mount -t tmpfs tmpfs /dev/net && mknod -m 666 /dev/net/tun c 10 200 && exec setpriv --reuid=${NOBODY} --regid=${NOBODY} --clear-groups "$@"`,
        'sh',
      ];
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
});
