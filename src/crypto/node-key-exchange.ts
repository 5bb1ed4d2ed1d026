import {
  createECDH,
  createPrivateKey,
  diffieHellman,
  generateKeyPairSync,
  type JsonWebKey,
  type KeyObject,
} from 'node:crypto';
import { concat, fromHex } from '../wire/bytes.ts';
import { coordinateLength, leftPad } from './groups.ts';
import type { KeyExchanges, KeyPair } from './key-exchange.ts';
import { nobleKeyExchanges } from './noble-key-exchange.ts';
import { nodeMlKem } from './node-ml-kem.ts';
import { nodeModp } from './node-modp.ts';
import { publicKeyFrom, publicValueOf, valueOfJwk } from './node-public-key.ts';
import { zero } from './transforms.ts';

const CURVES = { 'P-256': 'prime256v1', 'P-384': 'secp384r1', 'P-521': 'secp521r1' };

/** PKCS #8 ahead of the 32-octet secret (RFC 8410 7). */
const X25519_PKCS8 = fromHex('302e020100300506032b656e04220420');

/**
 * Key pairs of the secrets that are drawn. OpenSSL itself refuses points off the curve, an X25519 result of zero, and what
 * FIPS 203 7.2 and 7.3 refuse.
 */
export const nodeKeyExchanges: KeyExchanges = {
  modp: nodeModp,
  ecp(curve, draw) {
    const pair = createECDH(CURVES[curve]);
    pair.setPrivateKey(draw());
    return {
      publicValue: new Uint8Array(pair.getPublicKey().subarray(1)),
      agree: (peerValue) =>
        leftPad(pair.computeSecret(concat(Uint8Array.of(4), peerValue)), coordinateLength(curve)),
    };
  },
  curve25519(draw) {
    const der = concat(X25519_PKCS8, draw());
    const privateKey = createPrivateKey({ key: der as Buffer, format: 'der', type: 'pkcs8' });
    zero(der);
    return curve25519(privateKey, publicValueOf(privateKey));
  },
  mlKem: (name) => nodeMlKem?.(name) ?? nobleKeyExchanges.mlKem(name),
};

/**
 * The public key is encoded while it is generated: to export a generated key afterwards can hang Node 20 for ever, when its
 * garbage collector, in the middle of that, finds the job that made the key and waits for the same lock.
 */
const WITH_JSON_WEB_KEY = { publicKeyEncoding: { format: 'jwk' } };

/** The same, but with OpenSSL's own randomness where to import a secret takes it ten times as long as to make one. */
export const systemKeyExchanges: KeyExchanges = {
  ...nodeKeyExchanges,
  curve25519() {
    // Node types the encodings as all or none.
    const pair: { readonly privateKey: KeyObject; readonly publicKey: unknown } = generateKeyPairSync(
      'x25519',
      WITH_JSON_WEB_KEY,
    );
    return curve25519(pair.privateKey, valueOfJwk(pair.publicKey as JsonWebKey));
  },
};

function curve25519(privateKey: KeyObject, publicValue: Uint8Array): KeyPair {
  return {
    publicValue,
    agree(peerValue) {
      const publicKey = publicKeyFrom('X25519', peerValue);
      return new Uint8Array(diffieHellman({ privateKey, publicKey }));
    },
  };
}
