import { describe, expect, it } from 'vitest';
import { parseIpHeader, parseUdpHeader } from '../../src/wire/ip.ts';
import { SimNat } from '../support/sim-nat.ts';
import type { SeenPacket } from '../support/sim-network.ts';
import { CLIENT, TelescopeWorld } from '../support/sim-telescope.ts';

const AWAY = '203.0.113.77';

/** What a relay has of its clients and overlays, but for where the client of the first one is. */
function stateOf(world: TelescopeWorld, name: string) {
  const { clients, overlays, ikeSas } = world.relays.relay(name).state();
  return { clients, overlays, ikeSas };
}

function udpPorts(packets: readonly SeenPacket[]): (number | undefined)[] {
  return packets.map(
    ({ bytes }) => parseUdpHeader(bytes, parseIpHeader(bytes, 0, bytes.length)!)?.destinationPort,
  );
}

describe('a client whose address changes', () => {
  it('keeps its telescope, of which only the first hop moves', async () => {
    const world = await TelescopeWorld.open();
    const telescope = await world.build();
    expect(await world.echo(telescope, 'at home')).toBe('at home');
    const before = ['b', 'c'].map((name) => stateOf(world, name));
    const seen = world.relays.network.eavesdropper('a', 'b').length;
    for (const address of [AWAY, CLIENT]) {
      world.client.move(address);
      expect(await world.echo(telescope, `from ${address}`)).toBe(`from ${address}`);
    }
    expect(['b', 'c'].map((name) => stateOf(world, name))).toEqual(before);
    // Nothing passed on but the two datagrams and their echoes.
    expect(world.relays.network.eavesdropper('a', 'b').length - seen).toBeLessThanOrEqual(8);
    await world.clock.advance(300_000);
    expect(await world.echo(telescope, 'still')).toBe('still');
    await world.clock.until(telescope.close());
    expect(world.clients()).toEqual([0, 0, 0]);
  });

  it('may be without a network for a while', async () => {
    const world = await TelescopeWorld.open();
    const telescope = await world.build();
    const { network } = world.relays;
    network.setFault('s', 'a', () => []);
    world.client.move(AWAY);
    await world.clock.advance(5_000);
    network.setFault('s', 'a', undefined);
    await world.clock.advance(5_000);
    expect(await world.echo(telescope, 'back')).toBe('back');
  });

  it('leaves no packet from the address before', async () => {
    const world = await TelescopeWorld.open();
    const telescope = await world.build();
    world.client.move(AWAY);
    const { network } = world.relays;
    const from = network.eavesdropper('s', 'a').length;
    await world.echo(telescope, 'x');
    await world.clock.advance(60_000);
    const sources = network
      .eavesdropper('s', 'a')
      .slice(from)
      .filter((packet) => packet.from === 's')
      .map(({ bytes }) => bytes.subarray(12, 16).join('.'));
    expect(new Set(sources)).toEqual(new Set([AWAY]));
  });
});

describe('MOBIKE', () => {
  it('has the first hop on port 4500, and is not there at the hops behind it', async () => {
    const world = await TelescopeWorld.open();
    const telescope = await world.build();
    const first = world.relays.network.eavesdropper('s', 'a').filter(({ from }) => from === 's');
    expect(udpPorts(first).filter((port) => port !== undefined)).toEqual([500, 4500]);
    const [one, two, three] = telescope.hops.map(({ connection }) => connection);
    expect(one.isMobile).toBe(true);
    expect([two.isMobile, three.isMobile]).toEqual([false, false]);
    // ESP is plain at each, for there is no NAT: eight octets more in UDP would show.
    expect(telescope.hops.map(({ mtu }) => mtu)).toEqual([1446, 1390, 1334]);
  });

  it('takes a client behind a NAT, and from behind it', async () => {
    const world = await TelescopeWorld.open();
    const telescope = await world.build();
    const { network } = world.relays;
    network.join('s', 'n');
    network.join('n', 'a');
    const nat = new SimNat(network, 'n', '198.51.100.9', (address) => address === '10.0.0.5', 60_000);
    network.unjoin('s', 'a');
    world.client.move('10.0.0.5');
    // That there is a NAT, the answer to the update says.
    await world.clock.advance(100);
    expect(await world.echo(telescope, 'behind')).toBe('behind');
    nat.reboot();
    await world.clock.advance(61_000);
    expect(await world.echo(telescope, 'after')).toBe('after');
    network.unjoin('s', 'n');
    network.join('s', 'a');
    world.client.move(CLIENT);
    expect(await world.echo(telescope, 'free')).toBe('free');
  });
});
