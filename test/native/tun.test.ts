import { describe, expect, it } from 'vitest';
import { packetBytes, packetFrom } from '../../src/link/packet.ts';
import { addressText } from '../../src/wire/address.ts';
import { internetChecksum, parseIpHeader } from '../../src/wire/ip.ts';
import { native, within, withNamespaces } from '../support/namespaces.ts';
import { until } from '../support/waiting.ts';

describe('TUN device', () => {
  it('carries ping and TCP-sized packets between two namespaces bridged in JavaScript', () =>
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
        const seen = { echo: 0, badChecksum: 0, refused: 0 };
        tunA.start((packets) => {
          for (const packet of packets) {
            const header = parseIpHeader(packet.buffer, packet.start, packet.end);
            if (header?.protocol === 1) {
              seen.echo++;
              if (internetChecksum(packet.buffer, packet.start, header.payload) !== 0) seen.badChecksum++;
              if (internetChecksum(packet.buffer, header.payload, header.end) !== 0) seen.badChecksum++;
              expect(addressText(packet.buffer.subarray(header.source, header.source + 4))).toBe('10.8.0.1');
            }
            if (!tunB.write(packet)) seen.refused++;
          }
        });
        tunB.start((packets) => {
          for (const packet of packets) if (!tunA.write(packet)) seen.refused++;
        });
        const ping = await a.exec(['ping', '-c', '200', '-i', '0.002', '-s', '1300', '10.8.0.2']);
        expect(ping.stdout).toContain('200 received');
        expect(seen).toEqual({ echo: 200, badChecksum: 0, refused: 0 });
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
      expect(packetBytes(packet).length).toBe(40);
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
        await namespace.exec(['ping', '-c', '3', '-i', '0.01', '-W', '1', '10.8.0.2']).catch(() => {});
        await until('the packets after it', () => packets >= 3);
        expect(reacted).toBe(packets);
        expect(caught).toEqual([new Error('from a handler')]);
      } finally {
        process.removeAllListeners('uncaughtException');
        for (const listener of listeners) process.on('uncaughtException', listener);
        tun.close();
      }
    }));
});
