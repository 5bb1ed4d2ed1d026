import { describe, expect, it } from 'vitest';
import { pumpTun } from '../../src/client/tun-pump.ts';
import { type Packet, packetBytes, packetFrom } from '../../src/link/packet.ts';
import type { Tunnel } from '../../src/link/sa-store.ts';
import { concat, hex } from '../../src/wire/bytes.ts';
import { internetChecksum, writeIpHeader } from '../../src/wire/ip.ts';

const ASSIGNED = { ip4: '10.1.2.3', ip6: { address: 'fd00::3', prefixLength: 128 }, dns: [] };

/** A pump between a device and a tunnel that only keep what they are given. */
function openPump() {
  const sent: string[] = [];
  const written: string[] = [];
  let fromTun!: (packets: readonly Packet[]) => void;
  let fromTunnel!: (packets: readonly Packet[]) => void;
  const tunnel: Pick<Tunnel, 'send' | 'onPackets'> = {
    send: (packets) => void sent.push(...packets.map((packet) => hex(packetBytes(packet)))),
    onPackets: (handler) => {
      fromTunnel = handler;
    },
  };
  const tun = {
    name: 'tun0',
    start: (onBatch: (packets: readonly Packet[]) => void) => {
      fromTun = onBatch;
    },
    write: (packet: Packet) => {
      written.push(hex(packetBytes(packet)));
      return true;
    },
    close: () => {},
  };
  pumpTun(tun, tunnel as Tunnel, ASSIGNED);
  return {
    enter: (bytes: Uint8Array) => {
      fromTun([packetFrom(bytes)]);
      return sent;
    },
    leave: (bytes: Uint8Array) => {
      fromTunnel([packetFrom(bytes)]);
      return written;
    },
  };
}

function packet(source: string, destination: string, payload = 8): Uint8Array {
  const header = source.includes(':') ? 40 : 20;
  const bytes = new Uint8Array(header + payload);
  writeIpHeader(bytes, 0, { source, destination, protocol: 17 }, payload);
  return bytes;
}

const PACKET4 = packet('10.1.2.3', '203.0.113.9');
const PACKET6 = packet('fd00::3', '2001:db8::9');

function changed(bytes: Uint8Array, change: (copy: Uint8Array) => void): Uint8Array {
  const copy = bytes.slice();
  change(copy);
  return copy;
}

describe('pumpTun', () => {
  it('lets whole packets from the assigned addresses in, unchanged', () => {
    const { enter } = openPump();
    enter(PACKET4);
    expect(enter(PACKET6)).toEqual([hex(PACKET4), hex(PACKET6)]);
  });

  it('clears DSCP and ECN of IPv4 and corrects the checksum (T13, T15)', () => {
    const marked = changed(PACKET4, (bytes) => {
      bytes[1] = 0xbb;
      bytes.fill(0, 10, 12);
      const sum = internetChecksum(bytes, 0, 20);
      bytes.set([sum >> 8, sum & 255], 10);
    });
    expect(openPump().enter(marked)).toEqual([hex(PACKET4)]);
  });

  it('clears the traffic class of IPv6 and nothing else', () => {
    const marked = changed(PACKET6, (bytes) => {
      bytes[0] = 0x6b;
      bytes[1] = 0xb5;
    });
    const expected = changed(PACKET6, (bytes) => {
      bytes[1] = 0x05;
    });
    expect(openPump().enter(marked)).toEqual([hex(expected)]);
  });

  it.each([
    ['another IPv4 source', packet('10.1.2.4', '203.0.113.9')],
    ['an IPv6 link-local source', packet('fe80::1', 'ff02::2')],
    ['a truncated packet', PACKET4.subarray(0, PACKET4.length - 1)],
    ['octets after the packet', concat(PACKET4, new Uint8Array(1))],
    ['a first fragment', changed(PACKET4, (bytes) => bytes.set([0x20], 6))],
    ['what is no IP packet', changed(PACKET4, (bytes) => bytes.set([0x15]))],
    ['nothing', new Uint8Array(0)],
  ])('drops %s', (_, bytes) => {
    expect(openPump().enter(bytes)).toEqual([]);
  });

  it('writes what the tunnel delivers to the device', () => {
    const answer = packet('203.0.113.9', '10.1.2.3');
    expect(openPump().leave(answer)).toEqual([hex(answer)]);
  });
});
