import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nobleProvider } from '../../src/crypto/noble.ts';
import { nodeProvider } from '../../src/crypto/node.ts';
import { UnsupportedAlgorithm } from '../../src/crypto/provider.ts';
import { encryptionOf, protectionKeyLengths, protectionLayout } from '../../src/crypto/transforms.ts';
import { espOverhead } from '../../src/esp/overhead.ts';
import { type EspParameters, InboundSa, NextHeader, OutboundSa } from '../../src/esp/sa.ts';
import { allocatePacket, HEADROOM, packetBytes, packetFrom } from '../../src/link/packet.ts';
import type { EspSuite } from '../../src/link/sa-store.ts';
import { concat, fromHex, hex } from '../../src/wire/bytes.ts';
import { IpProtocol, parseIpHeader, writeIpHeader } from '../../src/wire/ip.ts';
import { PROVIDERS, vectors } from '../crypto/providers.ts';
import { seededRandom } from '../support/seeded-random.ts';

const OUTER = { source: '192.0.2.1', destination: '192.0.2.2', protocol: IpProtocol.ESP };
const NONE = new Uint8Array(0);
const SUITES: readonly EspSuite[] = [false, true].flatMap((esn) => [
  { encryption: 20, keyLength: 128, integrity: 0, esn },
  { encryption: 20, keyLength: 256, integrity: 0, esn },
  { encryption: 28, keyLength: 256, integrity: 0, esn },
  { encryption: 12, keyLength: 128, integrity: 12, esn },
  { encryption: 12, keyLength: 256, integrity: 12, esn },
  { encryption: 12, keyLength: 128, integrity: 14, esn },
  { encryption: 11, keyLength: 0, integrity: 12, esn },
  { encryption: 14, keyLength: 128, integrity: 0, esn },
  { encryption: 29, keyLength: 128, integrity: 0, esn },
  { encryption: 30, keyLength: 256, integrity: 0, esn },
  { encryption: 31, keyLength: 256, integrity: 0, esn },
]);

function parametersOf(suite: EspSuite, seed = 1, spi = 0xc0ffee01): EspParameters {
  const random = seededRandom(seed);
  const { encryption, integrity } = protectionKeyLengths(suite);
  return { spi, suite, keys: { encryption: random(encryption), integrity: random(integrity) } };
}

/** `length` octets that begin like an IPv4 packet; of length 0, none. */
function innerPacket(length: number): Uint8Array {
  const inner = seededRandom(length)(length);
  if (length > 0) inner[0] = 0x45;
  return inner;
}

describe.each(PROVIDERS)('%s: ESP vectors', (_, provide) => {
  const chacha = vectors<{
    name: string;
    encryptionKey: string;
    spi: number;
    sequence: number;
    inner: string;
    esp: string;
  }>('esp-chacha20-poly1305');
  const suite = { encryption: 28, keyLength: 256, integrity: 0, esn: false };

  it.each(chacha.cases)(`${chacha.source}: $name`, ({ encryptionKey, spi, sequence, inner, esp }) => {
    const parameters = { spi, suite, keys: { encryption: fromHex(encryptionKey), integrity: NONE } };
    const packet = packetFrom(fromHex(esp));
    const inbound = new InboundSa(provide(), parameters);
    expect(inbound.open(packet)).toEqual({ ok: true, nextHeader: NextHeader.IPV4 });
    expect(hex(packetBytes(packet))).toBe(inner);
    // Our IV is the sequence number, so that only the layout can be compared.
    expect(new OutboundSa(provide(), parameters, sequence - 1).seal(packet, NextHeader.IPV4)).toBe(true);
    expect(packetBytes(packet)).toHaveLength(esp.length / 2);
    expect(hex(packetBytes(packet).subarray(0, 16))).toBe(`${esp.slice(0, 16)}0000000000000005`);
  });

  const gcm = vectors<{
    name: string;
    encryptionKey: string;
    iv: string;
    plaintext: string;
    aad: string;
    ciphertext: string;
    icv: string;
  }>('esp-aes-gcm');
  // The other cases have sequence numbers that a receiver comes to after 2^32 packets or more.
  const reachable = gcm.cases.filter(({ aad }) => aad.length === 16 || aad.startsWith('00000000', 8));
  it.each(reachable)(`${gcm.source}: $name (rule 84)`, ({ encryptionKey, iv, aad, ciphertext, icv }) => {
    const encryption = fromHex(encryptionKey);
    const esn = aad.length === 24;
    const keyLength = (encryption.length - 4) * 8;
    const inbound = new InboundSa(provide(), {
      spi: Number.parseInt(aad.slice(0, 8), 16),
      suite: { encryption: 20, keyLength, integrity: 0, esn },
      keys: { encryption, integrity: NONE },
    });
    const esp = fromHex(aad.slice(0, 8) + aad.slice(-8) + iv + ciphertext + icv);
    // They are transport mode packets: all is right with them but for that.
    expect(inbound.open(packetFrom(esp))).toEqual({ ok: false, reason: 'not-ip' });
    expect(inbound.open(packetFrom(esp))).toEqual({ ok: false, reason: 'replayed' });
  });

  const cbc = vectors<{
    name: string;
    key: string;
    spi: number;
    sequence: number;
    iv: string;
    inner: string;
    ciphertext: string;
  }>('esp-aes-cbc');
  it.each(cbc.cases)(`${cbc.source}: $name`, ({ key, spi, sequence, iv, inner, ciphertext }) => {
    const parameters = {
      spi,
      suite: { encryption: 12, keyLength: 128, integrity: 12, esn: false },
      keys: { encryption: fromHex(key), integrity: new Uint8Array(32) },
    };
    const packet = packetFrom(fromHex(inner));
    const outbound = new OutboundSa(
      provide(() => fromHex(iv)),
      parameters,
      sequence - 1,
    );
    expect(outbound.seal(packet, NextHeader.IPV4)).toBe(true);
    const head = concat(fromHex(`0000${spi.toString(16)}`), fromHex(sequence.toString(16).padStart(8, '0')));
    expect(hex(packetBytes(packet)).slice(0, -32)).toBe(hex(head) + iv + ciphertext);
  });
});

