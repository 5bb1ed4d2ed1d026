import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addressBytes, addressText } from '../../src/wire/address.ts';
import { fromHex, hex } from '../../src/wire/bytes.ts';
import {
  IpProtocol,
  internetChecksum,
  ipHeaderLength,
  onesComplementSum,
  parseIpHeader,
  parseUdpHeader,
  pseudoHeaderSum,
  writeIpHeader,
  writeUdpHeader,
} from '../../src/wire/ip.ts';

const ADDRESSES = {
  4: { source: '192.0.2.1', destination: '198.51.100.2' },
  6: { source: '2001:db8::1', destination: 'fd00::2' },
} as const;
const families = fc.constantFrom(4 as const, 6 as const);

/** A UDP packet at `start` of a larger buffer. */
function udpPacket(family: 4 | 6, data: Uint8Array, start = 0) {
  const { source, destination } = ADDRESSES[family];
  const payload = start + ipHeaderLength(family);
  const end = payload + 8 + data.length;
  const buffer = new Uint8Array(end + 3).fill(0xee);
  buffer.set(data, payload + 8);
  const ports = { sourcePort: 500, destinationPort: 4500 };
  const addresses = { source: addressBytes(source), destination: addressBytes(destination) };
  writeUdpHeader(buffer, payload, end, { ...addresses, ...ports });
  writeIpHeader(buffer, start, { source, destination, protocol: IpProtocol.UDP }, end - payload);
  return { buffer, start, payload, end };
}

describe('checksums', () => {
  it('sums the example of RFC 1071 section 3', () => {
    const bytes = fromHex('0001 f203 f4f5 f6f7');
    expect(onesComplementSum(bytes, 0, 8)).toBe(0xddf2);
    expect(internetChecksum(bytes, 0, 8)).toBe(0x220d);
  });

  it('pads an odd octet with zero, and starts anywhere', () => {
    expect(onesComplementSum(fromHex('ff 0102 03'), 1, 4)).toBe(0x0402);
    expect(onesComplementSum(fromHex('0102 03'), 0, 3, 0xffff)).toBe(0x0402);
  });

  it('does not overflow', () => {
    const bytes = new Uint8Array(65536).fill(0xff);
    expect(onesComplementSum(bytes, 0, bytes.length)).toBe(0xffff);
  });

  it('is zero over what it completes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 2, maxLength: 99 }), (bytes) => {
        bytes.fill(0, 0, 2);
        const sum = internetChecksum(bytes, 0, bytes.length);
        bytes.set([sum >> 8, sum & 255]);
        expect(internetChecksum(bytes, 0, bytes.length)).toBe(0);
      }),
    );
  });

  it('sums the pseudo headers of both families', () => {
    const source = addressBytes('192.0.2.1');
    const destination = addressBytes('198.51.100.2');
    const header = fromHex('c0000201 c6336402 0011 0014');
    expect(pseudoHeaderSum(source, destination, 17, 20)).toBe(onesComplementSum(header, 0, 12));
    const v6 = addressBytes('fd00::1');
    const long = fromHex(`${hex(v6)}${hex(v6)} 00010002 0000003a`);
    expect(pseudoHeaderSum(v6, v6, 58, 0x10002)).toBe(onesComplementSum(long, 0, 40));
  });
});

