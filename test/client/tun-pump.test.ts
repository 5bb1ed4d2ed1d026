import { describe, expect, it } from 'vitest';
import { pumpTun } from '../../src/client/tun-pump.ts';
import { type Packet, packetBytes, packetFrom } from '../../src/link/packet.ts';
import type { Tunnel } from '../../src/link/sa-store.ts';
import { concat, hex } from '../../src/wire/bytes.ts';
import { internetChecksum, writeIpHeader } from '../../src/wire/ip.ts';

const ASSIGNED = {
  ip4: '10.1.2.3',
  ip6: { address: 'fd00::3', prefixLength: 128 },
  dns: ['203.0.113.53', '2001:db8::53'],
};

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
  const { dropped } = pumpTun(tun, tunnel as Tunnel, ASSIGNED);
  return {
    dropped,
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
    ['another IPv4 source', 'source', packet('10.1.2.4', '203.0.113.9')],
    ['an IPv6 link-local source', 'source', packet('fe80::1', 'ff02::2')],
    ['a truncated packet', 'malformed', PACKET4.subarray(0, PACKET4.length - 1)],
    ['octets after the packet', 'malformed', concat(PACKET4, new Uint8Array(1))],
    ['a first fragment', 'malformed', changed(PACKET4, (bytes) => bytes.set([0x20], 6))],
    ['what is no IP packet', 'malformed', changed(PACKET4, (bytes) => bytes.set([0x15]))],
    ['nothing', 'malformed', new Uint8Array(0)],
  ])('drops %s', (_, reason, bytes) => {
    const { enter, dropped } = openPump();
    expect(enter(bytes)).toEqual([]);
    expect(dropped).toEqual({ malformed: 0, source: 0, dns: 0, [reason]: 1 });
  });

  it.each([
    [17, 53],
    [6, 53],
    [17, 853],
    [6, 853],
  ])('lets protocol %i in to port %i of the assigned name servers only', (protocol, port) => {
    const query = (source: string, destination: string) =>
      changed(packet(source, destination), (bytes) => {
        bytes[source.includes(':') ? 6 : 9] = protocol;
        bytes.set([0xc0, 0x35, port >> 8, port & 255], bytes.length - 8);
      });
    const { enter, dropped } = openPump();
    enter(query('10.1.2.3', '198.51.100.53'));
    enter(query('fd00::3', '2001:db8::54'));
    expect(dropped).toEqual({ malformed: 0, source: 0, dns: 2 });
    const allowed = [query('10.1.2.3', '203.0.113.53'), query('fd00::3', '2001:db8::53')];
    expect(allowed.map(enter).at(-1)).toEqual(allowed.map(hex));
  });

  it('takes nothing in ICMP for a port', () => {
    const icmp = changed(packet('10.1.2.3', '198.51.100.53'), (bytes) => {
      bytes[9] = 1;
      bytes.set([0, 53], 22);
    });
    expect(openPump().enter(icmp)).toEqual([hex(icmp)]);
  });

  it('writes what the tunnel delivers to the device', () => {
    const answer = packet('203.0.113.9', '10.1.2.3');
    expect(openPump().leave(answer)).toEqual([hex(answer)]);
  });
});