describe.each(SUITES)('cipher $encryption with $keyLength bits, ESN $esn', (suite) => {
  const parameters = parametersOf(suite);
  const pairs = [
    ['noble', 'node', nobleProvider(), nodeProvider()],
    ['node', 'noble', nodeProvider(), nobleProvider()],
  ] as const;

  it.each(pairs)('what %s seals, %s opens, of any length', (_from, _to, sealing, opening) => {
    const outbound = new OutboundSa(sealing, parameters);
    const inbound = new InboundSa(opening, parameters);
    for (const length of [1, 2, 3, 4, 5, 13, 14, 15, 16, 20, 63, 576, 1279, 1280, 1499, 1500]) {
      const inner = innerPacket(length);
      const packet = packetFrom(inner);
      expect(outbound.seal(packet, NextHeader.IPV4)).toBe(true);
      expect(packet.end - packet.start).toBe(length + espOverhead(suite, length));
      expect(inbound.open(packet)).toEqual({ ok: true, nextHeader: NextHeader.IPV4 });
      expect(hex(packetBytes(packet))).toBe(hex(inner));
      expect(packet.start).toBe(HEADROOM);
    }
    expect(outbound.sequence).toBe(16);
  });

  const { ivLength } = protectionLayout(suite);
  const sa = () => new OutboundSa(nodeProvider(), parameters);
  const sealed = (inner = innerPacket(50), nextHeader: number = NextHeader.IPV4) => {
    const packet = packetFrom(inner);
    sa().seal(packet, nextHeader);
    return packetBytes(packet).slice();
  };

  it('starts at 1, and never repeats a number or an IV (rule 83)', () => {
    const outbound = new OutboundSa(nobleProvider(), parameters);
    const ivs = new Set<string>();
    for (let sequence = 1; sequence <= 5; sequence++) {
      const packet = packetFrom(innerPacket(20));
      outbound.seal(packet, NextHeader.IPV4);
      const bytes = packetBytes(packet);
      expect(hex(bytes.subarray(0, 8))).toBe(`c0ffee01${sequence.toString(16).padStart(8, '0')}`);
      ivs.add(hex(bytes.subarray(8, 8 + ivLength)));
    }
    expect(ivs.size).toBe(ivLength === 0 ? 1 : 5);
  });

  it('refuses a change of any octet, then takes the packet itself, once (rule 87)', () => {
    const original = sealed();
    const inbound = new InboundSa(nodeProvider(), parameters);
    for (let i = 0; i < original.length; i++) {
      const changed = original.slice();
      changed[i] ^= 0x10;
      const packet = packetFrom(changed);
      // A sequence number may become one that lies below the window.
      expect(['bad-icv', 'replayed']).toContain(failure(inbound.open(packet)));
      expect([packet.start, packet.end]).toEqual([HEADROOM, HEADROOM + original.length]);
    }
    expect(inbound.open(packetFrom(original)).ok).toBe(true);
    expect(failure(inbound.open(packetFrom(original)))).toBe('replayed');
  });

  it('refuses the packet of another SA', () => {
    const inbound = new InboundSa(nodeProvider(), parametersOf(suite, 2));
    expect(failure(inbound.open(packetFrom(sealed())))).toBe('bad-icv');
    const sameKeys = new InboundSa(nodeProvider(), parametersOf(suite, 1, 0xc0ffee02));
    expect(failure(sameKeys.open(packetFrom(sealed())))).toBe('bad-icv');
  });

  it('crosses 2^32 with ESN, and stops there without', () => {
    const outbound = new OutboundSa(nodeProvider(), parameters, 2 ** 32 - 3);
    const inbound = new InboundSa(nobleProvider(), parameters, 2 ** 32 - 3);
    const packets = Array.from({ length: 5 }, () => packetFrom(innerPacket(40)));
    const before = hex(packets[4].buffer);
    const sent = packets.map((packet) => outbound.seal(packet, NextHeader.IPV4));
    expect(sent).toEqual(suite.esn ? [true, true, true, true, true] : [true, true, false, false, false]);
    if (!suite.esn) {
      expect(hex(packets[4].buffer)).toBe(before);
      expect([packets[4].start, packets[4].end]).toEqual([HEADROOM, HEADROOM + 40]);
    }
    // Out of order, so that the window spans both subspaces.
    for (const i of [1, 3, 0, 2, 4]) if (sent[i]) expect(inbound.open(packets[i]).ok).toBe(true);
    expect(outbound.sequence).toBe(suite.esn ? 2 ** 32 + 2 : 2 ** 32 - 1);
  });

  it('authenticates the half that is not sent (rule 84)', () => {
    const packet = packetFrom(innerPacket(40));
    new OutboundSa(nodeProvider(), parameters, suite.esn ? 2 ** 32 : 0).seal(packet, NextHeader.IPV4);
    const inbound = new InboundSa(nodeProvider(), parameters);
    expect(inbound.open(packet).ok).toBe(!suite.esn);
  });

  it('drops dummies and what is not an IP packet (rule 86)', () => {
    const open = (inner: Uint8Array, nextHeader: number) =>
      failure(new InboundSa(nodeProvider(), parameters).open(packetFrom(sealed(inner, nextHeader))));
    expect(open(new Uint8Array(1000), NextHeader.NONE)).toBe('dummy');
    expect(open(NONE, NextHeader.NONE)).toBe('dummy');
    expect(open(innerPacket(40), NextHeader.IPV6)).toBe('not-ip');
    expect(open(innerPacket(40), 17)).toBe('not-ip');
    expect(open(NONE, NextHeader.IPV4)).toBe('not-ip');
    expect(open(innerPacket(40).with(0, 0x60), NextHeader.IPV6)).toBe('opened');
  });

  it('drops a padding that is not 1, 2, 3, ... or longer than the text (rule 85)', () => {
    const provider = nodeProvider();
    const seal = (text: Uint8Array) => {
      const protector = provider.protector(suite, parameters.keys);
      const iv = new Uint8Array(protector.ivLength);
      // An implicit IV is the sequence number; any other may be zero here.
      if (ivLength < iv.length) iv[7] = 1;
      const aad = fromHex(
        suite.esn && suite.integrity === 0 ? 'c0ffee010000000000000001' : 'c0ffee0100000001',
      );
      const suffix = suite.esn && suite.integrity !== 0 ? new Uint8Array(4) : undefined;
      const icv = new Uint8Array(protector.icvLength);
      protector.seal(aad, iv, text, icv, suffix);
      return packetFrom(concat(fromHex('c0ffee0100000001'), iv.subarray(0, ivLength), text, icv));
    };
    const open = (padding: string) => {
      const text = concat(
        innerPacket(30 - padding.length / 2),
        fromHex(padding),
        Uint8Array.of(padding.length / 2, 4),
      );
      return failure(new InboundSa(provider, parameters).open(seal(text)));
    };
    expect(open('0102030405')).toBe('opened');
    expect(open('0102030406')).toBe('bad-padding');
    expect(open('0002030405')).toBe('bad-padding');
    const tooLong = seal(innerPacket(32).with(30, 31).with(31, 4));
    expect(failure(new InboundSa(provider, parameters).open(tooLong))).toBe('bad-padding');
  });

  it('never throws for any octets, and takes none', () => {
    const inbound = new InboundSa(nodeProvider(), parameters);
    const reference = new InboundSa(nobleProvider(), parameters);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 120 }), (octets) => {
        const results = [inbound, reference].map((sa) => failure(sa.open(packetFrom(octets))));
        expect(results[0]).not.toBe('opened');
        expect(results[0]).toBe(results[1]);
      }),
      { numRuns: 200 },
    );
    const original = sealed();
    for (let length = 0; length < original.length; length++) {
      expect(['malformed', 'bad-icv']).toContain(
        failure(inbound.open(packetFrom(original.subarray(0, length)))),
      );
    }
  });
});

