import {
  createDiffieHellman,
  createECDH,
  createPrivateKey,
  diffieHellman,
  generateKeyPairSync,
  type JsonWebKey,
  type KeyObject,
} from 'node:crypto';
import { concat, fromHex } from '../wire/bytes.ts';
import { leftPad, MODP_2048_PRIME } from './groups.ts';
import type { Groups, KeyPair, RandomSecret } from './key-exchange.ts';
import { publicKeyFrom, publicValueOf, valueOfJwk } from './node-public-key.ts';
import { KeyExchangeMethod, zero } from './transforms.ts';

/** OpenSSL knows this prime and does not test it again. */
function modp2048(draw: RandomSecret): KeyPair {
  const pair = createDiffieHellman(MODP_2048_PRIME, 2);
  pair.setPrivateKey(draw());
  return {
    publicValue: leftPad(pair.generateKeys(), MODP_2048_PRIME.length),
    agree: (peerValue) => leftPad(pair.computeSecret(peerValue), MODP_2048_PRIME.length),
  };
}

/** RFC 5903 7: values are x | y, the shared secret is x. */
function ecp256(draw: RandomSecret): KeyPair {
  const pair = createECDH('prime256v1');
  pair.setPrivateKey(draw());
  return {
    publicValue: new Uint8Array(pair.getPublicKey().subarray(1)),
    agree: (peerValue) => leftPad(pair.computeSecret(concat(Uint8Array.of(4), peerValue)), 32),
  };
}

/** PKCS #8 ahead of the 32-octet secret (RFC 8410 7). */
const X25519_PKCS8 = fromHex('302e020100300506032b656e04220420');

/** RFC 8031 3. OpenSSL refuses the all-zero result. */
function curve25519(privateKey: KeyObject, publicValue: Uint8Array): KeyPair {
  return {
    publicValue,
    agree(peerValue) {
      const publicKey = publicKeyFrom('X25519', peerValue);
      return new Uint8Array(diffieHellman({ privateKey, publicKey }));
    },
  };
}

function curve25519Of(secret: Uint8Array): KeyPair {
  const der = concat(X25519_PKCS8, secret);
  const privateKey = createPrivateKey({ key: der as Buffer, format: 'der', type: 'pkcs8' });
  zero(der);
  return curve25519(privateKey, publicValueOf(privateKey));
}

/**
 * The public key is encoded while it is generated: to export a generated key afterwards can hang Node 20 for ever, when its
 * garbage collector, in the middle of that, finds the job that made the key and waits for the same lock.
 */
const WITH_JSON_WEB_KEY = { publicKeyEncoding: { format: 'jwk' } };

function generatedCurve25519(): KeyPair {
  // Node types the encodings as all or none.
  const pair: { readonly privateKey: KeyObject; readonly publicKey: unknown } = generateKeyPairSync(
    'x25519',
    WITH_JSON_WEB_KEY,
  );
  return curve25519(pair.privateKey, valueOfJwk(pair.publicKey as JsonWebKey));
}

/** Key pairs of the secrets that are drawn. */
export const nodeGroups: Groups = {
  [KeyExchangeMethod.MODP_2048]: modp2048,
  [KeyExchangeMethod.ECP_256]: ecp256,
  [KeyExchangeMethod.CURVE25519]: (draw) => curve25519Of(draw()),
};

/** The same, but with OpenSSL's own randomness where to import a secret takes it ten times as long as to make one. */
export const systemGroups: Groups = { ...nodeGroups, [KeyExchangeMethod.CURVE25519]: generatedCurve25519 };
