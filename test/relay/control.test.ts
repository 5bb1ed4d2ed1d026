import { describe, expect, it } from 'vitest';
import { answerTo, type Caller, MethodError } from '../../src/control/methods.ts';
import { metricsText } from '../../src/control/metrics.ts';
import { relayMethods } from '../../src/relay/control.ts';
import { relayMetrics } from '../../src/relay/metrics.ts';
import { RelayNetwork } from '../support/sim-relays.ts';
import { connectClient } from './initiator.ts';

const PAIR = [
  { name: 'a', number: 1, peers: ['b'] },
  { name: 'b', number: 2, peers: ['a'] },
];

async function setUp() {
  const relays = new RelayNetwork(PAIR);
  await relays.startAll();
  const relay = relays.relay('a');
  let reload: () => string[] = () => ['peers'];
  const methods = relayMethods({ relay, clock: relays.clock, version: '1.2.3', reload: () => reload() });
  const told: unknown[] = [];
  const gone = new AbortController();
  const caller: Caller = { gone: gone.signal, notify: (method, params) => told.push([method, params]) };
  const call = async (method: string, params: object = {}) => {
    const line = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params });
    const { result, error } = JSON.parse((await answerTo(line, methods, caller))!);
    return error === undefined ? result : { refused: error.message };
  };
  const setReload = (change: () => string[]) => {
    reload = change;
  };
  return { relays, relay, call, told, gone, setReload };
}

describe('the control of a relay', () => {
  it('tells how it is in figures, and lists clients without addresses unless they are asked for', async () => {
    const { relays, call } = await setUp();
    const { connection } = await connectClient(relays, 'a', '198.51.100.1');
    const status = await call('status');
    expect(status).toMatchObject({
      name: 'a',
      version: '1.2.3',
      backend: 'userspace',
      clients: 1,
      halfOpen: 0,
      ikeSas: 2,
      overlays: { up: 1, total: 1 },
      handshakes: { failed: 0, challenged: 0, refused: 0, crowded: 0 },
      traffic: { clients: { octetsIn: 0 }, overlays: { octetsOut: 0 } },
    });
    expect(await call('list')).toEqual({
      clients: [{ id: '1' }],
      overlays: [{ id: 'o1', peer: 'b', up: true }],
    });
    const secrets = ['198.51.100.1', connection.child!.info.assigned!.ip4!];
    for (const secret of secrets) {
      expect(JSON.stringify([status, await call('list')])).not.toContain(secret);
      expect(JSON.stringify(await call('list', { addresses: true }))).toContain(secret);
    }
  });

  it('closes a client or an overlay, which is dialled again', async () => {
    const { relays, relay, call } = await setUp();
    const { connection } = await connectClient(relays, 'a', '198.51.100.1');
    expect(await call('close', { id: '1' })).toEqual({});
    expect(await relays.clock.until(connection.closed)).toBeUndefined();
    const [{ id, up }] = relay.state().overlays;
    expect(await call('close', { id })).toEqual({});
    await relays.clock.advance(100);
    expect(relay.state()).toMatchObject({ clients: [], overlays: [{ id }] });
    expect(relay.state().overlays[0].up).toBeUndefined();
    await relays.clock.advance(60_000);
    expect(relay.state().overlays[0].up).toEqual(expect.anything());
    expect(relay.state().overlays[0].up).not.toEqual(up);
    expect(await call('close', { id: '1' })).toEqual({
      refused: "there is no client or overlay '1'; see list",
    });
  });

  it('tells who watches what changes, once in a second, until they are gone', async () => {
    const { relays, call, told, gone } = await setUp();
    await call('watch');
    expect(told).toMatchObject([['status', { clients: 0 }]]);
    await relays.clock.advance(10_000 - 1);
    told.length = 0;
    await connectClient(relays, 'a', '198.51.100.1');
    await relays.clock.advance(1_000);
    expect(told.length).toBeGreaterThan(0);
    expect(told.length).toBeLessThanOrEqual(2);
    expect(told.at(-1)).toMatchObject(['status', { clients: 1 }]);
    gone.abort();
    told.length = 0;
    relays.relay('a').disconnect('1');
    await relays.clock.advance(5_000);
    expect(told).toEqual([]);
    // Gone before the call is looked at.
    await call('watch');
    expect(told).toEqual([]);
  });

  it('reads the configuration again, or says why not', async () => {
    const { call, setReload } = await setUp();
    expect(await call('reload')).toEqual({ changed: ['peers'] });
    setReload(() => {
      throw new MethodError('relay.yaml: line 1, column 1: name: is missing');
    });
    expect(await call('reload')).toEqual({ refused: 'relay.yaml: line 1, column 1: name: is missing' });
  });
});

describe('the metrics of a relay', () => {
  it('are sums, without addresses and names', async () => {
    const { relays, relay } = await setUp();
    const { connection, endpoint } = await connectClient(relays, 'a', '198.51.100.1');
    const text = metricsText(relayMetrics(relay, '1.2.3'));
    const values = text.split('\n').filter((line) => !line.startsWith('#'));
    for (const line of [
      'ike_telescope_relay_build_info{version="1.2.3",backend="userspace"} 1',
      'ike_telescope_relay_clients 1',
      'ike_telescope_relay_half_open 0',
      'ike_telescope_relay_ike_sas 2',
      'ike_telescope_relay_overlays{state="up"} 1',
      'ike_telescope_relay_overlays{state="down"} 0',
      'ike_telescope_relay_exit_up 0',
      'ike_telescope_relay_handshakes_total{result="failed"} 0',
      'ike_telescope_relay_octets_total{tunnels="clients",direction="in"} 0',
      'ike_telescope_relay_packets_total{tunnels="overlays",direction="out"} 0',
    ]) {
      expect(values).toContain(line);
    }
    for (const line of values) expect(line).toMatch(/^(ike_telescope_relay_[a-z_]+(\{[^}]*\})? \d+)?$/);
    for (const secret of ['198.51.100', '192.0.2', '10.1.', connection.child!.info.assigned!.ip4!]) {
      expect(text).not.toContain(secret);
    }
    // The series are the same however many clients there are, and what they carried stays when they are gone.
    const series = (all: string) => all.split('\n').map((line) => line.replace(/ \d+$/, ''));
    connection.child!.tunnel.send([]);
    await relays.clock.until(endpoint.close());
    expect(series(metricsText(relayMetrics(relay, '1.2.3')))).toEqual(series(text));
  });
});
