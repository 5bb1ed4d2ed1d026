import { describe, expect, it } from 'vitest';
import { userSpaceBackend } from '../../src/backend/userspace/backend.ts';
import { nodeProvider } from '../../src/crypto/node.ts';
import type { RelayConfig } from '../../src/relay/config.ts';
import { ReloadError } from '../../src/relay/reload.ts';
import { userSpaceHops } from '../../src/telescope/backend.ts';
import { openTelescope } from '../../src/telescope/telescope.ts';
import { RelayNetwork, relayConfigs, type SimRelay, sortedKeys } from '../support/sim-relays.ts';
import { connectClient, dialClient } from './initiator.ts';

const crypto = nodeProvider();
const keys = sortedKeys(3);

/** The configurations of a, b and c, with keys that stay; b and c list a, and a has further lines. */
function configs(peers: readonly string[], more = '', b: Partial<SimRelay> = {}) {
  return relayConfigs(
    [
      { name: 'a', number: 1, peers, more },
      { name: 'b', number: 2, peers: ['a'], ...b },
      { name: 'c', number: 3, peers: ['a'] },
    ],
    keys,
  );
}

/** All three running. */
async function start(before: ReadonlyMap<string, RelayConfig>): Promise<RelayNetwork> {
  const relays = new RelayNetwork(
    [
      { name: 'a', number: 1 },
      { name: 'b', number: 2 },
      { name: 'c', number: 3 },
    ],
    { configs: before },
  );
  for (const name of ['a', 'b', 'c']) await relays.start(name);
  await relays.clock.until(relays.relay('a').ready, 60_000);
  await relays.clock.advance(5_000);
  return relays;
}

const upOf = (relays: RelayNetwork, name: string) =>
  relays
    .relay(name)
    .state()
    .overlays.map(({ peer, up, problem }) => [peer, up !== undefined, problem]);

