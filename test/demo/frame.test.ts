import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { dissectFrame } from '../../src/demo/frame.ts';
import { concat, fromHex, utf8 } from '../../src/wire/bytes.ts';
import { arpFrame, espFrame, ethernet, ikeMessage, ipFrame, tcpFrame, udpFrame } from './frames.ts';

const S = '198.51.100.66';
const A = '192.0.2.113';

function randomOctets(bytes: Uint8Array): number {
  return dissectFrame(bytes)
    .segments.filter(({ random }) => random)
    .reduce((sum, { start, end }) => sum + end - start, 0);
}

function unsearched(bytes: Uint8Array): number {
  return bytes.length - dissectFrame(bytes).segments.reduce((sum, { start, end }) => sum + end - start, 0);
}

describe('dissectFrame', () => {
  it('reads addresses and SPI of ESP', () => {
    const frame = espFrame(S, A, 0xc0ffee01, 1);
    expect(dissectFrame(frame)).toMatchObject({ addresses: [S, A], spi: 0xc0ffee01, identities: [] });
    expect(dissectFrame(frame).ports).toBeUndefined();
    expect(randomOctets(frame)).toBe(192);
    expect(unsearched(frame)).toBe(0);
  });

  it('reads ESP in UDP, and IKE behind the non-ESP marker', () => {
    const esp = udpFrame(S, A, [40_000, 4500], fromHex('c0ffee0100000001'), new Uint8Array(50));
    expect(dissectFrame(esp)).toMatchObject({ spi: 0xc0ffee01, ports: [40_000, 4500] });
    expect(randomOctets(esp)).toBe(50);
    const ike = udpFrame(S, A, [40_000, 4500], new Uint8Array(4), ikeMessage([46, new Uint8Array(60)]));
    expect(dissectFrame(ike).spi).toBeUndefined();
    expect(randomOctets(ike)).toBe(16 + 60);
    expect(unsearched(ike)).toBe(0);
    const keepalive = udpFrame(S, A, [40_000, 4500], Uint8Array.of(0xff));
    expect([dissectFrame(keepalive).spi, randomOctets(keepalive)]).toEqual([undefined, 0]);
  });

  it('reads ARP', () => {
    expect(dissectFrame(arpFrame(S, A)).addresses).toEqual([S, A]);
  });

  it('finds identities outside of SK payloads, and tells random data from the rest', () => {
    const message = ikeMessage(
      [34, concat(fromHex('001f0000'), new Uint8Array(32))],
      [40, new Uint8Array(24)],
      [41, concat(fromHex('00004004'), new Uint8Array(20))],
      [41, fromHex('0000402e')],
      [35, concat(fromHex('0b000000'), utf8('alice'))],
    );
    const frame = udpFrame(S, A, [500, 500], message);
    expect(dissectFrame(frame).identities).toEqual(['11:616c696365']);
    expect(randomOctets(frame)).toBe(16 + 32 + 24 + 20);
    expect(unsearched(frame)).toBe(0);
  });

  it('does not follow the chain into an SK payload', () => {
    // An SK payload names the first payload inside it: 35. What follows it here is none of the message.
    const message = concat(ikeMessage([46, new Uint8Array(40)]), fromHex('0000000a0b000000'), utf8('xy'));
    message[28] = 35;
    const frame = udpFrame(S, A, [500, 500], message);
    expect(dissectFrame(frame).identities).toEqual([]);
    expect([randomOctets(frame), unsearched(frame)]).toEqual([16 + 40, 0]);
  });

  it('leaves only the counters and the checksum of TCP out', () => {
    const frame = tcpFrame(S, A, fromHex('01020304'), utf8('hello'));
    expect(dissectFrame(frame)).toMatchObject({ addresses: [S, A], ports: [50_000, 80] });
    expect(unsearched(frame)).toBe(8 + 2 + 8);
    expect(randomOctets(frame)).toBe(0);
  });

  it('takes what it cannot read as clear, whole', () => {
    for (const bytes of [
      new Uint8Array(5),
      ethernet(0x88cc, new Uint8Array(40)),
      ethernet(0x0800, new Uint8Array(40)),
      ipFrame(S, A, 17, new Uint8Array(3)),
      ipFrame(S, A, 50, new Uint8Array(3)),
      udpFrame(S, A, [500, 500], new Uint8Array(9)),
    ]) {
      expect([randomOctets(bytes), unsearched(bytes)]).toEqual([0, 0]);
    }
  });

  it('never throws, and never loses an octet but of TCP', () => {
    const protocols = fc.constantFrom(1, 17, 50, 99);
    const ports = fc.constantFrom<[number, number]>([500, 500], [4500, 1], [1, 2]);
    fc.assert(
      fc.property(protocols, ports, fc.uint8Array({ maxLength: 200 }), (protocol, pair, payload) => {
        const frame = protocol === 17 ? udpFrame(S, A, pair, payload) : ipFrame(S, A, protocol, payload);
        expect(unsearched(frame)).toBe(0);
      }),
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (payload) => {
        dissectFrame(payload);
        dissectFrame(ipFrame(S, A, 6, payload));
      }),
    );
  });
});