function failure(result: ReturnType<InboundSa['open']>): string {
  return result.ok ? 'opened' : result.reason;
}

describe('implicit IVs (RFC 8750)', () => {
  const explicitOf: Readonly<Record<number, number>> = { 29: 14, 30: 20, 31: 28 };
  const implicit = SUITES.filter(({ encryption }) => encryptionOf(encryption).implicitIv);

  it.each(implicit)(
    'transform $encryption, ESN $esn: the packet is that of its cipher without the IV (rule 88)',
    (suite) => {
      // Our own explicit IV is the sequence number as well, of 64 bits whether extended or not.
      for (const before of [0, 0x89abcdef, ...(suite.esn ? [2 ** 32 + 5] : [])]) {
        const seal = (encryption: number) => {
          const packet = packetFrom(innerPacket(40));
          const parameters = parametersOf({ ...suite, encryption });
          new OutboundSa(nodeProvider(), parameters, before).seal(packet, NextHeader.IPV4);
          return hex(packetBytes(packet));
        };
        const whole = seal(explicitOf[suite.encryption]);
        const sequence = (before + 1).toString(16).padStart(16, '0');
        expect(whole.slice(8, 32)).toBe(sequence.slice(8) + sequence);
        expect(seal(suite.encryption)).toBe(whole.slice(0, 16) + whole.slice(32));
      }
    },
  );
});

