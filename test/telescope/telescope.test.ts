import { describe, expect, it } from 'vitest';
import { openUdp } from '../../src/telescope/udp.ts';
import { addressBytes, parsePrefix, prefixContains } from '../../src/wire/address.ts';
import { parseIpHeader } from '../../src/wire/ip.ts';
import type { SeenPacket } from '../support/sim-network.ts';
import { CLIENT, DESTINATION, TelescopeWorld } from '../support/sim-telescope.ts';

const RETRANSMISSION = { first: 500, factor: 2, cap: 2_000, tries: 4 };

/** Whether the four octets of an address occur in any of the packets. */
function shows(packets: readonly SeenPacket[], address: string): boolean {
  const octets = Buffer.from(addressBytes(address));
  return packets.some(({ bytes }) => Buffer.from(bytes).includes(octets));
}

/** ESP SPIs on an edge. */
function spisOf(packets: readonly SeenPacket[]): Set<number> {
  const spis = new Set<number>();
  for (const { bytes } of packets) {
    const header = parseIpHeader(bytes, 0, bytes.length)!;
    if (header.protocol === 50)
      spis.add(new DataView(bytes.buffer, bytes.byteOffset + header.payload).getUint32(0));
  }
  return spis;
}

describe('a telescope', () => {
  it.each([1, 2, 3, 4, 5])('is built through %i relays, two round trips each', async (count) => {
    const world = await TelescopeWorld.open({ relays: count });
    const telescope = await world.build({ innerMtu: 1000 });
    expect(telescope.hops.map(({ relay }) => relay.name)).toEqual(world.path.map(({ name }) => name));
    expect(telescope.hops.map(({ roundTrips }) => roundTrips)).toEqual(Array(count).fill(2));
    expect(telescope.hops.map(({ mtu }) => mtu)).toEqual([1446, 1390, 1334, 1278, 1222].slice(0, count));
    expect(await world.echo(telescope, 'hello')).toBe('hello');
    await world.clock.until(telescope.close());
    expect(world.clients()).toEqual(Array(count).fill(0));
  });

  it('sends each hop from the address that the relay before assigned', async () => {
    const world = await TelescopeWorld.open();
    const { hops, assigned } = await world.build();
    expect(hops.map(({ source }) => source)).toEqual([CLIENT, hops[0].assigned.ip4, hops[1].assigned.ip4]);
    for (const { relay, assigned } of hops) {
      expect(prefixContains(relay.pools.ip4!, addressBytes(assigned.ip4!))).toBe(true);
    }
    expect(assigned).toEqual(hops[2].assigned);
  });

  it('shows observers only neighbours, and an exit only the client it assigned', async () => {
    const world = await TelescopeWorld.open();
    const telescope = await world.build();
    expect(await world.echo(telescope, 'for the exit only')).toBe('for the exit only');
    const { network } = world.relays;
    const links = {
      sa: network.eavesdropper('s', 'a'),
      ab: network.eavesdropper('a', 'b'),
      bc: network.eavesdropper('b', 'c'),
    };
    expect(shows(links.sa, CLIENT)).toBe(true);
    expect(shows(links.ab, CLIENT)).toBe(false);
    expect(shows(links.bc, CLIENT)).toBe(false);
    const inner = telescope.hops.map(({ assigned }) => assigned.ip4!);
    for (const [name, packets] of Object.entries(links)) {
      for (const address of [...inner, DESTINATION])
        expect([name, shows(packets, address)]).toEqual([name, false]);
      expect(packets.some(({ bytes }) => Buffer.from(bytes).includes('for the exit only'))).toBe(false);
    }
    expect(world.exit.seen.map((bytes) => shows([{ at: 0, from: '', to: '', bytes }], CLIENT))).toEqual([
      false,
    ]);
    expect(
      world.relays
        .relay('b')
        .state()
        .clients.map(({ address }) => address),
    ).toEqual([inner[0]]);
    expect(
      world.relays
        .relay('c')
        .state()
        .clients.map(({ address }) => address),
    ).toEqual([inner[1]]);
  });

  it('adds no SPI to the links between relays, however many telescopes there are (T1)', async () => {
    const world = await TelescopeWorld.open();
    const { network } = world.relays;
    const first = await world.build();
    await world.echo(first, 'one');
    const before = [spisOf(network.eavesdropper('a', 'b')), spisOf(network.eavesdropper('b', 'c'))];
    for (let i = 0; i < 3; i++) await world.echo(await world.build(), 'more');
    const after = [spisOf(network.eavesdropper('a', 'b')), spisOf(network.eavesdropper('b', 'c'))];
    expect(after).toEqual(before);
    expect(before.map(({ size }) => size)).toEqual([2, 2]);
  });

  it('never gives the same address to two telescopes', async () => {
    const world = await TelescopeWorld.open();
    const seen = new Set<string>();
    for (let i = 0; i < 10; i++) {
      const { hops } = await world.build();
      for (const { assigned } of hops) seen.add(assigned.ip4!);
    }
    expect(seen.size).toBe(30);
  });

  it('is built through 20 % loss, reordering and duplication on the client link', async () => {
    const world = await TelescopeWorld.open();
    let n = 0;
    world.relays.network.setFault('s', 'a', () => {
      n++;
      if (n % 5 === 2) return [];
      return n % 3 === 0 ? [0, 40] : [n % 4 === 0 ? 25 : 0];
    });
    const telescope = await world.build();
    world.relays.network.setFault('s', 'a', undefined);
    expect(await world.echo(telescope, 'through')).toBe('through');
    await world.clock.until(telescope.close());
    expect(world.clients()).toEqual([0, 0, 0]);
  });

  it('encapsulates only the first hop in UDP', async () => {
    const world = await TelescopeWorld.open();
    const telescope = await world.build({ encapsulated: true });
    expect(telescope.hops.map(({ mtu }) => mtu)).toEqual([1438, 1382, 1326]);
    expect(await world.echo(telescope, 'in UDP')).toBe('in UDP');
    expect(spisOf(world.relays.network.eavesdropper('s', 'a'))).toEqual(new Set());
  });

  it('carries datagrams up to the one inner MTU, although the path carries more', async () => {
    const world = await TelescopeWorld.open();
    const largest = 'x'.repeat(1280 - 28);
    const telescope = await world.build();
    expect(telescope.hops[2].mtu).toBe(1334);
    expect(await world.echo(telescope, largest)).toBe(largest);
    await expect(world.echo(telescope, `${largest}x`)).rejects.toThrow('1253 octets exceeds 1252');
    const small = await world.build({ innerMtu: 1000 });
    await expect(world.echo(small, 'x'.repeat(973))).rejects.toThrow('973 octets exceeds 972');
  });

  it('closes innermost first', async () => {
    const world = await TelescopeWorld.open();
    const telescope = await world.build();
    const closing = telescope.close();
    const counts = new Set<string>();
    for (let i = 0; i < 400; i++) {
      counts.add(world.clients().join());
      await world.clock.advance(1);
    }
    await closing;
    expect([...counts]).toEqual(['1,1,1', '1,1,0', '1,0,0', '0,0,0']);
    expect(await telescope.closed).toBeUndefined();
  });
});