describe('IP headers', () => {
  it('writes IPv4 with DF, TTL 64, DSCP 0, ID 0 and a checksum', () => {
    const buffer = new Uint8Array(20).fill(0xee);
    writeIpHeader(buffer, 0, { ...ADDRESSES[4], protocol: 50 }, 100);
    expect(hex(buffer.with(10, 0).with(11, 0))).toBe(
      '45000078000040004032 0000 c0000201c6336402'.replaceAll(' ', ''),
    );
    expect(internetChecksum(buffer, 0, 20)).toBe(0);
  });

  it('writes IPv6 with flow label 0 and hop limit 64', () => {
    const buffer = new Uint8Array(40).fill(0xee);
    const { source, destination } = ADDRESSES[6];
    writeIpHeader(
      buffer,
      0,
      { source: addressBytes(source), destination: addressBytes(destination), protocol: 50 },
      100,
    );
    expect(hex(buffer)).toBe(
      `6000000000643240${'20010db8000000000000000000000001'}${'fd000000000000000000000000000002'}`,
    );
  });

  it('reads back what it writes, anywhere in a buffer', () => {
    fc.assert(
      fc.property(families, fc.uint8Array({ maxLength: 100 }), fc.nat(20), (family, data, start) => {
        const { buffer, payload, end } = udpPacket(family, data, start);
        const packet = parseIpHeader(buffer, start, buffer.length)!;
        expect(packet).toMatchObject({ family, offset: start, payload, end, protocol: 17, fragment: false });
        const length = family === 4 ? 4 : 16;
        const at = (offset: number) => addressText(buffer.subarray(offset, offset + length));
        expect(at(packet.source)).toBe(ADDRESSES[family].source);
        expect(at(packet.destination)).toBe(ADDRESSES[family].destination);
        const udp = parseUdpHeader(buffer, packet)!;
        expect(udp).toEqual({ sourcePort: 500, destinationPort: 4500, payload: payload + 8, end });
        expect(buffer.subarray(udp.payload, udp.end)).toEqual(data);
      }),
    );
  });

  it.each<[string, (packet: Uint8Array) => Uint8Array]>([
    ['nothing', () => new Uint8Array(0)],
    ['19 octets', (p) => p.subarray(0, 19)],
    ['one octet short', (p) => p.subarray(0, 29)],
    ['version 5', (p) => p.with(0, 0x55)],
    ['a header of 16 octets', (p) => p.with(0, 0x44)],
    ['a header longer than the packet', (p) => p.with(0, 0x4f)],
    ['a total length below the header', (p) => p.with(3, 19)],
    ['IPv6 in 30 octets', (p) => p.with(0, 0x60)],
  ])('is not an IPv4 packet: %s', (_, change) => {
    const { buffer } = udpPacket(4, Uint8Array.of(1, 2));
    const packet = change(buffer.slice(0, 30));
    expect(parseIpHeader(packet, 0, packet.length)).toBeUndefined();
  });

  it('is not an IPv6 packet if it is cut', () => {
    const { buffer, end } = udpPacket(6, Uint8Array.of(1, 2));
    expect(parseIpHeader(buffer, 0, end)).toBeDefined();
    for (let limit = 0; limit < end; limit++) expect(parseIpHeader(buffer, 0, limit)).toBeUndefined();
  });

  it('tells fragments, and DF from a fragment', () => {
    const { buffer } = udpPacket(4, Uint8Array.of(1, 2));
    const fragment = (high: number, low: number) =>
      parseIpHeader(buffer.with(6, high).with(7, low), 0, buffer.length)?.fragment;
    expect([fragment(0x40, 0), fragment(0x20, 0), fragment(0, 1), fragment(0x1f, 0)]).toEqual([
      false,
      true,
      true,
      true,
    ]);
    const six = udpPacket(6, Uint8Array.of(1, 2)).buffer;
    expect(parseIpHeader(six.with(6, 44), 0, six.length)?.fragment).toBe(true);
  });

  it('skips IPv4 options', () => {
    const { buffer, end } = udpPacket(4, new Uint8Array(20));
    expect(parseIpHeader(buffer.with(0, 0x46), 0, end)).toMatchObject({ payload: 24, end });
  });

  it('never throws, and never points outside', () => {
    const octets = fc.tuple(fc.constantFrom(0x45, 0x46, 0x4f, 0x60, 0), fc.uint8Array({ maxLength: 80 }));
    fc.assert(
      fc.property(octets, ([first, bytes]) => {
        if (bytes.length > 0) bytes[0] = first;
        const packet = parseIpHeader(bytes, 0, bytes.length);
        if (packet === undefined) return;
        expect(packet.payload).toBeLessThanOrEqual(packet.end);
        expect(packet.end).toBeLessThanOrEqual(bytes.length);
        const udp = parseUdpHeader(bytes, packet);
        if (udp !== undefined) expect(udp.end).toBeLessThanOrEqual(packet.end);
      }),
    );
  });
});

describe('UDP headers', () => {
  it.each([4, 6] as const)('refuses any changed octet over IPv%i', (family) => {
    const { buffer, payload, end } = udpPacket(family, Uint8Array.of(1, 2, 3));
    for (let at = payload; at < end; at++) {
      const changed = buffer.with(at, buffer[at] ^ 0x10);
      expect(parseUdpHeader(changed, parseIpHeader(changed, 0, end)!), `octet ${at}`).toBeUndefined();
    }
  });

  it('takes checksum 0 over IPv4 only', () => {
    for (const family of [4, 6] as const) {
      const { buffer, payload, end } = udpPacket(family, Uint8Array.of(1, 2, 3));
      buffer.fill(0, payload + 6, payload + 8);
      const udp = parseUdpHeader(buffer, parseIpHeader(buffer, 0, end)!);
      if (family === 4) expect(udp).toBeDefined();
      else expect(udp).toBeUndefined();
    }
  });

  it('writes a checksum of 0 as 0xffff', () => {
    const { buffer, payload, end } = udpPacket(4, new Uint8Array(2));
    // The two octets of data become what makes the sum come out as 0xffff.
    buffer.set(buffer.slice(payload + 6, payload + 8), payload + 8);
    const addresses = {
      source: addressBytes(ADDRESSES[4].source),
      destination: addressBytes(ADDRESSES[4].destination),
    };
    writeUdpHeader(buffer, payload, end, { ...addresses, sourcePort: 500, destinationPort: 4500 });
    expect(hex(buffer.subarray(payload + 6, payload + 8))).toBe('ffff');
    expect(parseUdpHeader(buffer, parseIpHeader(buffer, 0, end)!)).toBeDefined();
  });

  it('refuses lengths below 8 and beyond the packet', () => {
    const { buffer, payload, end } = udpPacket(4, Uint8Array.of(1, 2, 3));
    buffer.fill(0, payload + 6, payload + 8);
    const parsed = (length: number) =>
      parseUdpHeader(buffer.with(payload + 5, length), parseIpHeader(buffer, 0, end)!);
    expect([parsed(0), parsed(7), parsed(12)]).toEqual([undefined, undefined, undefined]);
    expect(parsed(8)).toMatchObject({ payload: payload + 8, end: payload + 8 });
    expect(parseUdpHeader(buffer, { ...parseIpHeader(buffer, 0, end)!, end: payload + 7 })).toBeUndefined();
  });
});
