import { type Packet, packetBytes, packetFrom, udpPacket } from '../../src/link/packet.ts';
import type { Telescope } from '../../src/telescope/telescope.ts';
import { addressBytes } from '../../src/wire/address.ts';
import { IpProtocol, parseIpHeader, parseUdpHeader, writeIpHeader } from '../../src/wire/ip.ts';
import type { SeenPacket } from '../support/sim-network.ts';
import { CLIENT, TelescopeWorld } from '../support/sim-telescope.ts';
import { mutateDatagram, mutateOctets } from './datagram-mutations.ts';
import { Violation } from './laws.ts';
import { Random } from './random.ts';

/** Packets between two looks at what has become of the telescope. */
const BATCH = 500;
const RELAY = '192.0.2.1';
const STRANGERS = ['198.51.100.7', '203.0.113.200', '192.0.2.2', '10.1.0.1', '0.0.0.0'];

export interface RelayAttackReport {
  readonly packets: number;
  /** Octets of IP packets to the relay and the client, and of what they answered. */
  readonly octets: { readonly sent: number; readonly answered: number };
}

/**
 * Throws packets that are nearly right at the sockets of a relay and of its client, IKE and ESP, while they have a telescope.
 * @throws Violation if that does not survive, or if they answer with more than they are sent
 */
export async function attackRelay(count: number, seed: number): Promise<RelayAttackReport> {
  const random = new Random(seed, 3);
  const world = await TelescopeWorld.open({ relays: 2 });
  const telescope = await world.build({ innerMtu: 1000 });
  await expectAlive(world, telescope);
  const before = observe(world);
  const { network } = world.relays;
  const seen = network.eavesdropper('s', 'a').filter(({ bytes }) => isIkeOrEsp(bytes));
  const library = seen.map(payloadOf);
  let sent = 0;
  let answered = 0;
  for (let i = 1; i <= count; i++) {
    const packet = attackPacket(random, random.pick(seen), library);
    const isToClient = packet.to === CLIENT;
    sent += packet.bytes.length;
    const mark = network.eavesdropper('s', 'a').length;
    network.transmit(isToClient ? 'a' : 's', packet.bytes);
    if (i % 20 === 0 || i === count) {
      await world.clock.advance(100);
      for (const { bytes, from } of network.eavesdropper('s', 'a').slice(mark))
        if (from === (isToClient ? 's' : 'a')) answered += bytes.length;
    }
    if (i % BATCH === 0 || i === count) {
      await expectAlive(world, telescope);
      const now = observe(world);
      if (now !== before) throw new Violation(`the relays' clients have changed from ${before} to ${now}`);
    }
  }
  await world.clock.advance(100_000);
  const { ikeSas } = world.relays.relay('a').state();
  if (ikeSas !== 2) throw new Violation(`the relay has ${ikeSas} IKE SAs for a client and an overlay`);
  await world.clock.until(telescope.close());
  if (answered > sent) throw new Violation(`${answered} octets were the answer to ${sent}`);
  return { packets: count, octets: { sent, answered } };
}

async function expectAlive(world: TelescopeWorld, telescope: Telescope): Promise<void> {
  if ((await world.echo(telescope, 'still there?')) !== 'still there?')
    throw new Violation('the telescope carries nothing any more');
}

/** The relays' clients with their SAs; rekeys are not due while an attack lasts. */
function observe(world: TelescopeWorld): string {
  return JSON.stringify(world.path.map(({ name }) => world.relays.relay(name).state().clients));
}

function isIkeOrEsp(bytes: Uint8Array): boolean {
  const header = parseIpHeader(bytes, 0, bytes.length);
  return header?.protocol === IpProtocol.UDP || header?.protocol === IpProtocol.ESP;
}

/** The IKE message or the ESP packet in an IP packet. */
function payloadOf({ bytes }: SeenPacket): Uint8Array {
  const header = parseIpHeader(bytes, 0, bytes.length)!;
  const udp = header.protocol === IpProtocol.UDP ? parseUdpHeader(bytes, header) : undefined;
  return bytes.slice(udp?.payload ?? header.payload, udp?.end ?? header.end);
}

function attackPacket(
  random: Random,
  base: SeenPacket,
  library: readonly Uint8Array[],
): { readonly bytes: Uint8Array; readonly to: string } {
  const to = base.to === 's' ? CLIENT : RELAY;
  const from = random.chance(0.7) ? (base.to === 's' ? RELAY : CLIENT) : random.pick(STRANGERS);
  const addresses = { source: addressBytes(from), destination: addressBytes(to) };
  const payload = random.chance(0.1)
    ? payloadOf(base)
    : mutateDatagram(random, payloadOf(base), library).bytes;
  const body = payload.subarray(0, 1_400);
  const isUdp = parseIpHeader(base.bytes, 0, base.bytes.length)?.protocol === IpProtocol.UDP;
  const port = random.pick([500, 4500]);
  const packet = isUdp
    ? udpPacket(body, { ...addresses, sourcePort: random.pick([500, 4500, 60_000]), destinationPort: port })
    : ipPacket(body, { ...addresses, protocol: IpProtocol.ESP });
  const bytes = packetBytes(packet).slice();
  // What routes it stays as it is.
  if (random.chance(0.9)) return { bytes, to };
  const broken = mutateOctets(random, bytes, [bytes]);
  if (broken.length < 20) return { bytes, to };
  broken.set(bytes.subarray(12, 20), 12);
  return { bytes: parseIpHeader(broken, 0, broken.length) === undefined ? bytes : broken, to };
}

function ipPacket(body: Uint8Array, header: Parameters<typeof writeIpHeader>[2]): Packet {
  const packet = packetFrom(new Uint8Array(20 + body.length));
  packet.buffer.set(body, packet.start + 20);
  writeIpHeader(packet.buffer, packet.start, header, body.length);
  return packet;
}