describe('a telescope that cannot be built', () => {
  it('names a silent hop and leaves nothing behind', async () => {
    const world = await TelescopeWorld.open();
    world.relays.crash('b');
    await expect(world.build({ retransmission: RETRANSMISSION })).rejects.toThrow(
      /^hop 2 \(b\): extending to the relay: .*answer/,
    );
    expect(world.relays.relay('a').state().clients).toEqual([]);
  });

  it('names a relay with another key than the pinned one', async () => {
    const world = await TelescopeWorld.open();
    const [a, b, c] = world.path;
    await expect(world.build({}, [a, { ...b, publicKey: c.publicKey }])).rejects.toMatchObject({
      name: 'TelescopeError',
      hop: 2,
      relay: 'b',
      cause: { name: 'AuthenticationError' },
    });
    expect(world.clients()).toEqual([0, 0, 0]);
  });

  it('names a relay whose pool is exhausted, and the next client gets the address of one that left', async () => {
    const world = await TelescopeWorld.open({ pools: { b: '10.2.0.0/32' } });
    const first = await world.build();
    await expect(world.build()).rejects.toThrow(/^hop 2 \(b\): .*INTERNAL_ADDRESS_FAILURE/);
    expect(world.clients()).toEqual([1, 1, 1]);
    await world.clock.until(first.close());
    const second = await world.build();
    expect(second.hops[1].assigned.ip4).toBe('10.2.0.0');
  });

  it('refuses a path whose MTU is too small, with the figure', async () => {
    const world = await TelescopeWorld.open({ clientMtu: 1400 });
    await expect(world.build()).rejects.toThrow(
      /hop 3 \(c\): checking the MTU: .* at most 1234 octets, .* needs 1280/,
    );
    expect(world.clients()).toEqual([0, 0, 0]);
  });

  it('refuses an address outside the pool that the relay signed', async () => {
    const world = await TelescopeWorld.open();
    const [a, b] = world.path;
    const path = [a, { ...b, pools: { ip4: parsePrefix('10.77.0.0/16') } }];
    await expect(world.build({}, path)).rejects.toThrow(/hop 2 \(b\): .*outside its pool 10\.77\.0\.0\/16/);
    expect(world.clients()).toEqual([0, 0, 0]);
  });

  it('cannot reach a relay that the hop before has no overlay to', async () => {
    const world = await TelescopeWorld.open();
    const [a, , c] = world.path;
    await expect(world.build({ retransmission: RETRANSMISSION }, [a, c])).rejects.toThrow(/^hop 2 \(c\)/);
    expect(Object.keys(world.relays.relay('a').state().drops)).toContain('not-an-exit');
    expect(shows(world.relays.network.eavesdropper('a', 'c'), CLIENT)).toBe(false);
  });

  it('stops when it is aborted', async () => {
    const world = await TelescopeWorld.open();
    const stop = new AbortController();
    const building = world.build({
      signal: stop.signal,
      onExtending: (hop) => hop === 3 && stop.abort(new Error('enough')),
    });
    await expect(building).rejects.toThrow('enough');
    await world.clock.advance(1_000);
    expect(world.clients()).toEqual([0, 0, 0]);
  });

  it('needs a path of 1 to 8 relays', async () => {
    const world = await TelescopeWorld.open({ relays: 1 });
    await expect(world.build({}, [])).rejects.toThrow(RangeError);
    await expect(world.build({}, Array(9).fill(world.path[0]))).rejects.toThrow(/1 to 8 relays, not 9/);
  });
});

