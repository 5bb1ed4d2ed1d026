import { once } from 'node:events';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openTopology, type Topology } from '../../src/demo/topology.ts';
import { compiledSources } from '../support/compiled.ts';
import { eventually, pathOf, signalRelay, startClient } from './running-client.ts';

const PATIENCE = 60_000;

let topology: Topology;
beforeAll(async () => {
  topology = await openTopology({ compiled: compiledSources() });
  await topology.startRelays(['B']);
}, PATIENCE);
afterAll(() => topology.close());

const linesOf = (directory: string, name: string) =>
  readFileSync(join(directory, name), 'utf8').trimEnd().split('\n');

describe('--keylog', () => {
  it(
    'writes the keys of a client and of its relay, and warns of what that means',
    async () => {
      const [ofClient, ofRelay] = ['client', 'relay'].map((name) =>
        join(topology.directory, `keys-of-${name}`),
      );
      const config = join(topology.directory, 'relay-A.yaml');
      const command = topology.node('cli/main.js', 'relay', '--config', config, '--keylog', ofRelay);
      const relay = topology.namespaces.A.spawn(command, { stdio: ['ignore', 'pipe', 'pipe'] });
      const output = { stdout: '', stderr: '' };
      for (const stream of ['stdout', 'stderr'] as const) {
        relay[stream]?.setEncoding('utf8').on('data', (text: string) => {
          output[stream] += text;
        });
      }
      await eventually('the overlay tunnel', () => output.stdout.includes('is up'));
      const client = startClient(topology, [
        '--path',
        pathOf(topology, 'A'),
        '--keylog',
        ofClient,
        '--',
        'true',
      ]);
      expect(await client.ended).toEqual({ status: 0, signal: null });
      const closed = once(relay, 'close');
      relay.kill('SIGTERM');
      await closed;
      for (const text of [client.stderr(), output.stderr])
        expect(text).toMatch(/WARNING: the keys of .* are written to/);
      for (const [name, lines] of [
        ['ikev2_decryption_table', 1],
        ['esp_sa', 2],
      ] as const) {
        expect(linesOf(ofClient, name)).toHaveLength(lines);
        // It also has those of its overlay.
        expect(linesOf(ofRelay, name)).toEqual(expect.arrayContaining(linesOf(ofClient, name)));
        expect(linesOf(ofRelay, name).length).toBeGreaterThan(lines);
        expect(statSync(join(ofClient, name)).mode & 0o777).toBe(0o600);
      }
    },
    PATIENCE,
  );

  it(
    'is refused, before anything else is done, if they cannot be written',
    async () => {
      const client = startClient(topology, ['--path', pathOf(topology, 'A'), '--keylog', '/dev/null']);
      expect(await client.ended).toEqual({ status: 64, signal: null });
      expect(client.stdout()).toContain('/dev/null/ikev2_decryption_table: cannot be written: ');
    },
    PATIENCE,
  );
});

describe('ike-telescope relay', () => {
  it(
    'reports its overlay tunnels and why they are down, nothing of clients or addresses, and ends in order',
    async () => {
      const config = join(topology.directory, 'relay-A.yaml');
      const command = topology.node('cli/main.js', 'relay', '--config', config, '--json');
      const relay = topology.namespaces.A.spawn(command, { stdio: ['ignore', 'pipe', 'inherit'] });
      let output = '';
      relay.stdout?.setEncoding('utf8').on('data', (text: string) => {
        output += text;
      });
      await eventually('the overlay tunnel', () => output.includes('"up":true'));
      const client = startClient(topology, ['--path', pathOf(topology, 'A'), '--', 'sleep', '1']);
      expect(await client.ended).toEqual({ status: 0, signal: null });
      signalRelay(topology, 'B', 'SIGTERM');
      await eventually('its end', () => output.includes('"up":false'));
      const closed = once(relay, 'close');
      relay.kill('SIGTERM');
      expect(await closed).toEqual([0, null]);
      const keyId = topology.keys.find(({ relay: name }) => name === 'A')?.keyId;
      expect(
        output
          .trim()
          .split('\n')
          .map((line) => JSON.parse(line)),
      ).toEqual([
        { event: 'listening', relay: 'A', keyId },
        { event: 'overlay', peer: 'B', up: true },
        { event: 'overlay', peer: 'B', up: false, problem: 'its IKE SA was deleted' },
        { event: 'closed' },
      ]);
    },
    PATIENCE,
  );
});
