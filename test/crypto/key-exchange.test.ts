import { createHash, getDiffieHellman } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isModpValue, MODP_2048, MODP_3072, MODP_4096 } from '../../src/crypto/groups.ts';
import { modularPower } from '../../src/crypto/modular-power.ts';
import { nobleProvider } from '../../src/crypto/noble.ts';
import { nodeProvider } from '../../src/crypto/node.ts';
import { InvalidKeyExchange, UnsupportedAlgorithm } from '../../src/crypto/provider.ts';
import { KeyExchangeMethod } from '../../src/crypto/transforms.ts';
import { fromHex, hex } from '../../src/wire/bytes.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { PROVIDERS, vectors } from './providers.ts';

const METHODS = Object.entries(KeyExchangeMethod);
const KEMS = METHODS.filter(([name]) => name.startsWith('ML_KEM'));
const MODP = [
  ['MODP-2048', KeyExchangeMethod.MODP_2048, MODP_2048.prime],
  ['MODP-3072', KeyExchangeMethod.MODP_3072, MODP_3072.prime],
  ['MODP-4096', KeyExchangeMethod.MODP_4096, MODP_4096.prime],
] as const;
const ECP = [
  [
    'P-256',
    KeyExchangeMethod.ECP_256,
    32,
    'ffffffff00000001000000000000000000000000ffffffffffffffffffffffff',
  ],
  ['P-384', KeyExchangeMethod.ECP_384, 48, `${'ff'.repeat(31)}feffffffff0000000000000000ffffffff`],
  ['P-521', KeyExchangeMethod.ECP_521, 66, `01${'ff'.repeat(65)}`],
] as const;
/** Octets of the initiator's value, the responder's, and the secret (RFC 3526, RFC 5903 7, RFC 8031, FIPS 203 8). */
const LENGTHS: Readonly<Record<string, readonly [number, number, number]>> = {
  MODP_2048: [256, 256, 256],
  MODP_3072: [384, 384, 384],
  MODP_4096: [512, 512, 512],
  ECP_256: [64, 64, 32],
  ECP_384: [96, 96, 48],
  ECP_521: [132, 132, 66],
  CURVE25519: [32, 32, 32],
  ML_KEM_512: [800, 768, 32],
  ML_KEM_768: [1184, 1088, 32],
  ML_KEM_1024: [1568, 1568, 32],
};

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
    expect(hex(initiator.publicValue)).toBe(gi);
    const answer = provide(() => fromHex(r)).answerKeyExchange(method, initiator.publicValue);
    expect(hex(answer.publicValue)).toBe(gr);
    expect(hex(answer.sharedSecret)).toBe(secret);
    expect(hex(initiator.agree(answer.publicValue))).toBe(secret);
  });

  const mlKem = vectors<{ source: string; method: number; digest: string }>('crypto-ml-kem');

  it.each(mlKem.cases)('ML-KEM ($method): $source', ({ method, digest }) => {
    const stream = createHash('shake128', { outputLength: 100 * 2000 }).digest();
    let offset = 0;
    const read = (length: number) => {
      offset += length;
      return new Uint8Array(stream.subarray(offset - length, offset));
    };
    const sum = createHash('shake128', { outputLength: 32 });
    for (let i = 0; i < 100; i++) {
      const initiator = provide(read).keyExchange(method);
      // Only noble can be given the randomness of an encapsulation.
      const { publicValue, sharedSecret } = nobleProvider(read).answerKeyExchange(
        method,
        initiator.publicValue,
      );
      expect(hex(initiator.agree(publicValue))).toBe(hex(sharedSecret));
      const rejected = initiator.agree(read(publicValue.length));
      sum.update(initiator.publicValue).update(publicValue).update(sharedSecret).update(rejected);
    }
    expect(sum.digest('hex')).toBe(digest);
  });

  it.each(METHODS)('%s: has values and secrets of fixed lengths (rules 18, 19)', (name, method) => {
    const initiator = provide().keyExchange(method);
    const answer = provide().answerKeyExchange(method, initiator.publicValue);
    const secret = initiator.agree(answer.publicValue);
    expect([initiator.publicValue, answer.publicValue, secret].map(({ length }) => length)).toEqual(
      LENGTHS[name],
    );
    expect(secret).toEqual(answer.sharedSecret);
  });

  it.each(METHODS)('%s: takes from the random source what it needs, unless it is marked', (_, method) => {
    const provider = (seed: number) => provide(seededRandom(seed));
    const initiator = provider(1).keyExchange(method);
    const answers = [2, 2].map((seed) =>
      hex(provider(seed).answerKeyExchange(method, initiator.publicValue).publicValue),
    );
    expect(answers[0] === answers[1]).toBe(!provide().randomisedMethods.includes(method));
  });

  it.each([
    ['MODP-2048', KeyExchangeMethod.MODP_2048, 570],
    ['P-256', KeyExchangeMethod.ECP_256, 311],
    ['P-384', KeyExchangeMethod.ECP_384, 694],
    ['P-521', KeyExchangeMethod.ECP_521, 1012],
  ])('%s: keeps the zeros that a secret begins with (rule 18)', (_, method, seed) => {
    const initiator = provide(seededRandom(1)).keyExchange(method);
    const responder = provide(seededRandom(seed));
    const { publicValue, sharedSecret } = responder.answerKeyExchange(method, initiator.publicValue);
    expect(sharedSecret[method === KeyExchangeMethod.ECP_521 ? 1 : 0]).toBe(0);
    expect(hex(initiator.agree(publicValue))).toBe(hex(sharedSecret));
    expect(initiator.agree(publicValue)).toHaveLength(
      LENGTHS[METHODS.find(([, id]) => id === method)![0]][2],
    );
  });

  it.each(METHODS)('%s: refuses values of a wrong length (bad input 2)', (_, method) => {
    const exchange = provide().keyExchange(method);
    const { publicValue } = provide().answerKeyExchange(method, exchange.publicValue);
    for (const difference of [-publicValue.length, -1, 1, 0x10000]) {
      const wrong = new Uint8Array(publicValue.length + difference).fill(2);
      expect(() => exchange.agree(wrong)).toThrow(InvalidKeyExchange);
    }
    for (const difference of [-exchange.publicValue.length, -1, 1, 0x10000]) {
      const wrong = new Uint8Array(exchange.publicValue.length + difference).fill(2);
      expect(() => provide().answerKeyExchange(method, wrong)).toThrow(InvalidKeyExchange);
    }
  });

  it.each(METHODS)('%s: any octets give a secret or InvalidKeyExchange', (name, method) => {
    const exchange = provide(seededRandom(1)).keyExchange(method);
    const [initiatorLength, responderLength, secretLength] = LENGTHS[name];
    const octets = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
    fc.assert(
      fc.property(octets(initiatorLength), octets(responderLength), (initiatorValue, responderValue) => {
        for (const secret of [
          () => exchange.agree(responderValue),
          () => provide().answerKeyExchange(method, initiatorValue).sharedSecret,
        ]) {
          try {
            expect(secret()).toHaveLength(secretLength);
          } catch (error) {
            expect(error).toBeInstanceOf(InvalidKeyExchange);
          }
        }
      }),
      { numRuns: 5 },
    );
  });

  it.each(METHODS)('%s: is unusable once destroyed', (_, method) => {
    const exchange = provide().keyExchange(method);
    exchange.destroy();
    expect(() => exchange.agree(exchange.publicValue)).toThrow('destroyed');
  });

  it.each(MODP)('%s: refuses 0, 1, p - 1, p and above (rule 20) (bad input 2)', (_, method, prime) => {
    const exchange = provide().keyExchange(method);
    const value = (last: number) => new Uint8Array(prime.length).with(-1, last);
    const all = new Uint8Array(prime.length).fill(0xff);
    for (const bad of [value(0), value(1), prime.with(-1, 0xfe), prime, all]) {
      expect(() => exchange.agree(bad)).toThrow(InvalidKeyExchange);
      expect(() => provide().answerKeyExchange(method, bad)).toThrow(InvalidKeyExchange);
    }
    expect(exchange.agree(value(2))).toEqual(exchange.publicValue);
  });

  it.each(ECP)(
    '%s: refuses points off the curve and coordinates out of range (rule 20) (bad input 2)',
    (_, method, length, prime) => {
      const exchange = provide().keyExchange(method);
      const peer = provide().keyExchange(method).publicValue;
      const changed = peer.slice();
      changed[changed.length - 1] ^= 1;
      const large = peer.slice();
      large.set(fromHex(prime), 0);
      const infinity = new Uint8Array(2 * length);
      for (const bad of [changed, large, infinity, new Uint8Array(2 * length).fill(0xff)]) {
        expect(() => exchange.agree(bad)).toThrow(InvalidKeyExchange);
        expect(() => provide().answerKeyExchange(method, bad)).toThrow(InvalidKeyExchange);
      }
    },
  );

  it.each(KEMS)(
    '%s: refuses an encapsulation key with a coefficient of q or more (FIPS 203 7.2) (bad input 2)',
    (_, method) => {
      const { publicValue } = provide().keyExchange(method);
      // The first coefficient is in the first octet and the low half of the second: q = 3329 = 0xd01.
      for (const [first, second] of [
        [0x01, 0x0d],
        [0xff, 0x0f],
      ]) {
        const bad = publicValue.with(0, first).with(1, (publicValue[1] & 0xf0) | second);
        expect(() => provide().answerKeyExchange(method, bad)).toThrow(InvalidKeyExchange);
      }
      const last = publicValue.with(0, 0x00).with(1, (publicValue[1] & 0xf0) | 0x0d);
      expect(provide().answerKeyExchange(method, last).sharedSecret).toHaveLength(32);
    },
  );

  it.each(KEMS)(
    '%s: gives another secret for another ciphertext, without an error (FIPS 203 6.3)',
    (_, method) => {
      const exchange = provide().keyExchange(method);
      const { publicValue, sharedSecret } = provide().answerKeyExchange(method, exchange.publicValue);
      const changed = publicValue.slice();
      changed[0] ^= 1;
      expect(hex(exchange.agree(changed))).not.toBe(hex(sharedSecret));
    },
  );

  it('X25519: masks the top bit and takes values that are not canonical (rule 20)', () => {
    const exchange = provide().keyExchange(KeyExchangeMethod.CURVE25519);
    const peer = provide().keyExchange(KeyExchangeMethod.CURVE25519).publicValue;
    const secret = hex(exchange.agree(peer));
    expect(hex(exchange.agree(peer.with(31, peer[31] ^ 0x80)))).toBe(secret);
    // 9 and 9 + p, the base point twice.
    const nine = new Uint8Array(32).with(0, 9);
    const large = new Uint8Array(32)
      .fill(0xff)
      .with(0, 0xed + 9)
      .with(31, 0x7f);
    expect(hex(exchange.agree(large))).toBe(hex(exchange.agree(nine)));
    expect(hex(exchange.agree(nine))).toBe(hex(exchange.publicValue));
  });

  it.each([
    '0000000000000000000000000000000000000000000000000000000000000000',
    '0100000000000000000000000000000000000000000000000000000000000000',
    'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
    '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
    'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  ])('X25519: refuses the point of small order %s (RFC 7748 6.1) (bad input 2)', (point) => {
    const exchange = provide().keyExchange(KeyExchangeMethod.CURVE25519);
    expect(() => exchange.agree(fromHex(point))).toThrow(InvalidKeyExchange);
    expect(() => provide().answerKeyExchange(KeyExchangeMethod.CURVE25519, fromHex(point))).toThrow(
      InvalidKeyExchange,
    );
  });

  it.each([0, 1, 2, 22, 1025, 65535])('refuses method %i (bad input 2)', (method) => {
    expect(() => provide().keyExchange(method)).toThrow(UnsupportedAlgorithm);
    expect(() => provide().answerKeyExchange(method, new Uint8Array(256))).toThrow(UnsupportedAlgorithm);
  });

  it.each(ECP)('%s: draws a key again that is not below the order', (_, method, length) => {
    const draws = [0, 0xff, 1].map((octet) => new Uint8Array(length).fill(octet));
    provide(() => draws.shift()!).keyExchange(method);
    expect(draws).toHaveLength(0);
  });
});

