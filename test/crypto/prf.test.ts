import { describe, expect, it } from 'vitest';
import { UnsupportedAlgorithm } from '../../src/crypto/provider.ts';
import { PrfTransform } from '../../src/crypto/transforms.ts';
import { fromHex, hex, utf8 } from '../../src/wire/bytes.ts';
import { PROVIDERS, vectors } from './providers.ts';

describe.each(PROVIDERS)('%s: prf and hash', (_, provide) => {
  const provider = provide();
  const { source, cases } = vectors<{
    name: string;
    key: string;
    data: string;
    sha256: string;
    sha384: string;
    sha512: string;
  }>('crypto-prf');

  it.each(cases)(`${source}: $name`, ({ key, data, sha256, sha384, sha512 }) => {
    const octets = fromHex(data);
    const prf = (id: number) =>
      hex(provider.prf(id, fromHex(key), octets.subarray(0, 3), new Uint8Array(0), octets.subarray(3)));
    expect(prf(PrfTransform.HMAC_SHA2_256)).toBe(sha256);
    expect(prf(PrfTransform.HMAC_SHA2_384)).toBe(sha384);
    expect(prf(PrfTransform.HMAC_SHA2_512)).toBe(sha512);
  });

  const aes = vectors<{
    source: string;
    name: string;
    prf: number;
    key: string;
    data: string;
    output: string;
  }>('crypto-aes-prf');

  it.each(aes.cases)('$source: $name', ({ prf, key, data, output }) => {
    const octets = fromHex(data);
    expect(hex(provider.prf(prf, fromHex(key), octets.subarray(0, 3), octets.subarray(3)))).toBe(output);
  });

  it('takes an empty key', () => {
    const empty = provider.prf(PrfTransform.HMAC_SHA2_256, new Uint8Array(0));
    expect(hex(empty)).toBe('b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad');
  });

  it('hashes "abc" (FIPS 180-4)', () => {
    const abc = (id: 'sha1' | 'sha256' | 'sha384' | 'sha512') =>
      hex(provider.hash(id, utf8('a'), utf8('bc')));
    expect(abc('sha1')).toBe('a9993e364706816aba3e25717850c26c9cd0d89d');
    expect(abc('sha256')).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
    expect(abc('sha384').slice(0, 32)).toBe('cb00753f45a35e8bb5a03d699ac65007');
    expect(abc('sha512').slice(0, 32)).toBe('ddaf35a193617abacc417349ae204131');
  });

  it('refuses other pseudorandom functions', () => {
    expect(() => provider.prf(1, new Uint8Array(1))).toThrow(UnsupportedAlgorithm);
  });

  it('draws random octets that are not views of a pool, and from the given source', () => {
    expect(provider.random(32).buffer.byteLength).toBe(32);
    expect(hex(provider.random(32))).not.toBe(hex(provider.random(32)));
    expect(hex(provide((length) => new Uint8Array(length).fill(9)).random(2))).toBe('0909');
  });
});
