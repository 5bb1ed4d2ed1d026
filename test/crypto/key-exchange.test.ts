import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MODP_2048_PRIME } from '../../src/crypto/groups.ts';
import { modularPower } from '../../src/crypto/modular-power.ts';
import { nobleProvider } from '../../src/crypto/noble.ts';
import { nodeProvider } from '../../src/crypto/node.ts';
import { InvalidKeyExchange, UnsupportedAlgorithm } from '../../src/crypto/provider.ts';
import { KeyExchangeMethod } from '../../src/crypto/transforms.ts';
import { fromHex, hex } from '../../src/wire/bytes.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { PROVIDERS, vectors } from './providers.ts';

const METHODS = Object.entries(KeyExchangeMethod);
const P256_PRIME = fromHex('ffffffff00000001000000000000000000000000ffffffffffffffffffffffff');

describe.each(PROVIDERS)('%s: key exchange', (_, provide) => {
  const { cases } = vectors<{
    source: string;
    method: number;
    i: string;
    r: string;
    gi: string;
    gr: string;
    secret: string;
  }>('crypto-key-exchange');

  it.each(cases)('$source', ({ method, i, r, gi, gr, secret }) => {
    const initiator = provide(() => fromHex(i)).keyExchange(method);
    const responder = provide(() => fromHex(r)).keyExchange(method);
    expect(hex(initiator.publicValue)).toBe(gi);
    expect(hex(responder.publicValue)).toBe(gr);
    expect(hex(initiator.agree(responder.publicValue))).toBe(secret);
    expect(hex(responder.agree(initiator.publicValue))).toBe(secret);
  });

  it.each(METHODS)('%s: refuses values of a wrong length', (_, method) => {
    const exchange = provide().keyExchange(method);
    const { length } = exchange.publicValue;
    for (const wrong of [0, 1, length - 1, length + 1]) {
      expect(() => exchange.agree(new Uint8Array(wrong).fill(2))).toThrow(InvalidKeyExchange);
    }
  });

  it.each(METHODS)('%s: any octets give a secret or InvalidKeyExchange', (_, method) => {
    const exchange = provide(seededRandom(1)).keyExchange(method);
    const { length } = exchange.publicValue;
    fc.assert(
      fc.property(fc.uint8Array({ minLength: length, maxLength: length }), (value) => {
        try {
          expect(exchange.agree(value)).toHaveLength(method === KeyExchangeMethod.MODP_2048 ? 256 : 32);
        } catch (error) {
          expect(error).toBeInstanceOf(InvalidKeyExchange);
        }
      }),
      { numRuns: 15 },
    );
  });

  it.each(METHODS)('%s: is unusable once destroyed', (_, method) => {
    const exchange = provide().keyExchange(method);
    exchange.destroy();
    expect(() => exchange.agree(exchange.publicValue)).toThrow('destroyed');
  });

  it('MODP-2048: refuses 0, 1, p - 1, p and above (RFC 6989 2.1)', () => {
    const exchange = provide().keyExchange(KeyExchangeMethod.MODP_2048);
    const value = (last: number) => new Uint8Array(256).with(255, last);
    for (const bad of [value(0), value(1), MODP_2048_PRIME.with(255, 0xfe), MODP_2048_PRIME]) {
      expect(() => exchange.agree(bad)).toThrow(InvalidKeyExchange);
    }
    expect(() => exchange.agree(new Uint8Array(256).fill(0xff))).toThrow(InvalidKeyExchange);
    expect(exchange.agree(value(2))).toEqual(exchange.publicValue);
    expect(exchange.agree(MODP_2048_PRIME.with(255, 0xfd))).toHaveLength(256);
  });

  it('P-256: refuses points off the curve and coordinates out of range (RFC 6989 2.3)', () => {
    const exchange = provide().keyExchange(KeyExchangeMethod.ECP_256);
    const peer = provide().keyExchange(KeyExchangeMethod.ECP_256).publicValue;
    const changed = peer.slice();
    changed[63] ^= 1;
    const large = peer.slice();
    large.set(P256_PRIME, 0);
    for (const bad of [changed, large, new Uint8Array(64), new Uint8Array(64).fill(0xff)]) {
      expect(() => exchange.agree(bad)).toThrow(InvalidKeyExchange);
    }
  });

  it.each([
    '0000000000000000000000000000000000000000000000000000000000000000',
    '0100000000000000000000000000000000000000000000000000000000000000',
    'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
    '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
    'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  ])('X25519: refuses the point of small order %s (RFC 7748 6.1)', (point) => {
    const exchange = provide().keyExchange(KeyExchangeMethod.CURVE25519);
    expect(() => exchange.agree(fromHex(point))).toThrow(InvalidKeyExchange);
  });

  it('refuses methods that it does not have', () => {
    expect(() => provide().keyExchange(2)).toThrow(UnsupportedAlgorithm);
  });

  it('draws a P-256 key again that is not below the order', () => {
    const draws = [new Uint8Array(32), new Uint8Array(32).fill(0xff), new Uint8Array(32).fill(1)];
    provide(() => draws.shift()!).keyExchange(KeyExchangeMethod.ECP_256);
    expect(draws).toHaveLength(0);
  });
});

describe.each(METHODS)('%s between providers', (_, method) => {
  it('gives the same values from the same random octets, and agrees', () => {
    for (let seed = 1; seed <= 8; seed++) {
      const noble = nobleProvider(seededRandom(seed)).keyExchange(method);
      const node = nodeProvider(seededRandom(seed)).keyExchange(method);
      expect(hex(noble.publicValue)).toBe(hex(node.publicValue));
      const peer = nodeProvider(seededRandom(100 + seed)).keyExchange(method);
      const secret = hex(peer.agree(noble.publicValue));
      expect(hex(noble.agree(peer.publicValue))).toBe(secret);
      expect(hex(node.agree(peer.publicValue))).toBe(secret);
    }
  });
});

describe('modularPower', () => {
  it('keeps leading zeros', () => {
    expect(hex(modularPower(fromHex('02'), fromHex('05'), fromHex('0101')))).toBe('0020');
    expect(hex(modularPower(fromHex('03'), fromHex('0100'), fromHex('0101')))).toBe('0001');
  });
});
