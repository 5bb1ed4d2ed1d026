import { describe, expect, it } from 'vitest';
import { type Attachment, LinkError, type Origin } from '../../src/link/link.ts';
import { type Packet, packetBytes, packetFrom } from '../../src/link/packet.ts';
import type { Tunnel } from '../../src/link/sa-store.ts';
import { RelayLink } from '../../src/relay/relay-link.ts';
import { parseIpHeader } from '../../src/wire/ip.ts';
import { ESP, ip, joined, UDP, udp, view } from '../forward/packets.ts';
import { received } from '../support/received.ts';
import { SimNetwork } from '../support/sim-network.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

const OWN = '192.0.2.1';
const MARKER = new Uint8Array(4);
const message = new Uint8Array(40).fill(9);

function tunnel(): Tunnel & { readonly sent: Uint8Array[] } {
  const sent: Uint8Array[] = [];
  return {
    policy: { id: 'overlay', local: [], remote: [] },
    counters: {},
    sent,
    send: (packets) => {
      for (const packet of packets) sent.push(packetBytes(packet).slice());
    },
    onPackets: () => {},
    close: async () => {},
  };
}

async function setUp() {
  const network = new SimNetwork(new VirtualClock());
  const host = network.host('relay', OWN);
  const other = network.host('other', '192.0.2.2');
  network.join('relay', 'other');
  const outside = received();
  await other.attach(outside);
  const link = new RelayLink({ ip4: host });
  const inside = received();
  const attachment: Attachment = await link.attach(inside);
  const overlay = tunnel();
  link.setOverlay('peer', overlay);
  return { clock: network.clock, link, attachment, inside, outside, overlay };
}

function parsed(bytes: Uint8Array): {
  packet: Packet;
  header: NonNullable<ReturnType<typeof parseIpHeader>>;
} {
  const packet = packetFrom(bytes);
  return { packet, header: parseIpHeader(packet.buffer, packet.start, packet.end)! };
}

const from = { source: '10.2.0.5', destination: OWN };
const origin: Origin = {
  linkId: 'relay',
  overlayPeer: 'peer',
  address: '10.2.0.5',
  port: 500,
  localAddress: OWN,
  localPort: 500,
  encapsulated: false,
};
const encapsulated: Origin = { ...origin, port: 4500, localPort: 4500, encapsulated: true };

describe('a relay link', () => {
  it('takes IKE out of an overlay, and answers through it', async () => {
    const { link, attachment, inside, outside, overlay, clock } = await setUp();
    const { packet, header } = parsed(udp({ ...from, sport: 500, dport: 500, data: message }));
    link.receiveUdp('peer', packet, header);
    expect(inside.ikeMessages).toEqual([{ bytes: message, origin }]);
    attachment.sendIke(message, origin);
    expect(overlay.sent.map(view)).toMatchObject([
      {
        source: OWN,
        destination: '10.2.0.5',
        protocol: UDP,
        first: 500,
        second: 500,
        ttl: 64,
        df: true,
        sound: true,
      },
    ]);
    await clock.advance(100);
    expect(outside.ikeMessages).toEqual([]);
  });

  it('takes ESP out of an overlay, and answers through it', async () => {
    const { link, attachment, inside, overlay } = await setUp();
    const esp = (source: string, octet: number) =>
      parsed(ip({ source, destination: OWN, protocol: ESP, payload: new Uint8Array(32).fill(octet) }));
    link.receiveEsp('peer', [esp('10.2.0.5', 1), esp('10.2.0.5', 2), esp('10.2.0.6', 3)]);
    const plain = { ...origin, port: 0, localPort: 0 };
    expect(inside.espPackets.map(({ bytes, origin }) => [bytes[0], bytes.length, origin])).toEqual([
      [1, 32, plain],
      [2, 32, plain],
      [3, 32, { ...plain, address: '10.2.0.6' }],
    ]);
    attachment.sendEsp([packetFrom(message)], plain);
    expect(overlay.sent.map(view)).toMatchObject([
      { source: OWN, destination: '10.2.0.5', protocol: ESP, payload: message, ttl: 64, df: true },
    ]);
  });

  it('takes IKE and ESP in UDP on port 4500 out of an overlay, and no keepalive', async () => {
    const { link, attachment, inside, overlay } = await setUp();
    for (const data of [joined(MARKER, message), message, Uint8Array.of(0xff)]) {
      const { packet, header } = parsed(udp({ ...from, sport: 4500, dport: 4500, data }));
      link.receiveUdp('peer', packet, header);
    }
    expect(inside.ikeMessages).toEqual([{ bytes: message, origin: encapsulated }]);
    expect(inside.espPackets).toEqual([{ bytes: message, origin: encapsulated }]);
    attachment.sendIke(message, encapsulated);
    attachment.sendEsp([packetFrom(message)], encapsulated);
    const payloads = overlay.sent.map((bytes) => {
      expect(view(bytes)).toMatchObject({ protocol: UDP, first: 4500, second: 4500, sound: true });
      return view(bytes).payload.slice(8);
    });
    expect(payloads).toEqual([joined(MARKER, message), message]);
  });

  it('drops UDP with a wrong checksum', async () => {
    const { link, inside } = await setUp();
    const bytes = udp({ ...from, sport: 500, dport: 500, data: message });
    bytes[bytes.length - 1] ^= 1;
    const { packet, header } = parsed(bytes);
    link.receiveUdp('peer', packet, header);
    expect(inside.ikeMessages).toEqual([]);
  });

  it('sends to the host what did not come through an overlay, and nothing else', async () => {
    const { link, attachment, outside, overlay, clock } = await setUp();
    const to = link.origin('192.0.2.2', false);
    attachment.sendIke(message, to);
    attachment.sendEsp([packetFrom(message)], to);
    attachment.sendIke(message, { ...origin, overlayPeer: 'nobody', address: '192.0.2.2' });
    attachment.sendEsp([packetFrom(message)], { ...origin, overlayPeer: 'nobody', address: '192.0.2.2' });
    await clock.advance(100);
    expect(outside.ikeMessages.map(({ bytes }) => bytes)).toEqual([message]);
    expect(outside.espPackets.map(({ bytes }) => bytes)).toEqual([message]);
    expect(overlay.sent).toEqual([]);
  });

  it('says that it cannot reach a family that the host does not have', async () => {
    const { link } = await setUp();
    expect(() => link.origin('2001:db8::1', false)).toThrow(LinkError);
  });
});