describe('ESP', () => {
  it('nests three layers in place, and gives the original back', () => {
    const chacha = { encryption: 28, keyLength: 256, integrity: 0, esn: true };
    const layers = [SUITES[0], chacha, SUITES[3]].map((suite, i) => parametersOf(suite, 10 + i, 256 + i));
    const inner = innerPacket(1310);
    const packet = packetFrom(inner);
    const lengths: number[] = [];
    for (const layer of layers) {
      expect(new OutboundSa(nodeProvider(), layer).seal(packet, NextHeader.IPV4)).toBe(true);
      packet.start -= 20;
      writeIpHeader(packet.buffer, packet.start, OUTER, packet.end - packet.start - 20);
      lengths.push(packet.end - packet.start);
    }
    expect(lengths).toEqual([1364, 1420, 1484]);
    for (const layer of layers.toReversed()) {
      expect(parseIpHeader(packet.buffer, packet.start, packet.end)?.end).toBe(packet.end);
      packet.start += 20;
      expect(new InboundSa(nobleProvider(), layer).open(packet)).toEqual({ ok: true, nextHeader: 4 });
    }
    expect(hex(packetBytes(packet))).toBe(hex(inner));
    expect(packet.start).toBe(HEADROOM);
  });

  it('refuses a slot without room, and keeps its number', () => {
    const outbound = new OutboundSa(nodeProvider(), parametersOf(SUITES[0]));
    const tight = { buffer: new Uint8Array(100), start: 15, end: 60 };
    expect(() => outbound.seal(tight, NextHeader.IPV4)).toThrow(RangeError);
    expect(() => outbound.seal({ ...tight, start: 16, end: 84 }, NextHeader.IPV4)).toThrow(RangeError);
    expect(outbound.sequence).toBe(0);
    expect(outbound.seal({ ...tight, start: 16, end: 82 }, NextHeader.IPV4)).toBe(true);
    expect(outbound.seal(allocatePacket(10), NextHeader.IPV4)).toBe(true);
    expect(outbound.sequence).toBe(2);
  });

  it('refuses suites that there are not, and is unusable once destroyed', () => {
    const unknown = { ...parametersOf(SUITES[0]), suite: { ...SUITES[0], encryption: 3 } };
    expect(() => new InboundSa(nodeProvider(), unknown)).toThrow(UnsupportedAlgorithm);
    const outbound = new OutboundSa(nodeProvider(), parametersOf(SUITES[0]));
    outbound.destroy();
    expect(() => outbound.seal(allocatePacket(10), NextHeader.IPV4)).toThrow('destroyed');
    const inbound = new InboundSa(nodeProvider(), parametersOf(SUITES[0]));
    inbound.destroy();
    expect(() => inbound.open(packetFrom(fromHex(`c0ffee0100000001${'00'.repeat(56)}`)))).toThrow(
      'destroyed',
    );
  });
});
