import { describe, expect, it } from 'vitest';
import { hopRules } from '../../src/client/traffic-rules.ts';
import { run } from '../../src/host/command.ts';
import { packetBytes, packetFrom } from '../../src/link/packet.ts';
import { native, udpIn, wire, within, withNamespaces } from '../support/namespaces.ts';

describe('a namespace between two hops', () => {
  it('is reached by IKE and ESP alone: by no ICMP, no other port, no fragment', () =>
    withNamespaces(2, async (hop, relay) => {
      const { name, a4, b4 } = await wire(hop, relay);
      await within(hop, () => run(['tc', '-batch', '-'], { input: `${hopRules(name).join('\n')}\n` }));
      const [ike, other] = [udpIn(hop, a4, 500), udpIn(hop, a4, 4500)];
      const received: Uint8Array[] = [];
      const esp = within(hop, () => native().openRawEsp(a4));
      esp.start((packets) => received.push(...packets.map((packet) => packetBytes(packet).slice())));
      const from = udpIn(relay, b4, 500);
      const raw = within(relay, () => native().openRawEsp(b4));
      await relay.exec(['sh', '-c', `ping -c 3 -i 0.2 -W 1 ${a4}; true`]);
      from.send(new Uint8Array(3000), a4, 500);
      from.send(Uint8Array.of(1), a4, 4500);
      from.send(Uint8Array.of(2), a4, 500);
      raw.send(packetFrom(Uint8Array.of(3, 3, 3, 3, 3, 3, 3, 3)), a4);
      await expect.poll(() => [ike.received.length, received.length], { timeout: 10_000 }).toEqual([1, 1]);
      expect(ike.received).toEqual([Uint8Array.of(2)]);
      expect(other.received).toEqual([]);
      const { stdout } = await hop.exec(['grep', 'Icmp:', '/proc/net/snmp']);
      expect(stdout).toMatch(/^Icmp: 0 /m);
      for (const opened of [ike, other, from, esp, raw]) opened.close();
    }));
});
