import { createPrivateKey, constants as openssl, privateEncrypt, sign } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { nodeProvider } from '../../../src/crypto/node.ts';
import { encodePkcs8 } from '../../../src/crypto/pkcs8.ts';
import type { KeyType } from '../../../src/crypto/provider.ts';
import type { CurveKeyType } from '../../../src/crypto/signing-curves.ts';
import { encodeSpki } from '../../../src/crypto/spki.ts';
import type { LocalAuthentication, RemoteAuthentication } from '../../../src/ike/config.ts';
import { LocalError } from '../../../src/ike/errors.ts';
import {
  createSignature,
  decodeHashAlgorithms,
  hashAlgorithmsNotify,
  verifySignature,
} from '../../../src/ike/signature-auth.ts';
import { concat, fromHex, hex, utf8 } from '../../../src/wire/bytes.ts';
import { vectors } from '../../crypto/providers.ts';
import { signature } from '../../support/ike-configs.ts';
import { seededRandom } from '../../support/seeded-random.ts';

type Local = Extract<LocalAuthentication, { readonly kind: 'signature' }>;
type Remote = Extract<RemoteAuthentication, { readonly kind: 'signature' }>;

const crypto = nodeProvider(seededRandom(6));
const OCTETS = utf8('InitiatorSignedOctets');
const ALL = new Set([2, 3, 4, 5]);
const DIGITAL_SIGNATURE = 14;
const TYPES: readonly KeyType[] = ['ed25519', 'ecdsa-p256', 'ecdsa-p384', 'ecdsa-p521', 'rsa'];
const keys = new Map(
  TYPES.map((type) => [type, signature(crypto, type) as { local: Local; remote: Remote }]),
);

function local(type: KeyType, more: Partial<Local> = {}): Local {
  return { ...keys.get(type)!.local, ...more };
}

function remote(type: KeyType, more: Partial<Remote> = {}): Remote {
  return { ...keys.get(type)!.remote, ...more };
}

function create(from: Local, hashes: ReadonlySet<number> | undefined) {
  return createSignature(from, crypto, OCTETS, { peerHashes: hashes });
}

function verify(by: Remote, method: number, data: Uint8Array, hashes: ReadonlySet<number> | undefined) {
  return verifySignature(by, { kind: 'AUTH', method, data }, crypto, OCTETS, hashes);
}

function privateKey(type: KeyType) {
  return createPrivateKey({ key: Buffer.from(local(type).key.secret), format: 'der', type: 'pkcs8' });
}

describe('SIGNATURE_HASH_ALGORITHMS', () => {
  it('is the same fixed list for everybody', () => {
    expect(hex(hashAlgorithmsNotify().data)).toBe('0002000300040005');
  });

  it('is a list of two octets each, and half of one makes it void (rule 32)', () => {
    expect(decodeHashAlgorithms(fromHex('0002 0005 0100'))).toEqual(new Set([2, 5, 256]));
    expect(decodeHashAlgorithms(fromHex('000200'))).toBeUndefined();
    expect(decodeHashAlgorithms(fromHex('00'))).toBeUndefined();
  });
});

