import { describe, expect, it } from 'vitest';
import { userSpaceBackend } from '../../src/backend/userspace/backend.ts';
import type { IkeConnection } from '../../src/endpoint/connection.ts';
import { Endpoint } from '../../src/endpoint/endpoint.ts';
import { type Packet, packetBytes, udpPacket } from '../../src/link/packet.ts';
import type { Tunnel } from '../../src/link/sa-store.ts';
import { addressBytes } from '../../src/wire/address.ts';
import { utf8 } from '../../src/wire/bytes.ts';
import { parseIpHeader, parseUdpHeader } from '../../src/wire/ip.ts';
import { anonymousProfile, initiatorConfig, responderConfig, sharedKey } from '../support/ike-configs.ts';
import { testCrypto } from '../support/pair.ts';
import { SimNat } from '../support/sim-nat.ts';
import { type SeenPacket, SimNetwork } from '../support/sim-network.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

const INSIDE = '10.0.0.2';
const PUBLIC = '203.0.113.7';
const RELAY = '198.51.100.2';
const relay = sharedKey('relay');

/** A client, perhaps behind a NAT that forgets mappings after 25 seconds, with a tunnel to a relay. */
async function world({ nat: hasNat = true, keepalives = true } = {}) {
  const clock = new VirtualClock();
  const network = new SimNetwork(clock);
  const { provider } = testCrypto(71);
  const client = network.host('s', INSIDE);
  const host = network.host('r', RELAY);
  network.join('s', 'n');
  network.join('n', 'r');
  const nat = hasNat ? new SimNat(network, 'n', PUBLIC, (address) => address === INSIDE, 25_000) : undefined;
  const backend = userSpaceBackend(provider);
  const accepted: IkeConnection[] = [];
  const received: Packet[] = [];
  const far = await Endpoint.open({ link: host, backend, crypto: provider, clock });
  far.listen({
    config: responderConfig(provider, anonymousProfile(relay)),
    cookieThreshold: 100,
    maxHalfOpen: 100,
    onChild: (connection) => {
      accepted.push(connection);
      connection.child!.tunnel.onPackets((packets) => received.push(...packets));
    },
    onClosed: () => {},
  });
  const attach = client.attach.bind(client);
  if (!keepalives)
    client.attach = async (handlers) => ({ ...(await attach(handlers)), sendKeepalive: () => {} });
  const near = await Endpoint.open({ link: client, backend, crypto: provider, clock });
  const config = { ...initiatorConfig(provider, relay), natDetection: true };
  const connection = await clock.until(near.connect(config, client.origin(RELAY, false)));
  const assigned = connection.child!.info.assigned!.ip4!;
  const send = (tunnel: Tunnel, source: string, destination: string) =>
    tunnel.send([
      udpPacket(utf8('x'), {
        source: addressBytes(source),
        destination: addressBytes(destination),
        sourcePort: 7,
        destinationPort: 7,
      }),
    ]);
  const answers: Packet[] = [];
  connection.child!.tunnel.onPackets((packets) => answers.push(...packets));
  return {
    clock,
    network,
    nat,
    near,
    connection,
    received,
    answers,
    accepted: accepted[0],
    sendOut: () => send(connection.child!.tunnel, assigned, '192.0.2.200'),
    sendBack: () => send(accepted[0].child!.tunnel, '192.0.2.200', assigned),
    /** What has left the client. */
    sent: () => network.eavesdropper('s', 'n').filter(({ from }) => from === 's'),
  };
}

function udpOf({ bytes }: SeenPacket) {
  const udp = parseUdpHeader(bytes, parseIpHeader(bytes, 0, bytes.length)!);
  return (
    udp && {
      port: udp.destinationPort,
      source: udp.sourcePort,
      payload: bytes.subarray(udp.payload, udp.end),
    }
  );
}

const isKeepalive = (packet: SeenPacket) => udpOf(packet)?.payload.length === 1;

