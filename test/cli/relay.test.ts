import { once } from 'node:events';
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
