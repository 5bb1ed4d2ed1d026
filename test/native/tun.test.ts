import { describe, expect, it } from 'vitest';
import { packetFrom } from '../../src/link/packet.ts';
import type { TunDevice } from '../../src/native/native.ts';
import { IpProtocol, internetChecksum, parseIpHeader, parseUdpHeader } from '../../src/wire/ip.ts';
import { native, udpIn, within, withNamespaces } from '../support/namespaces.ts';
import { until } from '../support/waiting.ts';

describe('TUN device', () => {
  it('carries UDP both ways between two namespaces bridged in JavaScript', () =>
    withNamespaces(2, async (a, b) => {
      const tunA = within(a, () => native().openTun('tunA'));
      const tunB = within(b, () => native().openTun());
      try {
        expect(tunA.name).toBe('tunA');
        expect(tunB.name).toBe('tun0');
        await a.exec(['ip', 'address', 'add', '10.8.0.1', 'peer', '10.8.0.2', 'dev', 'tunA']);
        await b.exec(['ip', 'address', 'add', '10.8.0.2', 'peer', '10.8.0.1', 'dev', tunB.name]);
        await a.exec(['ip', 'link', 'set', 'tunA', 'up']);
        await b.exec(['ip', 'link', 'set', tunB.name, 'up']);
        const seen = { packets: 0, unsound: 0, refused: 0 };
        const bridge = (from: TunDevice, to: TunDevice) =>
          from.start((packets) => {
            for (const packet of packets) {
              const header = parseIpHeader(packet.buffer, packet.start, packet.end);
              if (header?.protocol === IpProtocol.UDP) {
                seen.packets++;
                const sound = internetChecksum(packet.buffer, packet.start, header.payload) === 0;
                if (!sound || parseUdpHeader(packet.buffer, header) === undefined) seen.unsound++;
              }
              if (!to.write(packet)) seen.refused++;
            }
          });
        bridge(tunA, tunB);
        bridge(tunB, tunA);
        const udpA = udpIn(a, '10.8.0.1', 1000);
        const udpB = udpIn(b, '10.8.0.2', 2000);
        for (let i = 0; i < 200; i++) {
          udpA.send(new Uint8Array(1300).fill(i), '10.8.0.2', 2000);
          udpB.send(new Uint8Array(1400).fill(i), '10.8.0.1', 1000);
          // In bursts that fit a socket's receive buffer.
          if (i % 20 !== 19) continue;
          await until('the burst', () => udpA.received.length > i && udpB.received.length > i);
        }
        expect(udpB.received[199]).toEqual(new Uint8Array(1300).fill(199));
        expect(udpA.received[7]).toEqual(new Uint8Array(1400).fill(7));
        expect(seen).toEqual({ packets: 400, unsound: 0, refused: 0 });
        udpA.close();
        udpB.close();
      } finally {
        tunA.close();
        tunB.close();
      }
    }));

  it('refuses a packet when the device is down or closed, and delivers nothing after close', () =>
    withNamespaces(1, async (namespace) => {
      const tun = within(namespace, () => native().openTun('t0'));
      const packet = packetFrom(new Uint8Array(40).fill(0x45, 0, 1));
      expect(tun.write(packet)).toBe(false);
      let delivered = 0;
      tun.start((packets) => {
        delivered += packets.length;
      });
      tun.close();
      tun.close();
      expect(tun.write(packet)).toBe(false);
      const { stdout } = await namespace.exec(['ip', '-json', 'link', 'show']);
      expect(stdout).not.toContain('"t0"');
      expect(delivered).toBe(0);
    }));

  it('says what to do when it cannot be opened', () =>
    withNamespaces(1, async (namespace) => {
      await namespace.exec(['ip', 'link', 'add', 'br0', 'type', 'bridge']);
      within(namespace, () => {
        const tun = native().openTun('t0');
        expect(() => native().openTun('t0')).toThrow(/'t0': EBUSY; another process has that device open/);
        expect(() => native().openTun('br0')).toThrow(/EINVAL; an interface of that name exists/);
        expect(() => native().openTun('a name that is too long')).toThrow(/at most 15 octets/);
        tun.close();
      });
    }));

  it('survives an exception in a handler as an uncaught exception, not in C', () =>
    withNamespaces(1, async (namespace) => {
      const tun = within(namespace, () => native().openTun('t0'));
      await namespace.exec(['ip', 'address', 'add', '10.8.0.1/24', 'dev', 't0']);
      await namespace.exec(['ip', 'link', 'set', 't0', 'up']);
      const listeners = process.listeners('uncaughtException');
      process.removeAllListeners('uncaughtException');
      const caught: unknown[] = [];
      process.on('uncaughtException', (error) => caught.push(error));
      try {
        let packets = 0;
        let reacted = 0;
        tun.start(() => {
          Promise.resolve().then(() => reacted++);
          if (packets++ === 0) throw new Error('from a handler');
        });
        const udp = udpIn(namespace, '10.8.0.1');
        for (let sent = 1; sent <= 3; sent++) {
          udp.send(new Uint8Array(1), '10.8.0.2', 9);
          await until('the packet', () => packets >= sent);
        }
        await until('the promise reaction', () => reacted === packets);
        udp.close();
        expect(caught).toEqual([new Error('from a handler')]);
      } finally {
        process.removeAllListeners('uncaughtException');
        for (const listener of listeners) process.on('uncaughtException', listener);
        tun.close();
      }
    }));
});