describe('a relay that gets another configuration while it runs', () => {
  it('dials new peers, closes those that are gone, and leaves the others and its clients alone', async () => {
    const relays = await start(configs(['b']));
    const relay = relays.relay('a');
    const client = await connectClient(relays, 'a', '198.51.100.1');
    const before = relay.state();
    expect(relay.reload(configs(['b', 'c']).get('a')!)).toEqual(['peers']);
    await relays.clock.advance(40_000);
    expect(upOf(relays, 'a')).toEqual([
      ['b', true, undefined],
      ['c', true, undefined],
    ]);
    expect(relay.state()).toMatchObject({ clients: before.clients, overlays: [before.overlays[0], {}] });

    expect(relay.reload(configs(['c']).get('a')!)).toEqual(['peers']);
    await relays.clock.advance(5_000);
    expect(upOf(relays, 'a')).toEqual([['c', true, undefined]]);
    expect(relay.state().clients).toEqual(before.clients);
    // b is told, and refused when it dials again.
    await relays.clock.advance(40_000);
    expect(upOf(relays, 'b')).toEqual([['a', false, expect.stringContaining('AUTHENTICATION_FAILED')]]);
    expect(relay.state().ikeSas).toBe(2);
    await relays.clock.until(client.endpoint.close());
  });

  it('closes the clients that came through a peer which is gone, and tells them', async () => {
    const relays = await start(configs(['b']));
    const link = relays.client('client', '198.51.100.9', ['b']);
    const telescope = await relays.clock.until(
      openTelescope(
        link,
        ['b', 'a'].map((name) => relays.configs.get(name)!.own),
        {
          crypto,
          backend: userSpaceHops(userSpaceBackend(crypto)),
          clock: relays.clock,
        },
      ),
    );
    expect(relays.relay('a').state().clients).toMatchObject([{ overlayPeer: 'b' }]);
    relays.relay('a').reload(configs([]).get('a')!);
    await relays.clock.advance(1_000);
    expect((await relays.clock.until(telescope.closed))?.message).toMatch(
      /^hop 2 \(a\): .*the relay closed the tunnel/,
    );
    await relays.clock.advance(4_000);
    expect(relays.relay('a').state()).toMatchObject({ clients: [], overlays: [], ikeSas: 0 });
  });

  it('makes the overlay anew when the peer has another descriptor', async () => {
    const relays = await start(configs(['b']));
    const relay = relays.relay('a');
    const [{ up }] = relay.state().overlays;
    const moved = configs(['b'], '', { pool: '10.77.0.0/16' });
    expect(relay.reload(moved.get('a')!)).toEqual(['peers']);
    await relays.clock.advance(2_000);
    expect(relay.state().overlays).toMatchObject([{ peer: 'b', problem: expect.any(String) }]);
    relays.crash('b');
    await relays.start('b', { config: moved.get('b')! });
    await relays.clock.advance(60_000);
    expect(upOf(relays, 'a')).toEqual([['b', true, undefined]]);
    expect(relay.state().overlays[0].up).not.toEqual(up);
  });

  it('goes by new limits, name servers and a new shared key, for clients that come then', async () => {
    const relays = await start(configs([], 'maxClients: 1\nexit: { kind: sockets }\ndns: [9.9.9.9]'));
    const relay = relays.relay('a');
    const first = await connectClient(relays, 'a', '198.51.100.1');
    await expect(connectClient(relays, 'a', '198.51.100.2')).rejects.toThrow('INTERNAL_ADDRESS_FAILURE');
    const more =
      'maxClients: 2\nexit: { kind: sockets, policy: ["accept *:53"] }\ndns: [9.9.9.10]\nmaxHalfOpen: 8\n' +
      'cookieThreshold: 0\npuzzleThreshold: 8\npuzzleDifficulty: 9\nmaxHalfOpenPer: { client: 2 }\npublicSharedKey: known';
    expect([...relay.reload(configs([], more).get('a')!)].sort()).toEqual([
      'cookieThreshold',
      'dns',
      'exit.policy',
      'maxClients',
      'maxHalfOpen',
      'maxHalfOpenPer',
      'publicSharedKey',
      'puzzleDifficulty',
      'puzzleThreshold',
    ]);
    const second = await connectClient(relays, 'a', '198.51.100.3');
    expect(second.connection.roundTrips).toBe(3); // with a cookie
    const addresses = relay.state().clients.map(({ assigned }) => assigned.ip4);
    expect(addresses).toEqual([first, second].map(({ connection }) => connection.child?.info.assigned?.ip4));
    // Now fewer than there are: those stay.
    relay.reload(configs([], 'maxClients: 1\nexit: { kind: sockets }').get('a')!);
    await expect(connectClient(relays, 'a', '198.51.100.4')).rejects.toThrow('INTERNAL_ADDRESS_FAILURE');
    expect(relay.state().clients).toHaveLength(2);
  });

  it('keeps what others are setting up, and its limits for them', async () => {
    const relays = new RelayNetwork([{ name: 'a', number: 1 }], { configs: configs([]) });
    const relay = await relays.start('a');
    const { connecting } = await dialClient(relays, 'a', '198.51.100.1');
    for (let i = 0; i < 1_000 && relay.state().halfOpen === 0; i++) await relays.clock.advance(1);
    expect(relay.state().halfOpen).toBe(1);
    relay.reload(configs([], 'maxHalfOpen: 16\ncookieThreshold: 0').get('a')!);
    expect(relay.state().halfOpen).toBe(1);
    const connection = await relays.clock.until(connecting);
    expect(connection.roundTrips).toBe(2);
    expect(relay.state()).toMatchObject({ halfOpen: 0, clients: [{}], handshakes: { established: 1 } });
  });

  it.each([
    ['pool', (config: RelayConfig) => ({ ...config, own: { ...config.own, pools: {} } })],
    ['name, mtu', (config: RelayConfig) => ({ ...config, own: { ...config.own, name: 'x' }, mtu: 1400 })],
    [
      'exit',
      (config: RelayConfig) => ({
        ...config,
        exit: { kind: 'sockets', addresses: {}, policy: { rules: [] } },
      }),
    ],
    ['ikePort', (config: RelayConfig) => ({ ...config, ikePort: 501, maxClients: 1 })],
    ['backend', (config: RelayConfig) => ({ ...config, backend: 'xfrm' })],
    ['control', (config: RelayConfig) => ({ ...config, control: '/x' })],
  ] as [string, (config: RelayConfig) => RelayConfig][])(
    'refuses what needs a restart, and changes nothing: %s',
    async (names, change) => {
      const relays = new RelayNetwork([{ name: 'a', number: 1 }]);
      const relay = await relays.start('a');
      const before = relay.config;
      expect(() => relay.reload(change(before))).toThrow(
        new ReloadError(
          `nothing was changed: restart the relay for ${names}, or take that back and reload again`,
        ),
      );
      expect(relay.config).toBe(before);
      expect(relay.reload({ ...before })).toEqual([]);
    },
  );
});
