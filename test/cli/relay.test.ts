import { once } from 'node:events';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openTopology, type Topology } from '../../src/demo/topology.ts';
import { compiledSources } from '../support/compiled.ts';
import { eventually } from './running-client.ts';

const PATIENCE = 60_000;

let topology: Topology;
beforeAll(async () => {
  topology = await openTopology({ compiled: compiledSources() });
  await topology.startRelays(['B']);
}, PATIENCE);
afterAll(() => topology.close());

describe('ike-telescope relay', () => {
  it(
    'reports its overlay tunnels, gives no address away, and ends in order',
    async () => {
      const config = join(topology.directory, 'relay-C.yaml');
      const command = topology.node('cli/main.js', 'relay', '--config', config, '--json');
      const relay = topology.namespaces.C.spawn(command, { stdio: ['ignore', 'pipe', 'inherit'] });
      let output = '';
      relay.stdout?.setEncoding('utf8').on('data', (text: string) => {
        output += text;
      });
      await eventually('the overlay tunnel', () => output.includes('"up":true'));
      const closed = once(relay, 'close');
      relay.kill('SIGTERM');
      expect(await closed).toEqual([0, null]);
      const keyId = topology.keys.find(({ relay: name }) => name === 'C')?.keyId;
      expect(
        output
          .trim()
          .split('\n')
          .map((line) => JSON.parse(line)),
      ).toEqual([
        { event: 'listening', relay: 'C', keyId },
        { event: 'overlay', peer: 'B', up: true },
        { event: 'closed' },
      ]);
    },
    PATIENCE,
  );
});
