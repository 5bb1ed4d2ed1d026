import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ADDRESSES, openTopology, type Topology, type TopologyOptions } from '../../src/demo/topology.ts';
import { compiledSources } from '../support/compiled.ts';
import {
  eventually,
  isRelayRunning,
  pathOf,
  type RunningClient,
  signalRelay,
  startClient,
} from './running-client.ts';

const PATIENCE = 90_000;

/** A topology for the tests of a `describe`. */
function shared(options: TopologyOptions, relays: readonly ('A' | 'B')[]): () => Topology {
  let topology: Topology;
  beforeAll(async () => {
    topology = await openTopology({ compiled: compiledSources(), ...options });
    await topology.startRelays(relays);
  }, PATIENCE);
  afterAll(() => topology.close());
  return () => topology;
}

/** Through A, B and C. */
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

describe('extend names the hop, what was done, and why it failed', () => {
  const opened = shared({ relayConfig: { maxClients: 1 } }, ['A', 'B']);

  it(
    'when a relay does not answer',
    async () => {
      const client = start(opened(), '--timeout', '2');
      await expectFailure(client, 3, 'C', /^hop 3 \(C\): extending to the relay: no answer within 2 s/);
    },
    PATIENCE,
  );

  it(
    'when a relay has no address left, and goes on when it has one again',
    async () => {
      const alone = pathOf(opened(), 'A');
      const holder = startClient(opened(), ['--path', alone]);
      await holder.event('established');
      const refused = start(opened());
      await expectFailure(
        refused,
        1,
        'A',
        /^hop 1 \(A\): extending to the relay: .*INTERNAL_ADDRESS_FAILURE/,
      );
      holder.press('SIGTERM');
      expect(await holder.ended).toEqual({ status: 0, signal: null });
      const next = startClient(opened(), ['--path', alone, '--', 'echo', 'ran']);
      expect(await next.ended).toEqual({ status: 0, signal: null });
      expect(next.stdout()).toBe('ran\n');
    },
    PATIENCE,
  );

  it(
    'when the host has no route to the entry',
    async () => {
      const client = startClient(opened(), ['--path', pathOf(opened(), 'B'), '--', 'echo', 'ran']);
      expect(await client.ended).toEqual({ status: 71, signal: null });
      expect(client.events).toEqual([
        { event: 'error', kind: 'system', message: `no route to ${ADDRESSES.B}` },
      ]);
    },
    PATIENCE,
  );

  it(
    'but closes innermost first, without a complaint, when it is interrupted',
    async () => {
      const client = start(opened());
      await eventually('hop 2', () => client.events.filter(({ event }) => event === 'hop').length === 2);
      client.press('SIGINT');
      expect(await client.ended).toEqual({ status: 130, signal: null });
      expect(client.events.slice(-3)).toEqual([
        { event: 'hop-closed', hop: 2, relay: 'B' },
        { event: 'hop-closed', hop: 1, relay: 'A' },
        { event: 'closed' },
      ]);
      await eventually('the end of its processes', () => client.processes().length === 0);
    },
    PATIENCE,
  );

  it(
    'when a relay ends in order, or is killed while a hop is being built',
    async () => {
      const path = pathOf(opened(), 'A', 'B');
      const used = startClient(opened(), ['--path', path, '--', 'sh', '-c', 'echo started >&2; sleep 1000']);
      await eventually('the command', () => used.stderr().includes('started'));
      signalRelay(opened(), 'B', 'SIGTERM');
      await expectFailure(used, 2, 'B', /^hop 2 \(B\): keeping the tunnel: the relay closed the tunnel$/);

      await eventually('the end of B', () => !isRelayRunning(opened(), 'B'));
      await opened().startRelays(['B']);
      signalRelay(opened(), 'B', 'SIGSTOP');
      const client = startClient(opened(), ['--path', path, '--timeout', '2', '--', 'echo', 'ran']);
      await client.event('hop');
      signalRelay(opened(), 'B', 'SIGKILL');
      await expectFailure(client, 2, 'B', /^hop 2 \(B\): extending to the relay: no answer within 2 s/);
    },
    PATIENCE,
  );
});

describe('extend refuses', () => {
  const opened = shared({ wrongKey: 'B', mtu: 1300 }, ['A', 'B']);

  it(
    'a relay that proves another key than the path pins',
    async () => {
      await expectFailure(start(opened()), 2, 'B', /^hop 2 \(B\): extending to the relay: .*did not prove/);
    },
    PATIENCE,
  );

  it(
    'a path that carries too little, unless asked for what it carries',
    async () => {
      const path = pathOf(opened(), 'A');
      const client = startClient(opened(), ['--path', path, '--', 'echo', 'ran']);
      await expectFailure(
        client,
        1,
        'A',
        /^hop 1 \(A\): checking the MTU: .* at most 1246 octets.* needs 1280/,
      );
      const small = startClient(opened(), [
        '--path',
        path,
        '--inner-mtu',
        'max',
        '--',
        'cat',
        '/etc/resolv.conf',
      ]);
      expect(await small.ended).toEqual({ status: 0, signal: null });
      // No name servers were assigned: the host's are not there instead.
      expect(await small.event('established')).toMatchObject({ mtu: 1246, dns: [] });
      expect(small.stdout()).toBe('');
    },
    PATIENCE,
  );
});