describe('Digital Signature (RFC 7427)', () => {
  const PSS = '06092a864886f70d01010a3034a00f300d0609608648016503040201';
  const FORMS: readonly (readonly [string, Local, number[], string])[] = [
    ['Ed25519 with the identity hash (RFC 8420 A.1)', local('ed25519'), [2, 3, 4, 5], '07300506032b6570'],
    ['ECDSA P-256, SHA-256', local('ecdsa-p256'), [2, 3, 4, 5], '0c300a06082a8648ce3d040302'],
    ['ECDSA P-384, SHA-384', local('ecdsa-p384'), [2, 3, 4, 5], '0c300a06082a8648ce3d040303'],
    ['ECDSA P-521, SHA-512', local('ecdsa-p521'), [2, 3, 4, 5], '0c300a06082a8648ce3d040304'],
    [
      'ECDSA P-256, SHA-512 if only that is listed',
      local('ecdsa-p256'),
      [1, 4],
      '0c300a06082a8648ce3d040304',
    ],
    ['ECDSA P-521, SHA-256 if only that is listed', local('ecdsa-p521'), [2], '0c300a06082a8648ce3d040302'],
    [
      'RSASSA-PSS, SHA-256, in DER',
      local('rsa'),
      [2, 3, 4],
      `433041${PSS}0500a11c301a06092a864886f70d010108300d06096086480165030402010500a203020120`,
    ],
    [
      'RSASSA-PSS, SHA-512',
      local('rsa'),
      [4],
      `433041${PSS.slice(0, -2)}030500a11c301a06092a864886f70d010108300d06096086480165030402030500a203020140`,
    ],
    [
      'PKCS #1, SHA-256 (RFC 7427 A.1.2)',
      local('rsa', { rsaPadding: 'pkcs1' }),
      [2, 3, 4],
      '0f300d06092a864886f70d01010b0500',
    ],
    ['PKCS #1, SHA-384', local('rsa', { rsaPadding: 'pkcs1' }), [3], '0f300d06092a864886f70d01010c0500'],
    ['PKCS #1, SHA-512', local('rsa', { rsaPadding: 'pkcs1' }), [4], '0f300d06092a864886f70d01010d0500'],
  ];

  it.each(FORMS)('says how it was made, with a hash of the peer (rule 31): %s', (_, from, hashes, prefix) => {
    const { method, data } = create(from, new Set(hashes));
    expect(method).toBe(DIGITAL_SIGNATURE);
    expect(hex(data.subarray(0, prefix.length / 2))).toBe(prefix);
    expect(verify(remote(from.key.type), method, data, ALL)).toBe(true);
  });

  it('of ECDSA is DER, where the older methods have r | s (rule 33)', () => {
    const { data } = create(local('ecdsa-p256'), ALL);
    expect(data[13]).toBe(0x30);
    expect(data[14]).toBe(data.length - 15);
    const raw = new Uint8Array(
      sign('sha256', OCTETS, { key: privateKey('ecdsa-p256'), dsaEncoding: 'ieee-p1363' }),
    );
    expect(verify(remote('ecdsa-p256'), DIGITAL_SIGNATURE, concat(data.subarray(0, 13), raw), ALL)).toBe(
      false,
    );
    expect(verify(remote('ecdsa-p256'), 9, data.subarray(13), undefined)).toBe(false);
  });

  it('is not made with a hash that the peer does not list (rule 31)', () => {
    for (const [type, hashes] of [
      ['ed25519', [2, 3, 4]],
      ['ecdsa-p256', [1, 5]],
      ['ecdsa-p384', []],
      ['rsa', [1]],
    ] as const) {
      expect(() => create(local(type, { allowSha1: true }), new Set(hashes))).toThrow(LocalError);
    }
    expect(() => create(local('rsa'), new Set([1]))).toThrow('its SIGNATURE_HASH_ALGORITHMS are SHA1');
  });

  it('is used when both have sent SIGNATURE_HASH_ALGORITHMS, and only then (rule 31)', () => {
    for (const type of TYPES) {
      const { data } = create(local(type), ALL);
      expect(verify(remote(type), DIGITAL_SIGNATURE, data, ALL)).toBe(true);
      expect(verify(remote(type), DIGITAL_SIGNATURE, data, undefined)).toBe(false);
    }
    for (const [type, method] of [
      ['ecdsa-p256', 9],
      ['ecdsa-p384', 10],
      ['ecdsa-p521', 11],
      ['rsa', 1],
    ] as const) {
      const { data } = create(local(type, { allowSha1: true }), undefined);
      expect(verify(remote(type, { allowSha1: true }), method, data, undefined)).toBe(true);
      expect(verify(remote(type, { allowSha1: true }), method, data, ALL)).toBe(false);
    }
  });

  it('is understood with every encoding of the parameters of RSASSA-PSS in use', () => {
    const { data } = create(local('rsa'), ALL);
    const value = data.subarray(1 + data[0]);
    const by = remote('rsa');
    const accepted = (identifier: string) => {
      const bytes = fromHex(identifier);
      return verify(by, DIGITAL_SIGNATURE, concat(Uint8Array.of(bytes.length), bytes, value), ALL);
    };
    const id = '06092a864886f70d01010a';
    const mgf1 = '06092a864886f70d010108';
    const sha256 = '0609608648016503040201';
    // RFC 7427 A.4.3, and without the default value of the trailer.
    const explicit = `a00f300d${sha256}0500a11c301a${mgf1}300d${sha256}0500a203020120`;
    expect(accepted(`3046${id}3039${explicit}a303020101`)).toBe(true);
    expect(accepted(`3041${id}3034${explicit}`)).toBe(true);
    expect(accepted(`3042${id}3035a00d300b${sha256}a11a3018${mgf1}300b${sha256}a203020120a303020101`)).toBe(
      true,
    );
    expect(accepted(`303d${id}3030a00d300b${sha256}a11a3018${mgf1}300b${sha256}a203020120`)).toBe(true);
    // Empty and default parameters mean SHA-1 (RFC 8247 3.2: MUST NOT).
    expect(accepted(`300d${id}3000`)).toBe(false);
    expect(accepted(`300b${id}`)).toBe(false);
    // Another salt than the hash is long, up to what no modulus has room for; another trailer; another hash for MGF1.
    expect(accepted(`3041${id}3034a00f300d${sha256}0500a11c301a${mgf1}300d${sha256}0500a203020114`)).toBe(
      false,
    );
    expect(
      accepted(`3045${id}3038a00f300d${sha256}0500a11c301a${mgf1}300d${sha256}0500a20702050080000000`),
    ).toBe(false);
    expect(
      accepted(`3046${id}3039a00f300d${sha256}0500a11c301a${mgf1}300d${sha256}0500a203020120a303020102`),
    ).toBe(false);
    expect(
      accepted(`3041${id}3034a00f300d${sha256}0500a11c301a${mgf1}300d06096086480165030402030500a203020120`),
    ).toBe(false);
  });

  it.each(TYPES)('of a key of type %s is refused when anything of it is wrong (bad input 10)', (type) => {
    const { data } = create(local(type), ALL);
    const start = 1 + data[0];
    const [head, value] = [data.subarray(0, start), data.subarray(start)];
    const wrong = [
      new Uint8Array(0),
      Uint8Array.of(0),
      Uint8Array.of(255),
      data.subarray(0, 1),
      head,
      data.subarray(0, -1),
      concat(data, Uint8Array.of(0)),
      concat(head, new Uint8Array(value.length)),
      concat(head, fromHex('3006020100020100')),
      // The AlgorithmIdentifier's length is 255, or none, or leaves its last octet to the signature.
      data.with(0, 255),
      concat(Uint8Array.of(255), head.subarray(1), new Uint8Array(255 - data[0]), value),
      concat(Uint8Array.of(0), value),
      data.with(0, data[0] - 1),
      data.with(0, data[0] + 1),
      // With garbage after it, inside its length; without its parameters, or with some.
      concat(Uint8Array.of(data[0] + 2), head.subarray(1), fromHex('0500'), value),
      concat(Uint8Array.of(data[0] + 1), head.subarray(1), fromHex('ff'), value),
      concat(Uint8Array.of(head.length - 3), head.subarray(1, -2).with(1, head[2] - 2), value),
      concat(Uint8Array.of(head.length + 1), head.subarray(1).with(1, head[2] + 2), fromHex('0500'), value),
      ...Array.from(head, (octet, i) => data.with(i, octet ^ 1)),
    ];
    for (const octets of wrong) {
      expect(verify(remote(type), DIGITAL_SIGNATURE, octets, ALL)).toBe(false);
    }
    for (const method of [0, 1, 2, 3, 9, 10, 11, 13, 15, 255]) {
      expect(verify(remote(type, { allowSha1: true }), method, data, ALL)).toBe(false);
      expect(verify(remote(type, { allowSha1: true }), method, data, undefined)).toBe(false);
    }
    for (const other of TYPES.filter((one) => one !== type)) {
      expect(verify(remote(other), DIGITAL_SIGNATURE, data, ALL)).toBe(false);
    }
    expect(verify({ kind: 'signature', publicKey: utf8('no key') }, DIGITAL_SIGNATURE, data, ALL)).toBe(
      false,
    );
  });

  it('of PKCS #1 is refused unless the whole block is as it has to be (bad input 10)', () => {
    const digest = crypto.hash('sha256', OCTETS);
    const info = concat(fromHex('3031300d060960864801650304020105000420'), digest);
    const block = (content: Uint8Array, type = 1, pad = 0xff) => {
      const padding = new Uint8Array(256 - 3 - content.length).fill(pad);
      return concat(Uint8Array.of(0, type), padding, Uint8Array.of(0), content);
    };
    const accepted = (octets: Uint8Array) => {
      const key = { key: privateKey('rsa'), padding: openssl.RSA_NO_PADDING };
      const forged = new Uint8Array(privateEncrypt(key, octets));
      const head = fromHex('0f300d06092a864886f70d01010b0500');
      return verify(remote('rsa'), DIGITAL_SIGNATURE, concat(head, forged), ALL);
    };
    expect(accepted(block(info))).toBe(true);
    const short = concat(Uint8Array.of(0, 1), new Uint8Array(8).fill(0xff), Uint8Array.of(0), info);
    const wrong = [
      // DigestInfo one octet short, in its digest or its length, and with octets after it.
      block(info.subarray(0, -1)),
      block(info.subarray(0, -1).with(1, 0x30).with(18, 0x1f)),
      block(concat(info, Uint8Array.of(0))),
      block(concat(info.with(1, 0x33), fromHex('0500'))),
      concat(short, new Uint8Array(256 - short.length)),
      // Parameters missing, or not NULL; the digest alone; another hash's DigestInfo.
      block(concat(fromHex('302f300b0609608648016503040201 0420'), digest)),
      block(info.with(15, 4)),
      block(digest),
      block(info.with(14, 3)),
      block(info, 2),
      block(info, 1, 0xfe),
      block(info).with(100, 0),
    ];
    for (const octets of wrong) expect(accepted(octets)).toBe(false);
  });

  it('is refused with RSA keys that are weak or make no sense (bad input 10)', () => {
    const by = (spki: string) => ({ kind: 'signature', publicKey: fromHex(spki) }) as const;
    const modulus = `00${'ff'.repeat(256)}`;
    const spki = (e: string) =>
      `30820120300d06092a864886f70d01010105000382010d00308201080282010${1}${modulus}0201${e}`;
    const { data } = create(local('rsa'), ALL);
    for (const e of ['00', '01', '02', '03']) {
      expect(verify(by(spki(e)), DIGITAL_SIGNATURE, data, ALL)).toBe(false);
    }
    const short = `305c300d06092a864886f70d0101010500034b003048024100${'ff'.repeat(64)}0203010001`;
    expect(verify(by(short), DIGITAL_SIGNATURE, data, ALL)).toBe(false);
    // With e = 1 anybody could sign: the signature is the block itself.
    const block = concat(
      Uint8Array.of(0, 1),
      new Uint8Array(202).fill(0xff),
      fromHex('00 3031300d060960864801650304020105000420'),
      crypto.hash('sha256', OCTETS),
    );
    const head = fromHex('0f300d06092a864886f70d01010b0500');
    expect(verify(by(spki('01')), DIGITAL_SIGNATURE, concat(head, block), ALL)).toBe(false);
  });
});