describe.each(METHODS)('%s between providers', (_, method) => {
  it('gives the same values from the same random octets, and agrees', () => {
    for (let seed = 1; seed <= 4; seed++) {
      const noble = nobleProvider(seededRandom(seed)).keyExchange(method);
      const node = nodeProvider(seededRandom(seed)).keyExchange(method);
      expect(hex(noble.publicValue)).toBe(hex(node.publicValue));
      for (const provider of [nobleProvider(), nodeProvider()]) {
        const answer = provider.answerKeyExchange(method, noble.publicValue);
        const secret = hex(answer.sharedSecret);
        expect(hex(noble.agree(answer.publicValue))).toBe(secret);
        expect(hex(node.agree(answer.publicValue))).toBe(secret);
      }
    }
  });
});

describe('the groups of RFC 3526', () => {
  it('have values between 1 and p - 1 (RFC 6989 2.1)', () => {
    const { prime } = MODP_3072;
    const [first, last] = [new Uint8Array(384).with(-1, 2), prime.with(-1, 0xfd)];
    expect([first, last].map((value) => isModpValue(MODP_3072, value))).toEqual([true, true]);
    expect(isModpValue(MODP_3072, first.with(-1, 1))).toBe(false);
    expect(isModpValue(MODP_3072, last.with(-1, 0xfe))).toBe(false);
  });

  it.each(MODP)('%s is the prime that OpenSSL has', (name, _, prime) => {
    const known = { 'MODP-2048': 'modp14', 'MODP-3072': 'modp15', 'MODP-4096': 'modp16' }[name];
    expect(hex(prime)).toBe(getDiffieHellman(known).getPrime('hex'));
  });
});

describe('modularPower', () => {
  it('keeps leading zeros', () => {
    expect(hex(modularPower(fromHex('02'), fromHex('05'), fromHex('0101')))).toBe('0020');
    expect(hex(modularPower(fromHex('03'), fromHex('0100'), fromHex('0101')))).toBe('0001');
  });
});
