import { describe, expect, it } from 'vitest';
import { udpDatagram } from '../../src/decode/datagram.ts';
import { concat, fromHex, utf8 } from '../../src/wire/bytes.ts';
import { udpPacket } from './captures.ts';

const PAYLOAD = utf8('an IKE message');
const V4 = udpPacket(PAYLOAD);
const V6 = udpPacket(PAYLOAD, {
  source: '2001:db8::1',
  destination: '2001:db8::2',
  sourcePort: 4500,
  destinationPort: 41_000,
});
const MACS = '020000000001 020000000002';

describe('link types', () => {
  it.each([
    ['Ethernet', 1, `${MACS} 0800`, V4],
    ['Ethernet, IPv6', 1, `${MACS} 86dd`, V6],
    ['Ethernet with a VLAN tag', 1, `${MACS} 8100 0005 0800`, V4],
    ['Ethernet with two VLAN tags', 1, `${MACS} 88a8 0005 8100 0006 86dd`, V6],
    ['raw IP', 101, '', V4],
    ['raw IP, as a DLT', 12, '', V6],
    ['IPv4', 228, '', V4],
    ['IPv6', 229, '', V6],
    ['null', 0, '02000000', V4],
    ['null, IPv6', 0, '0000001e', V6],
    ['loopback', 108, '00000002', V4],
    ['Linux cooked', 113, '0000 0001 0006 0200000000010000 0800', V4],
    ['Linux cooked with a VLAN tag', 113, '0000 0001 0006 0200000000010000 8100 0007 86dd', V6],
    ['Linux cooked 2', 276, '86dd 0000 00000002 0001 00 06 0200000000010000', V6],
  ])('%s', (_, linkType, header, packet) => {
    const found = udpDatagram(linkType, concat(fromHex(header), packet, fromHex('0000')));
    const [source, destination] = [found?.source, found?.destination];
    expect(found?.payload).toEqual(PAYLOAD);
    if (packet === V4) {
      expect([source, destination]).toEqual([
        { address: '192.0.2.1', port: 500 },
        { address: '192.0.2.2', port: 500 },
      ]);
    } else {
      expect([source, destination]).toEqual([
        { address: '2001:db8::1', port: 4500 },
        { address: '2001:db8::2', port: 41_000 },
      ]);
    }
    expect(found?.error).toBeUndefined();
  });

  it.each([
    ['ARP', 1, concat(fromHex(`${MACS} 0806`), new Uint8Array(28))],
    ['another link type', 147, V4],
    ['nothing', 1, new Uint8Array(0)],
  ])('no datagram in %s', (_, linkType, frame) => {
    expect(udpDatagram(linkType, frame)).toBeUndefined();
  });
});

describe('packets', () => {
  const changed = (packet: Uint8Array, change: (view: DataView) => void) => {
    const copy = packet.slice();
    change(new DataView(copy.buffer));
    return udpDatagram(101, copy);
  };
  /** V6 with headers between IPv6's and UDP's; each begins with the type of the next one. */
  const extended = (first: number, headers: string) => {
    const between = fromHex(headers);
    const packet = concat(V6.subarray(0, 40), between, V6.subarray(40));
    packet[6] = first;
    new DataView(packet.buffer).setUint16(4, packet.length - 40);
    return udpDatagram(101, packet);
  };

  it('with a wrong checksum are read', () => {
    expect(changed(V4, (view) => view.setUint16(26, 1))?.payload).toEqual(PAYLOAD);
  });

  it('with IPv6 extension headers are read', () => {
    expect(extended(0, '3c00 000000000000 1101 000000000000 0000000000000000')?.payload).toEqual(PAYLOAD);
    expect(extended(44, '1100 0000 12345678')?.payload).toEqual(PAYLOAD);
    expect(extended(0, '0600 000000000000')).toBeUndefined();
  });

  it('that are the first of several fragments say so, and later ones are passed over', () => {
    expect(changed(V4, (view) => view.setUint16(6, 0x2000))?.error).toMatch(/IP fragments/);
    expect(changed(V4, (view) => view.setUint16(6, 0x2001))).toBeUndefined();
    expect(extended(44, '1100 0001 12345678')?.error).toMatch(/IP fragments/);
    expect(extended(44, '1100 0008 12345678')).toBeUndefined();
  });

  it('that the capture has not wholly say so', () => {
    expect(udpDatagram(101, V4.subarray(0, 40))).toMatchObject({
      source: { port: 500 },
      error: 'the capture has only the first 40 octets of the packet',
    });
    expect(udpDatagram(101, V6.subarray(0, 50))?.error).toMatch(/only the first 50 octets/);
    expect(udpDatagram(101, V6.subarray(0, 44))).toBeUndefined();
  });

  it('with a wrong UDP length say so', () => {
    expect(changed(V4, (view) => view.setUint16(24, 500))?.error).toBe(
      'UDP length 500, but 22 octets are there',
    );
    expect(changed(V4, (view) => view.setUint16(24, 3))?.error).toMatch(/UDP length 3/);
  });

  it('of other protocols are passed over', () => {
    expect(changed(V4, (view) => view.setUint8(9, 6))).toBeUndefined();
    expect(extended(6, '')).toBeUndefined();
  });
});