describe('the mapping of a NAT in front of us', () => {
  it('is kept by one octet 0xFF for every 20 seconds in which nothing else is sent (rule 75)', async () => {
    const { clock, nat, sent, accepted, connection } = await world();
    const before = sent().length;
    const [, port] = nat!.ports;
    await clock.advance(600_000);
    expect(nat!.ports).toEqual([port]);
    const kept = sent().slice(before);
    expect(kept).toHaveLength(30);
    for (const packet of kept) {
      expect(udpOf(packet)).toEqual({ port: 4500, source: 4500, payload: Uint8Array.of(0xff) });
    }
    // The relay can still reach us, and with ESP as well.
    expect(await clock.until(accepted.checkLiveness())).toBe(true);
    // With an IKE SA, and no longer.
    await clock.until(connection.close(new Promise(() => {})));
    const after = sent().length;
    await clock.advance(100_000);
    expect(sent()).toHaveLength(after);
    expect(clock.pending).toBeLessThanOrEqual(1);
  });

  it('is lost without', async () => {
    const { clock, nat, accepted } = await world({ keepalives: false });
    await clock.advance(60_000);
    expect(nat!.ports).toEqual([]);
    expect(await clock.until(accepted.checkLiveness())).toBe(false);
  });

  it('needs no keepalives while there is traffic', async () => {
    const { clock, sent, sendOut } = await world();
    for (let i = 0; i < 20; i++) {
      sendOut();
      await clock.advance(15_000);
    }
    expect(sent().filter(isKeepalive)).toEqual([]);
  });

  it('is not there without a NAT', async () => {
    const { clock, sent } = await world({ nat: false });
    const before = sent().length;
    await clock.advance(600_000);
    expect(sent()).toHaveLength(before);
  });
});

describe('keepalives that arrive', () => {
  it('are no sign of life, and no packets (rule 76)', async () => {
    const { clock, network, nat, connection, answers } = await world();
    await clock.advance(25_000);
    network.setFault('n', 'r', ({ from, bytes }) => (from === 'r' && bytes.length > 29 ? [] : [0]));
    const [port] = nat!.ports;
    const back = udpKeepalive(port);
    const timer = () => {
      network.transmit('r', back);
      clock.at(clock.now() + 500, timer);
    };
    timer();
    expect(await clock.until(connection.checkLiveness())).toBe(false);
    expect(answers).toEqual([]);
  });
});

/** ESP in UDP from anybody. */
function toRelayFrom(address: string, payload: Uint8Array): Uint8Array {
  const ends = { source: addressBytes(address), destination: addressBytes(RELAY) };
  return packetBytes(udpPacket(payload, { ...ends, sourcePort: 9, destinationPort: 4500 })).slice();
}

/** From the relay to a port of the NAT. */
function udpKeepalive(port: number): Uint8Array {
  const ends = { source: addressBytes(RELAY), destination: addressBytes(PUBLIC) };
  return packetBytes(
    udpPacket(Uint8Array.of(0xff), { ...ends, sourcePort: 4500, destinationPort: port }),
  ).slice();
}

describe('a NAT that has forgotten the mapping', () => {
  it('is followed by ESP and IKE, as soon as a newer packet with a right ICV has come (rule 74)', async () => {
    const { clock, nat, sendOut, sendBack, received, answers, accepted } = await world();
    sendOut();
    await clock.advance(100);
    sendBack();
    await clock.advance(100);
    expect([received.length, answers.length]).toEqual([1, 1]);
    const [, before] = nat!.ports;
    nat!.reboot();
    sendBack();
    await clock.advance(100);
    expect(answers).toHaveLength(1);
    sendOut();
    await clock.advance(100);
    expect(nat!.ports).not.toContain(before);
    sendBack();
    await clock.advance(100);
    expect([received.length, answers.length]).toEqual([2, 2]);
    expect(await clock.until(accepted.checkLiveness())).toBe(true);
  });

  it('is not what a replayed, tampered or overtaken packet shows (rule 74) (bad input 19)', async () => {
    const { clock, network, sendOut, sendBack, received, answers, sent } = await world();
    // The first of these three is late.
    let held: Uint8Array | undefined;
    network.setFault('n', 'r', ({ from, bytes }) => {
      if (from !== 'n' || held !== undefined) return [0];
      held = bytes;
      return [];
    });
    for (let i = 0; i < 3; i++) sendOut();
    await clock.advance(100);
    network.setFault('n', 'r', undefined);
    expect(received).toHaveLength(2);
    const last = network
      .eavesdropper('n', 'r')
      .filter(({ from }) => from === 'n')
      .at(-1)!.bytes;
    const tampered = last.slice();
    // A newer sequence number, and so a wrong ICV.
    tampered[28 + 7] += 1;
    const arrivals = network.eavesdropper('n', 'r').length;
    for (const bytes of [last, tampered, held!]) {
      network.transmit('n', toRelayFrom('192.0.2.66', bytes.subarray(28)));
      await clock.advance(100);
    }
    expect(network.eavesdropper('n', 'r')).toHaveLength(arrivals + 3);
    // The one that came late is authentic, but older than what came before it.
    expect(received).toHaveLength(3);
    sendBack();
    await clock.advance(100);
    expect(answers).toHaveLength(1);
    expect(sent().length).toBeGreaterThan(0);
  });
});
