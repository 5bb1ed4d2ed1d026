import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ADDRESSES, openTopology, type Topology } from '../../src/demo/topology.ts';
import { compiledSources } from '../support/compiled.ts';

let topology: Topology;
beforeAll(async () => {
  topology = await openTopology({ compiled: compiledSources() });
  await topology.startRelays(['A', 'B']);
}, 60_000);
afterAll(() => topology.close());

/** The points that a probe of relay A from the client's host reports, and what it makes of them. */
async function probe(...options: readonly string[]) {
  const command = topology.node('cli/main.js', 'probe', ADDRESSES.A, '--json', ...options);
  const { stdout } = await topology.namespaces.S.exec([
    'sh',
    '-c',
    '"$@" || echo "{\\"exit\\":$?}"',
    'sh',
    ...command,
  ]);
  const lines = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  const verdict = lines.find((line) => 'canServe' in line);
  const { exit } = lines.find((line) => 'exit' in line) ?? { exit: 0 };
  return {
    verdict,
    exit,
    points: Object.fromEntries(lines.map(({ id, status, reason }) => [id, { status, reason }])),
  };
}

it('a probe finds that a relay can serve', { timeout: 60_000 }, async () => {
  const { points, verdict, exit } = await probe('--relay', ADDRESSES.B);
  expect(points).toMatchObject({
    'ike-sa-init': { status: 'pass' },
    'client-authentication': { status: 'pass', reason: expect.stringContaining('NULL: yes') },
    proof: { status: 'unknown' },
    address: { status: 'pass', reason: expect.stringMatching(/^10\.171\./) },
    'nat-traversal': { status: 'pass', reason: 'plain ESP' },
    'shared-identity': { status: 'pass' },
    icmp: { status: 'unknown' },
    ttl: { status: 'pass' },
    relay: { status: 'pass' },
  });
  expect({ verdict, exit }).toEqual({ verdict: { address: ADDRESSES.A, canServe: true }, exit: 0 });
});

/** As in its descriptor. */
function keyOf(relay: string): string {
  const descriptor = readFileSync(join(topology.directory, `pinned-${relay}.yaml`), 'utf8');
  return /publicKey: (\S+)/.exec(descriptor)![1];
}

it('a probe finds what is missing, and says so by its status', { timeout: 60_000 }, async () => {
  const { points, verdict, exit } = await probe('--relay', ADDRESSES.C, '--public-key', keyOf('B'));
  expect(points).toMatchObject({ proof: { status: 'fail' }, relay: { status: 'fail' } });
  expect({ verdict, exit }).toEqual({ verdict: { address: ADDRESSES.A, canServe: false }, exit: 69 });
});
