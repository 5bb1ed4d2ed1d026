import { describe, expect, it } from 'vitest';
import { LinkType, parseFrame, pcapngFile } from '../../src/transport/pcap.ts';
import { fromHex, hex } from '../../src/wire/bytes.ts';

describe('pcapng', () => {
  it('has a section header, an interface and a packet block, octet for octet', () => {
    const file = pcapngFile(
      [{ name: 'eth0x', linkType: LinkType.ETHERNET }],
      [{ interface: 0, micros: 0x0005_1234_89ab_cdef, bytes: fromHex('aabbccddee') }],
    );
    expect(hex(file)).toBe(
      [
        '0a0d0d0a 0000001c 1a2b3c4d 0001 0000 ffffffffffffffff 0000001c',
        '00000001 00000024 0001 0000 00000000 0002 0005 6574683078 000000 00000000 00000024',
        '00000006 00000028 00000000 00051234 89abcdef 00000005 00000005 aabbccddee 000000 00000028',
      ]
        .join('')
        .replace(/ /g, ''),
    );
  });

  it('keeps interfaces and frames in order', () => {
    const interfaces = [
      { name: 'a', linkType: LinkType.RAW_IP },
      { name: 'b', linkType: LinkType.ETHERNET },
    ];
    const frames = [1, 0, 1].map((index, i) => ({ interface: index, micros: i, bytes: Uint8Array.of(i) }));
    const file = pcapngFile(interfaces, frames);
    const view = new DataView(file.buffer);
    const blocks: number[][] = [];
    for (let at = 0; at < file.length; at += view.getUint32(at + 4)) {
      blocks.push([
        view.getUint32(at),
        view.getUint32(at) === 6 ? view.getUint32(at + 8) : view.getUint16(at + 8),
      ]);
    }
    expect(blocks.slice(1)).toEqual([
      [1, 101],
      [1, 1],
      [6, 1],
      [6, 0],
      [6, 1],
    ]);
  });
});

describe('Ethernet frame', () => {
  it('has its type and content after the addresses, and after VLAN tags', () => {
    const addresses = '0'.repeat(24);
    expect(parseFrame(fromHex(`${addresses}0800 45`))).toEqual({ etherType: 0x800, offset: 14 });
    expect(parseFrame(fromHex(`${addresses}8100 0001 86dd 60`))).toEqual({ etherType: 0x86dd, offset: 18 });
    expect(parseFrame(fromHex(`${addresses}8100 0001`))).toBeUndefined();
    expect(parseFrame(fromHex(addresses))).toBeUndefined();
  });
});