describe('a telescope that breaks', () => {
  it.each([
    ['a', 1],
    ['b', 2],
    ['c', 3],
  ] as const)('names relay %s when it dies', async (name, hop) => {
    const world = await TelescopeWorld.open();
    const telescope = await world.build();
    world.relays.crash(name);
    const error = await world.clock.until(telescope.closed, 80_000);
    expect(error).toMatchObject({ hop, relay: name });
    await world.clock.advance(120_000);
    const others = world.path.map((relay) => relay.name).filter((other) => other !== name);
    for (const other of others) expect(world.relays.relay(other).state().clients).toEqual([]);
  });

  it.each([
    ['a', 1],
    ['b', 2],
    ['c', 3],
  ] as const)('notices soon that relay %s has died if it sends meanwhile', async (name, hop) => {
    const world = await TelescopeWorld.open();
    const telescope = await world.build();
    const udp = openUdp(telescope, 4_321);
    const send = () => {
      udp.send(new Uint8Array(8), { address: DESTINATION, port: 7 });
      world.clock.at(world.clock.now() + 1_000, send);
    };
    send();
    world.relays.crash(name);
    // Before any check from time to time could have failed: 15 s until it and 15.5 s of retransmissions.
    expect(await world.clock.until(telescope.closed, 45_000)).toMatchObject({ hop, relay: name });
  });

  it('is not checked at once while answers come', async () => {
    const world = await TelescopeWorld.open();
    const telescope = await world.build();
    const answered = telescope.hops.map(({ connection }) => connection.roundTrips);
    for (let second = 0; second < 14; second++) expect(await world.echo(telescope, 'x')).toBe('x');
    expect(telescope.hops.map(({ connection }) => connection.roundTrips)).toEqual(answered);
  });

  it('lasts while all relays live', async () => {
    const world = await TelescopeWorld.open();
    const telescope = await world.build();
    await world.clock.advance(600_000);
    expect(await world.echo(telescope, 'still here')).toBe('still here');
  });
});
