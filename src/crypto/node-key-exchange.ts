import {
  createDiffieHellman,
  createECDH,
  createPrivateKey,
  createPublicKey,
  type DiffieHellman,
  diffieHellman,
  type ECDH,
  type KeyObject,
} from 'node:crypto';
import { concat, fromHex } from '../wire/bytes.ts';
import { leftPad, MODP_2048_PRIME } from './groups.ts';
import type { GroupArithmetic, Groups } from './key-exchange.ts';
import { KeyExchangeMethod, zero } from './transforms.ts';

const modp2048: GroupArithmetic = {
  publicValue: (secret) => leftPad(modpPair(secret).generateKeys(), 256),
  agree: (secret, peerValue) => leftPad(modpPair(secret).computeSecret(peerValue), 256),
};

/** OpenSSL knows this prime and does not test it again: a new object costs little. */
function modpPair(secret: Uint8Array): DiffieHellman {
  const pair = createDiffieHellman(MODP_2048_PRIME, 2);
  pair.setPrivateKey(secret);
  return pair;
}

/** RFC 5903 7: values are x | y, the shared secret is x. */
const ecp256: GroupArithmetic = {
  publicValue: (secret) => new Uint8Array(ecPair(secret).getPublicKey().subarray(1)),
  agree: (secret, peerValue) =>
    leftPad(ecPair(secret).computeSecret(concat(Uint8Array.of(4), peerValue)), 32),
};

function ecPair(secret: Uint8Array): ECDH {
  const pair = createECDH('prime256v1');
  pair.setPrivateKey(secret);
  return pair;
}

const X25519_PKCS8 = fromHex('302e020100300506032b656e04220420');
const X25519_SPKI = fromHex('302a300506032b656e032100');

/** RFC 8031 3. OpenSSL refuses the all-zero result. */
const curve25519: GroupArithmetic = {
  publicValue(secret) {
    const spki = createPublicKey(x25519Private(secret)).export({ format: 'der', type: 'spki' });
    return new Uint8Array(spki.subarray(X25519_SPKI.length));
  },
  agree(secret, peerValue) {
    const key = concat(X25519_SPKI, peerValue) as Buffer;
    const publicKey = createPublicKey({ key, format: 'der', type: 'spki' });
    return new Uint8Array(diffieHellman({ privateKey: x25519Private(secret), publicKey }));
  },
};

function x25519Private(secret: Uint8Array): KeyObject {
  const der = concat(X25519_PKCS8, secret);
  const key = createPrivateKey({ key: der as Buffer, format: 'der', type: 'pkcs8' });
  zero(der);
  return key;
}

export const nodeGroups: Groups = {
  [KeyExchangeMethod.MODP_2048]: modp2048,
  [KeyExchangeMethod.ECP_256]: ecp256,
  [KeyExchangeMethod.CURVE25519]: curve25519,
};
