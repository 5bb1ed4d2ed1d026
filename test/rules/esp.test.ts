import { describe, expect, it } from 'vitest';
import { nodeProvider } from '../../src/crypto/node.ts';
import type { CryptoProvider } from '../../src/crypto/provider.ts';
import { espOverhead, maxInnerPacket } from '../../src/esp/overhead.ts';
import { type EspParameters, InboundSa, NextHeader, OutboundSa } from '../../src/esp/sa.ts';
import { packetBytes, packetFrom } from '../../src/link/packet.ts';

const GCM = { encryption: 20, keyLength: 256, integrity: 0, esn: false };
const PARAMETERS: EspParameters = {
  spi: 0xc0ffee01,
  suite: GCM,
  keys: { encryption: new Uint8Array(36).fill(1), integrity: new Uint8Array(0) },
};

/** ESP packets with the sequence numbers from 1 up. */
function packets(count: number): Uint8Array[] {
  const outbound = new OutboundSa(nodeProvider(), PARAMETERS);
  return Array.from({ length: count }, () => {
    const packet = packetFrom(new Uint8Array(40).fill(0x45));
    outbound.seal(packet, NextHeader.IPV4);
    return packetBytes(packet).slice();
  });
}

/** An inbound SA, and how often it has decrypted. */
function receiver() {
  const inner = nodeProvider();
  let decryptions = 0;
  const provider: CryptoProvider = {
    ...inner,
    protector: (suite, keys) => {
      const protector = inner.protector(suite, keys);
      return {
        ivLength: protector.ivLength,
        icvLength: protector.icvLength,
        blockLength: protector.blockLength,
        seal: (...parts) => protector.seal(...parts),
        open: (...parts) => {
          decryptions++;
          return protector.open(...parts);
        },
        destroy: () => protector.destroy(),
      };
    },
  };
  const inbound = new InboundSa(provider, PARAMETERS);
  const open = (octets: Uint8Array) => {
    const result = inbound.open(packetFrom(octets.slice()));
    return result.ok ? 'opened' : result.reason;
  };
  return { open, decryptions: () => decryptions };
}

describe('the replay window', () => {
  it('takes 64 packets back and more, and is asked before anything is decrypted (rule 87)', () => {
    const sent = packets(3000);
    const { open, decryptions } = receiver();
    expect(open(sent[2999])).toBe('opened');
    expect(open(sent[2999 - 63])).toBe('opened');
    expect(decryptions()).toBe(2);
    for (const replay of [sent[2999], sent[2999 - 63], sent[0]]) expect(open(replay)).toBe('replayed');
    expect(decryptions()).toBe(2);
  });

  it('does not move for a packet whose ICV is wrong (rule 87)', () => {
    const sent = packets(3000);
    const { open } = receiver();
    const forged = sent[2999].slice();
    forged[forged.length - 1] ^= 1;
    for (let i = 0; i < 3; i++) expect(open(forged)).toBe('bad-icv');
    for (const packet of [sent[0], sent[1], sent[2999]]) expect(open(packet)).toBe('opened');
  });
});

describe('a tunnel in a tunnel', () => {
  it('costs 54 to 57 octets, 8 more in UDP and 20 more over IPv6 (rule 91)', () => {
    const costs = new Set(Array.from({ length: 200 }, (_, i) => 20 + espOverhead(GCM, 1000 + i)));
    expect([...costs].sort()).toEqual([54, 55, 56, 57]);
    for (const mtu of [1280, 1400, 1500]) {
      const cost = (family: 4 | 6, encapsulated: boolean) =>
        mtu - maxInnerPacket(mtu, GCM, { family, encapsulated });
      expect([54, 55, 56, 57]).toContain(cost(4, false));
      expect(cost(4, true)).toBe(cost(4, false) + 8);
      expect(cost(6, false)).toBe(cost(4, false) + 20);
    }
  });
});
