import { existsSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { captureLink } from '../../src/demo/capture.ts';
import { fetchThroughTelescope } from '../../src/demo/client-process.ts';
import { addressFact, observeLink } from '../../src/demo/observation.ts';
import { ADDRESSES, interfaceName, openTopology, type Topology } from '../../src/demo/topology.ts';
import { compiledSources } from '../support/compiled.ts';
import { native, udpIn } from '../support/namespaces.ts';
import { until } from '../support/waiting.ts';

const PATIENCE = 60_000;

let topology: Topology;
afterEach(async () => {
  await topology.close();
  expect(existsSync(topology.directory)).toBe(false);
});

describe('openTopology', { timeout: PATIENCE }, () => {
  it('lets a capture of a link see what is on it: a packet of S that A forwards as it is', async () => {
    topology = await openTopology();
    const { S, A, B } = topology.namespaces;
    const capture = captureLink(native(), A, interfaceName('A', 'A-B'));
    await A.exec(['sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward']);
    await S.exec(['ip', 'route', 'add', ADDRESSES.B, 'via', ADDRESSES.A]);
    await B.exec(['ip', 'route', 'add', ADDRESSES.S, 'via', ADDRESSES.A]);
    const sender = await udpIn(S, ADDRESSES.S, 500);
    const receiver = await udpIn(B, ADDRESSES.B, 500);
    sender.send(new Uint8Array(100), ADDRESSES.B, 500);
    await until('the packet', () => receiver.received.length > 0);
    await until('its capture', () => capture.frames.length >= 3);
    const facts = [addressFact('S', ADDRESSES.S), addressFact('D', ADDRESSES.D)];
    const view = observeLink(
      capture.frames.map(({ bytes }) => bytes),
      facts,
    );
    expect(view.sightings.map(({ fact, offset }) => [fact.label, offset])).toEqual([['S', 26]]);
    expect(view.addresses).toContain(ADDRESSES.S);
    for (const closing of [capture, sender, receiver]) closing.close();
  });

  it('joins neighbours only, without IPv6, and S has a route to A alone', async () => {
    topology = await openTopology({ mtu: 1400 });
    const { S, B, C } = topology.namespaces;
    const routes = JSON.parse((await S.exec(['ip', '-json', 'route'])).stdout);
    expect(routes).toEqual([expect.objectContaining({ dst: ADDRESSES.A, dev: 'toA' })]);
    const links = JSON.parse((await B.exec(['ip', '-json', 'link'])).stdout);
    expect(links.map(({ ifname, mtu }: { ifname: string; mtu: number }) => [ifname, mtu])).toEqual([
      ['lo', 65_536],
      ['toA', 1400],
      ['toC', 1400],
    ]);
    expect((await C.exec(['ip', '-6', 'address', 'show', 'dev', 'toD'])).stdout).toBe('');
  });

  it('gives the client a wrong key of a relay, and starts relays one by one', async () => {
    topology = await openTopology({
      compiled: compiledSources(),
      wrongKey: 'B',
      exit: false,
      poolLength: 28,
    });
    await topology.startRelays(['A']);
    expect((await topology.relay('A').state()).overlays).toMatchObject([{ peer: 'B' }]);
    expect(() => topology.relay('B')).toThrow('relay B was not started');
    await topology.startRelays(['B']);
    expect((await topology.relay('B').state()).overlays[0].up).toBeDefined();
    const hops: unknown[] = [];
    const fetched = fetchThroughTelescope(topology, { url: 'http://192.0.2.1/' }, (event) => {
      if (event.event === 'hop') hops.push(event.assigned[0]);
    });
    await expect(fetched).rejects.toThrow(/the client ended with status 69: hop 2 \(B\): /);
    expect(hops).toEqual([expect.stringMatching(/^10\.171\.0\.\d+$/)]);
  });

  it('reports what a relay said that does not start', async () => {
    topology = await openTopology({ compiled: compiledSources() });
    const taken = await udpIn(topology.namespaces.A, ADDRESSES.A, 500);
    await expect(topology.startRelays(['A'])).rejects.toThrow(
      /relay A: it ended with status 71 while waiting for .*500/,
    );
    taken.close();
  });
});
