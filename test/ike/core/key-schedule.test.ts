import { createHmac } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import vectors from '../../../fixtures/vectors/ike-keys.json' with { type: 'json' };
import { nodeProvider } from '../../../src/crypto/node.ts';
import type { CryptoProvider, ProtectionKeys } from '../../../src/crypto/provider.ts';
import { createAuth, verifyAuth } from '../../../src/ike/auth.ts';
import {
  deriveChildKeys,
  deriveIkeKeys,
  initialSkeyseed,
  rekeyedSkeyseed,
} from '../../../src/ike/key-schedule.ts';
import { concat, fromHex, hex, utf8 } from '../../../src/wire/bytes.ts';
import { seededRandom } from '../../support/seeded-random.ts';

const HMAC_SHA1 = 2;

/** The vectors use HMAC-SHA-1. */
const provider = nodeProvider(seededRandom(1));

function hmac(hash: string, key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array {
  const mac = createHmac(hash, key);
  for (const part of parts) mac.update(part);
  return new Uint8Array(mac.digest());
}

/** prf+ written anew from RFC 7296 2.13; itself checked against the vectors. */
function expand(hash: string, key: Uint8Array, seed: Uint8Array, length: number): string {
  let out = '';
  let block: Uint8Array = new Uint8Array(0);
  for (let i = 1; out.length < 2 * length; i++) {
    block = hmac(hash, key, block, seed, Uint8Array.of(i));
    out += hex(block);
  }
  return out.slice(0, 2 * length);
}

const inputsOf = (v: Record<'nonceI' | 'nonceR' | 'spiI' | 'spiR', string>) => ({
  nonceI: fromHex(v.nonceI),
  nonceR: fromHex(v.nonceR),
  spiI: fromHex(v.spiI),
  spiR: fromHex(v.spiR),
});

describe('SKEYSEED', () => {
  it.each([vectors.flow, vectors.acvp])('is the published one', (v) => {
    const seed = initialSkeyseed(provider, HMAC_SHA1, inputsOf(v), fromHex(v.sharedSecret));
    expect(hex(seed)).toBe(v.skeyseed);
  });
});

describe('the key of SKEYSEED', () => {
  const nonces = { nonceI: seededRandom(1)(32), nonceR: seededRandom(2)(40) };
  const secret = seededRandom(3)(32);

  it.each([
    ['PRF_AES128_XCBC', 4],
    ['PRF_AES128_CMAC', 8],
  ])('%s: is the first 64 bits of each nonce, though prf+ takes all of them (rule 22)', (_, prf) => {
    const key = concat(nonces.nonceI.subarray(0, 8), nonces.nonceR.subarray(0, 8));
    const skeyseed = initialSkeyseed(provider, prf, nonces, secret);
    expect(hex(skeyseed)).toBe(hex(provider.prf(prf, key, secret)));
    expect(hex(initialSkeyseed(provider, prf, { ...nonces, nonceR: nonces.nonceR.with(8, 1) }, secret))).toBe(
      hex(skeyseed),
    );
    const suite = { encryption: 20, keyLength: 256, integrity: 0, prf };
    const spis = { spiI: new Uint8Array(8), spiR: new Uint8Array(8) };
    const skD = (nonceR: Uint8Array) =>
      hex(deriveIkeKeys(provider, suite, { ...nonces, nonceR, ...spis }, skeyseed, undefined).skD);
    expect(skD(nonces.nonceR)).toHaveLength(32);
    expect(skD(nonces.nonceR)).not.toBe(skD(nonces.nonceR.with(8, 1)));
  });

  it.each([2, 5, 6, 7])('PRF %i: is all of both nonces (rule 22)', (prf) => {
    const key = concat(nonces.nonceI, nonces.nonceR);
    expect(hex(initialSkeyseed(provider, prf, nonces, secret))).toBe(hex(provider.prf(prf, key, secret)));
  });
});

describe('the reference for KEYMAT', () => {
  it('gives the published keys', () => {
    const { flow, acvp } = vectors;
    const seedOf = (v: typeof flow | typeof acvp) => fromHex(v.nonceI + v.nonceR + v.spiI + v.spiR);
    expect(expand('sha1', fromHex(acvp.skeyseed), seedOf(acvp), 132)).toBe(acvp.keymat);
    const skD = fromHex(acvp.keymat.slice(0, 40));
    expect(expand('sha1', skD, fromHex(acvp.nonceI + acvp.nonceR), 132)).toBe(acvp.childKeymat);
    expect(expand('sha1', fromHex(flow.skeyseed), seedOf(flow), 132)).toBe(
      flow.skD + flow.skAi + flow.skAr + flow.skEi + flow.skEr + flow.skPi + flow.skPr,
    );
    expect(expand('sha1', fromHex(flow.skD), fromHex(flow.nonceI + flow.nonceR), 72)).toBe(
      flow.childEi + flow.childAi + flow.childEr + flow.childAr,
    );
  });
});

describe('derived keys', () => {
  const SUITES = [
    { encryption: 12, keyLength: 128, integrity: 12, e: 16, a: 32 },
    { encryption: 12, keyLength: 256, integrity: 12, e: 32, a: 32 },
    { encryption: 20, keyLength: 128, integrity: 0, e: 20, a: 0 },
    { encryption: 20, keyLength: 256, integrity: 0, e: 36, a: 0 },
    { encryption: 28, keyLength: 256, integrity: 0, e: 36, a: 0 },
  ];
  const PRFS = [
    { prf: 5, hash: 'sha256', length: 32 },
    { prf: 6, hash: 'sha384', length: 48 },
    { prf: 7, hash: 'sha512', length: 64 },
  ];
  const inputs = inputsOf(vectors.flow);
  const nonces = hex(inputs.nonceI) + hex(inputs.nonceR);

  it.each(SUITES.flatMap((suite) => PRFS.map((prf) => ({ ...suite, ...prf }))))(
    'are cut in the order of RFC 7296 2.14 and 2.17: $encryption/$keyLength, $hash (rules 24, 25)',
    ({ encryption, keyLength, integrity, e, a, prf, hash, length }) => {
      const made: ProtectionKeys[] = [];
      const inner = nodeProvider(seededRandom(1));
      const provider: CryptoProvider = {
        ...inner,
        protector: (suite, keys) => {
          made.push({ encryption: keys.encryption.slice(), integrity: keys.integrity.slice() });
          return inner.protector(suite, keys);
        },
      };
      const skeyseed = seededRandom(9)(length);
      const keys = deriveIkeKeys(
        provider,
        { encryption, keyLength, integrity, prf },
        inputs,
        skeyseed,
        undefined,
      );
      const keymat = fromHex(
        expand(
          hash,
          skeyseed,
          fromHex(nonces + hex(inputs.spiI) + hex(inputs.spiR)),
          3 * length + 2 * (a + e),
        ),
      );
      let offset = 0;
      const next = (count: number) => {
        offset += count;
        return hex(keymat.subarray(offset - count, offset));
      };
      const expected = [length, a, a, e, e, length, length].map(next);
      expect([
        hex(keys.skD),
        hex(made[0].integrity),
        hex(made[1].integrity),
        hex(made[0].encryption),
        hex(made[1].encryption),
        hex(keys.skPi),
        hex(keys.skPr),
      ]).toEqual(expected);

      const suite = { encryption, keyLength, integrity };
      const child = deriveChildKeys(provider, prf, suite, keys.skD, inputs);
      const { initiatorToResponder: i, responderToInitiator: r } = child;
      expect(hex(i.encryption) + hex(i.integrity) + hex(r.encryption) + hex(r.integrity)).toBe(
        expand(hash, keys.skD, fromHex(nonces), 2 * (a + e)),
      );

      const secret = fromHex('5ec2e7'.repeat(11));
      const withKe = deriveChildKeys(provider, prf, suite, keys.skD, inputs, [secret]);
      const [one, other] = [withKe.initiatorToResponder, withKe.responderToInitiator];
      expect(hex(one.encryption) + hex(one.integrity) + hex(other.encryption) + hex(other.integrity)).toBe(
        expand(hash, keys.skD, fromHex(hex(secret) + nonces), 2 * (a + e)),
      );

      keys.destroy();
      for (const secret of [keys.skD, keys.skPi, keys.skPr])
        expect(secret.every((octet) => octet === 0)).toBe(true);
    },
  );
});

it('makes SKEYSEED of SK(0) | Ni | Nr | SK(1) | ... | SK(n) in a rekey (RFC 9370 2.2.4)', () => {
  const [skD, first, second, third] = ['5d', 'a0', 'a1', 'a2'].map((octet) => fromHex(octet.repeat(32)));
  const nonces = { nonceI: fromHex('1'.repeat(64)), nonceR: fromHex('2'.repeat(64)) };
  const skeyseed = rekeyedSkeyseed(provider, 5, skD, nonces, [first, second, third]);
  const { nonceI, nonceR } = nonces;
  expect(hex(skeyseed)).toBe(hex(hmac('sha256', skD, first, nonceI, nonceR, second, third)));
});

describe('shared key AUTH', () => {
  const { flow } = vectors;
  const inputs = {
    crypto: provider,
    prf: HMAC_SHA1,
    message: fromHex(flow.request),
    nonce: fromHex(flow.nonceR),
    skP: fromHex(flow.skPi),
    idBody: fromHex(flow.idI),
  };
  const secret = fromHex(flow.sharedKey);
  const identity = { type: 1, data: fromHex('0a50500d') };

  it('is the recorded one (rule 29)', () => {
    const auth = createAuth({ kind: 'shared-key', identity, secret }, inputs, { peerHashes: undefined });
    expect(hex(auth.data)).toBe(flow.auth);
    expect(verifyAuth({ kind: 'shared-key', secret }, auth, inputs, undefined)).toBe(true);
  });

  it('covers the message, the nonce, the ID payload with its RESERVED octets, and the keys (rules 27, 28)', () => {
    const auth = { kind: 'AUTH', method: 2, data: fromHex(flow.auth) } as const;
    expect(verifyAuth({ kind: 'shared-key', secret }, auth, inputs, undefined)).toBe(true);
    for (const part of ['message', 'nonce', 'skP', 'idBody'] as const) {
      const changed = inputs[part].slice();
      changed[1] ^= 1;
      expect(
        verifyAuth({ kind: 'shared-key', secret }, auth, { ...inputs, [part]: changed }, undefined),
      ).toBe(false);
    }
    expect(verifyAuth({ kind: 'shared-key', secret: utf8('x') }, auth, inputs, undefined)).toBe(false);
  });
});
