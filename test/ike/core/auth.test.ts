import { createPrivateKey, sign } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { nodeProvider } from '../../../src/crypto/node.ts';
import {
  type AuthInputs,
  createAuth,
  decodeHashAlgorithms,
  hashAlgorithmsNotify,
  verifyAuth,
} from '../../../src/ike/auth.ts';
import type { LocalAuthentication, RemoteAuthentication } from '../../../src/ike/config.ts';
import { LocalError } from '../../../src/ike/errors.ts';
import type { AuthPayload } from '../../../src/ike/payload/index.ts';
import { concat, fromHex, hex, utf8 } from '../../../src/wire/bytes.ts';
import { NULL_AUTH, sharedKey, signature } from '../../support/ike-configs.ts';
import { seededRandom } from '../../support/seeded-random.ts';

const crypto = nodeProvider(seededRandom(5));
const ALL = new Set([2, 3, 4, 5]);
const inputs: AuthInputs = {
  crypto,
  prf: 5,
  message: utf8('message'),
  nonce: crypto.random(32),
  skP: crypto.random(32),
  idBody: fromHex('0d000000'),
};
const ed25519 = signature(crypto);
const p256 = signature(crypto, 'ecdsa-p256-sha256');
const octets = concat(inputs.message, inputs.nonce, crypto.prf(5, inputs.skP, inputs.idBody));

const verify = (
  remote: RemoteAuthentication,
  auth: AuthPayload,
  hashes: ReadonlySet<number> | undefined = ALL,
) => verifyAuth(remote, auth, inputs, hashes);

function secretOf(local: LocalAuthentication) {
  if (local.kind !== 'signature') throw new Error('no key');
  return local.key;
}

describe('SIGNATURE_HASH_ALGORITHMS', () => {
  it('is the same fixed list for everybody', () => {
    expect(hex(hashAlgorithmsNotify().data)).toBe('0002000300040005');
    expect(decodeHashAlgorithms(fromHex('0002 0005 0100'))).toEqual(new Set([2, 5, 256]));
    expect(decodeHashAlgorithms(fromHex('000200'))).toBeUndefined();
  });
});

describe('Digital Signature (RFC 7427)', () => {
  it.each([
    ['Ed25519', ed25519, '07300506032b6570'],
    ['ECDSA', p256, '0c300a06082a8648ce3d040302'],
  ] as const)('states its algorithm: %s', (_, { local, remote }, prefix) => {
    const auth = createAuth(local, inputs, ALL);
    expect(auth.method).toBe(14);
    expect(hex(auth.data)).toMatch(new RegExp(`^${prefix}`));
    expect(verify(remote, auth)).toBe(true);
  });

  it('is not made for a peer that does not list the hash', () => {
    for (const [{ local }, hashes] of [
      [ed25519, undefined],
      [ed25519, new Set([2, 3, 4])],
      [p256, new Set([5])],
    ] as const) {
      expect(() => createAuth(local, inputs, hashes)).toThrow(LocalError);
    }
  });

  it('is refused when anything of it is wrong', () => {
    for (const { local, remote } of [ed25519, p256]) {
      const { data } = createAuth(local, inputs, ALL);
      const wrong: Uint8Array[] = [
        new Uint8Array(0),
        data.subarray(0, 1),
        data.subarray(0, data[0] + 1),
        data.subarray(0, data.length - 1),
        concat(data, Uint8Array.of(0)),
        concat(data.subarray(0, data[0] + 1), new Uint8Array(64)),
        concat(data.subarray(0, data[0] + 1), fromHex('3006020100020100')),
        Uint8Array.of(255, ...data.subarray(1)),
        Uint8Array.of(0, ...data.subarray(data[0] + 1)),
      ];
      for (let i = 0; i < data[0] + 1; i++) {
        wrong.push(data.with(i, data[i] ^ 1));
      }
      for (const octets of wrong)
        expect(verify(remote, { kind: 'AUTH', method: 14, data: octets })).toBe(false);
      for (const method of [0, 1, 2, 3, 9, 10, 13, 15])
        expect(verify(remote, { kind: 'AUTH', method, data })).toBe(false);
    }
    const { data } = createAuth(ed25519.local, inputs, ALL);
    expect(verify(p256.remote, { kind: 'AUTH', method: 14, data })).toBe(false);
    expect(verify({ kind: 'signature', publicKey: utf8('no key') }, { kind: 'AUTH', method: 14, data })).toBe(
      false,
    );
  });
});

describe('ECDSA-256 of older peers (RFC 4754)', () => {
  const key = secretOf(p256.local);
  const pkcs8 = concat(
    fromHex('3041020100301306072a8648ce3d020106082a8648ce3d030107042730250201010420'),
    key.secret,
  );
  const privateKey = createPrivateKey({ key: Buffer.from(pkcs8), format: 'der', type: 'pkcs8' });
  const raw = () => new Uint8Array(sign('sha256', octets, { key: privateKey, dsaEncoding: 'ieee-p1363' }));

  it('is accepted as r | s, with every sign and length of the integers', () => {
    for (let i = 0; i < 100; i++) {
      const data = raw();
      expect(data).toHaveLength(64);
      expect(verifyAuth(p256.remote, { kind: 'AUTH', method: 9, data }, inputs, undefined)).toBe(true);
    }
  });

  it('is refused from a peer that knows Digital Signature, for another key, and when wrong', () => {
    const data = raw();
    expect(verifyAuth(p256.remote, { kind: 'AUTH', method: 9, data }, inputs, ALL)).toBe(false);
    const refused = (remote: RemoteAuthentication, octets: Uint8Array) =>
      expect(verifyAuth(remote, { kind: 'AUTH', method: 9, data: octets }, inputs, undefined)).toBe(false);
    refused(ed25519.remote, data);
    refused(signature(crypto, 'ecdsa-p256-sha256').remote, data);
    refused(p256.remote, new Uint8Array(64));
    refused(p256.remote, data.subarray(0, 63));
    refused(p256.remote, data.with(40, data[40] ^ 1));
  });
});

describe('NULL authentication (RFC 7619)', () => {
  it('is computed with SK_p instead of a secret', () => {
    const auth = createAuth(NULL_AUTH, inputs, undefined);
    const asShared = createAuth(
      { kind: 'shared-key', identity: { type: 13, data: utf8('') }, secret: inputs.skP },
      inputs,
      undefined,
    );
    expect(auth).toEqual({ ...asShared, method: 13 });
    expect(verify(NULL_AUTH, auth)).toBe(true);
    expect(verify(NULL_AUTH, { ...auth, data: auth.data.with(0, auth.data[0] ^ 1) })).toBe(false);
    expect(verify(NULL_AUTH, { ...auth, method: 2 })).toBe(false);
  });

  it('does not do where a secret or a key is demanded', () => {
    const auth = createAuth(NULL_AUTH, inputs, undefined);
    expect(verify(sharedKey('x').remote, auth)).toBe(false);
    expect(verify(ed25519.remote, auth)).toBe(false);
  });
});