describe('ECDSA of older peers (RFC 4754)', () => {
  interface Vector {
    readonly source: string;
    readonly type: CurveKeyType;
    readonly secret: string;
    readonly publicKey: string;
    readonly message: string;
    readonly r?: string;
    readonly s?: string;
    readonly method?: number;
  }
  const { cases } = vectors<Vector>('crypto-signatures');

  it.each(cases.filter(({ method }) => method !== undefined))(
    '$source: method $method (rule 33)',
    ({ type, secret, publicKey, message, r, s, method = 0 }) => {
      const by: Remote = { kind: 'signature', publicKey: encodeSpki(type, fromHex(publicKey)) };
      const data = concat(fromHex(r!), fromHex(s!));
      const verified = (octets: Uint8Array) =>
        verifySignature(by, { kind: 'AUTH', method, data: octets }, crypto, fromHex(message), undefined);
      expect(verified(data)).toBe(true);
      const key = crypto.signatures.fromPkcs8(encodePkcs8(type, fromHex(secret)));
      const own = createSignature({ ...local(type), key }, crypto, fromHex(message), {
        peerHashes: undefined,
      });
      expect(own.method).toBe(method);
      expect(verified(own.data)).toBe(true);
    },
  );

  it.each([
    ['ecdsa-p256', 9, 64],
    ['ecdsa-p384', 10, 96],
    ['ecdsa-p521', 11, 132],
  ] as const)('is r | s in a fixed width (rule 33): %s', (type, method, length) => {
    for (let i = 0; i < 20; i++) {
      const auth = create(local(type), undefined);
      expect(auth.method).toBe(method);
      expect(auth.data).toHaveLength(length);
      expect(verify(remote(type), method, auth.data, undefined)).toBe(true);
    }
  });

  it('is refused for another key or curve, and when wrong (bad input 10)', () => {
    const { data } = create(local('ecdsa-p256'), undefined);
    const refused = (by: Remote, octets: Uint8Array, method = 9) =>
      expect(verify(by, method, octets, undefined)).toBe(false);
    refused(remote('ed25519'), data);
    refused(remote('ecdsa-p384'), data);
    refused(signature(crypto, 'ecdsa-p256').remote as Remote, data);
    refused(remote('ecdsa-p256'), data, 10);
    refused(remote('ecdsa-p256'), data, 11);
    refused(remote('ecdsa-p256'), new Uint8Array(64));
    refused(remote('ecdsa-p256'), new Uint8Array(0));
    refused(remote('ecdsa-p256'), data.subarray(0, 63));
    refused(remote('ecdsa-p256'), data.with(40, data[40] ^ 1));
  });
});

describe('RSA with SHA-1 of older peers (RFC 7296 3.8, method 1)', () => {
  it('is refused unless it was allowed, on both sides', () => {
    expect(() => create(local('rsa'), undefined)).toThrow('allowSha1');
    const auth = create(local('rsa', { allowSha1: true }), undefined);
    expect(auth.method).toBe(1);
    expect(auth.data).toHaveLength(256);
    expect(verify(remote('rsa'), 1, auth.data, undefined)).toBe(false);
    expect(verify(remote('rsa', { allowSha1: true }), 1, auth.data, undefined)).toBe(true);
    expect(
      verify(remote('rsa', { allowSha1: true }), 1, auth.data.with(9, auth.data[9] ^ 1), undefined),
    ).toBe(false);
    expect(verify(remote('ecdsa-p256', { allowSha1: true }), 1, auth.data, undefined)).toBe(false);
  });

  it('has no counterpart for Ed25519', () => {
    expect(() => create(local('ed25519', { allowSha1: true }), undefined)).toThrow(
      'no SIGNATURE_HASH_ALGORITHMS',
    );
  });
});
