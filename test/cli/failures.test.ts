import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openTopology, type Topology, type TopologyOptions } from '../../src/demo/topology.ts';
import { compiledSources } from '../support/compiled.ts';
import { eventually, processesRunning, type RunningClient, startClient } from './running-client.ts';

const PATIENCE = 90_000;

async function withTopology(
  options: TopologyOptions,
  relays: readonly ('A' | 'B' | 'C')[],
  action: (topology: Topology) => Promise<void>,
): Promise<void> {
  const topology = await openTopology({ compiled: compiledSources(), ...options });
  try {
    await topology.startRelays(relays);
    await action(topology);
  } finally {
    await topology.close();
  }
}

function start(topology: Topology, ...args: readonly string[]): RunningClient {
  return startClient(topology, ['--path', topology.pathFile, ...args, '--', 'echo', 'ran']);
}

/** The client fails at `hop`, says so, runs no command, and leaves nothing; the hops before it are closed in order. */
async function expectFailure(
  client: RunningClient,
  hop: number,
  relay: string,
  message: RegExp,
): Promise<void> {
  expect(await client.ended).toEqual({ status: 69, signal: null });
  const error = await client.event('error');
  expect(error).toMatchObject({ kind: 'telescope', hop, relay });
  expect(error.message).toMatch(message);
  expect(client.events.at(-1)).toEqual(error);
  expect(client.stdout()).toBe('');
  const hops = (name: 'hop' | 'hop-closed') =>
    client.events.flatMap((event) => (event.event === name ? [event.hop] : []));
  expect(hops('hop-closed')).toEqual(hops('hop').reverse());
  await eventually('the end of its processes', () => client.processes().length === 0);
}

function signalRelay(topology: Topology, name: string, signal: NodeJS.Signals): void {
  const [pid] = processesRunning(join(topology.directory, `relay-${name}.yaml`));
  process.kill(pid, signal);
}

/** A path file through these relays. */
function pathOf(topology: Topology, ...relays: readonly string[]): string {
  const file = join(topology.directory, `path-${relays.join('')}.yaml`);
  writeFileSync(file, `relays:\n${relays.map((relay) => `  - descriptor: ${relay}.yaml\n`).join('')}`);
  return file;
}

describe('extend fails with the hop, what was done, and why', () => {
  it(
    'when a relay proves another key than the path pins',
    () =>
      withTopology({ wrongKey: 'B' }, ['A', 'B'], async (topology) => {
        await expectFailure(
          start(topology),
          2,
          'B',
          /^hop 2 \(B\): extending to the relay: .*(key|AUTH|signature)/i,
        );
      }),
    PATIENCE,
  );

  it(
    'when a relay does not answer, ends in order, or is killed while a hop is being built',
    () =>
      withTopology({}, ['A', 'B'], async (topology) => {
        const silent = start(topology, '--timeout', '2');
        await expectFailure(silent, 3, 'C', /^hop 3 \(C\): extending to the relay: no answer within 2 s/);

        const two = pathOf(topology, 'A', 'B');
        const used = startClient(topology, ['--path', two, '--', 'sh', '-c', 'echo started >&2; sleep 1000']);
        await eventually('the command', () => used.stderr().includes('started'));
        signalRelay(topology, 'B', 'SIGTERM');
        await expectFailure(used, 2, 'B', /^hop 2 \(B\): keeping the tunnel: the relay closed the tunnel$/);

        await topology.startRelays(['B']);
        signalRelay(topology, 'B', 'SIGSTOP');
        const client = startClient(topology, ['--path', two, '--timeout', '2', '--', 'echo', 'ran']);
        await client.event('hop');
        signalRelay(topology, 'B', 'SIGKILL');
        await expectFailure(client, 2, 'B', /^hop 2 \(B\): extending to the relay: no answer within 2 s/);
      }),
    PATIENCE,
  );

  it(
    'when a relay has no address left, and goes on when it has one again',
    () =>
      withTopology({ relayConfig: { maxClients: 1 } }, ['A'], async (topology) => {
        const alone = pathOf(topology, 'A');
        const holder = startClient(topology, ['--path', alone]);
        await holder.event('established');
        await expectFailure(
          start(topology),
          1,
          'A',
          /^hop 1 \(A\): extending to the relay: .*INTERNAL_ADDRESS_FAILURE/,
        );
        holder.press('SIGTERM');
        expect(await holder.ended).toEqual({ status: 0, signal: null });
        const next = startClient(topology, ['--path', alone, '--', 'echo', 'ran']);
        expect(await next.ended).toEqual({ status: 0, signal: null });
        expect(next.stdout()).toBe('ran\n');
        expect(next.stderr()).toContain('"dns":[]');
      }),
    PATIENCE,
  );

  it(
    'when the path carries too little',
    () =>
      withTopology({ mtu: 1300 }, ['A'], async (topology) => {
        const alone = pathOf(topology, 'A');
        const client = startClient(topology, ['--path', alone, '--', 'echo', 'ran']);
        await expectFailure(
          client,
          1,
          'A',
          /^hop 1 \(A\): checking the MTU: .* at most 1246 octets.* needs 1280/,
        );
        const small = startClient(topology, [
          '--path',
          alone,
          '--inner-mtu',
          'max',
          '--',
          'cat',
          '/etc/resolv.conf',
        ]);
        expect(await small.ended).toEqual({ status: 0, signal: null });
        expect(await small.event('established')).toMatchObject({ mtu: 1246, dns: [] });
        expect(small.stdout()).toBe('');
        expect(readFileSync('/etc/resolv.conf', 'utf8')).not.toBe('');
      }),
    PATIENCE,
  );

  it(
    'when the host has no route to the entry',
    () =>
      withTopology({}, [], async (topology) => {
        await topology.namespaces.S.exec(['ip', 'route', 'flush', 'table', 'main']);
        const client = start(topology);
        expect(await client.ended).toEqual({ status: 71, signal: null });
        expect(await client.event('error')).toEqual({
          event: 'error',
          kind: 'system',
          message: expect.stringContaining('no route to'),
        });
      }),
    PATIENCE,
  );
});
