import { afterAll, beforeAll, expect, it } from 'vitest';
import { ADDRESSES, openTopology, type Topology } from '../../src/demo/topology.ts';
import { compiledSources } from '../support/compiled.ts';
import {
  eventually,
  expectNothingLeft,
  networkNamespaceOf,
  pathOf,
  signalRelay,
  startClient,
} from './running-client.ts';

const PATIENCE = 90_000;

let topology: Topology;
beforeAll(async () => {
  topology = await openTopology({ compiled: compiledSources() });
  await topology.startRelays();
}, PATIENCE);
afterAll(() => topology.close());

it(
  'a relay that vanishes without a word is named, whether it is the exit or in the middle, and its commands end',
  async () => {
    const send = `const socket = require('dgram').createSocket('udp4');
      setInterval(() => socket.send('x', 7, '${ADDRESSES.D}'), 200); console.error('started');`;
    const clients = [pathOf(topology, 'A', 'B'), topology.pathFile].map((path) =>
      startClient(topology, ['--path', path, '--', process.execPath, '-e', send]),
    );
    const namespaces = await Promise.all(
      clients.map(async (client) => networkNamespaceOf((await client.event('established')).pid!)),
    );
    for (const client of clients) {
      await eventually('the command', () => client.stderr().includes('started'));
    }
    // It answers nothing from here on, and its kernel says nothing for it.
    signalRelay(topology, 'B', 'SIGSTOP');
    for (const [index, client] of clients.entries()) {
      expect(await client.ended).toEqual({ status: 69, signal: null });
      expect(await client.event('error')).toMatchObject({ kind: 'telescope', hop: 2, relay: 'B' });
      await expectNothingLeft(topology, client, namespaces[index]);
    }
  },
  PATIENCE,
);
