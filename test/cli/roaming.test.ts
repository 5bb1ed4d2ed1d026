import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ADDRESSES, openTopology, type Topology } from '../../src/demo/topology.ts';
import type { Address } from '../../src/wire/address.ts';
import { compiledSources } from '../support/compiled.ts';
import { eventually, pathOf, startClient } from './running-client.ts';

const PATIENCE = 60_000;
const PORT = 8080;
const AWAY = '198.51.100.99';
/** Prints a dot for each of its messages that D has echoed, on one connection. */
const TALK = `const s = require('net').connect(${PORT}, '${ADDRESSES.D}');
  s.on('data', () => process.stdout.write('.'));
  setInterval(() => s.write('x'), 100);`;

let topology: Topology;
beforeAll(async () => {
  topology = await openTopology({ compiled: compiledSources() });
  await topology.startRelays();
  const server = `require('net').createServer((s) => s.pipe(s)).listen(${PORT}, () => console.log('up'))`;
  const served = topology.namespaces.D.spawn([process.execPath, '-e', server], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await new Promise((resolve) => served.stdout?.once('data', resolve));
}, PATIENCE);
afterAll(() => topology.close());

/** Gives S another address. */
async function readdress(from: Address, to: Address): Promise<void> {
  const { S, A } = topology.namespaces;
  const route = (destination: Address, device: string, source: Address) => [
    'ip',
    'route',
    'replace',
    destination,
    'dev',
    device,
    'scope',
    'link',
    'src',
    source,
  ];
  await A.exec(route(to, 'toS', ADDRESSES.A));
  await S.exec(['ip', 'address', 'add', `${to}/32`, 'dev', 'toA']);
  await S.exec(route(ADDRESSES.A, 'toA', to));
  await S.exec(['ip', 'address', 'delete', `${from}/32`, 'dev', 'toA']);
}

describe('a client that gets another address', () => {
  it.each(['esp', 'udp'])(
    'keeps its telescope and the connections in it, with ESP to the entry as %s',
    async (encapsulation) => {
      const client = startClient(topology, [
        '--path',
        pathOf(topology, 'A', 'B', 'C'),
        '--encapsulation',
        encapsulation,
        '--',
        process.execPath,
        '-e',
        TALK,
      ]);
      await eventually('echoes', () => client.stdout().includes('....'));
      await readdress(ADDRESSES.S, AWAY);
      const until = client.stdout().length + 40;
      await eventually('more of them', () => client.stdout().length > until);
      expect(client.events.map(({ event }) => event)).not.toContain('hop-closed');
      client.press('SIGTERM');
      await client.ended;
      await readdress(AWAY, ADDRESSES.S);
    },
    PATIENCE,
  );
});
