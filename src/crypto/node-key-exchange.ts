import { createDiffieHellman, createECDH, createPrivateKey, diffieHellman } from 'node:crypto';
import { concat, fromHex } from '../wire/bytes.ts';
import { leftPad, MODP_2048_PRIME } from './groups.ts';
import type { Groups, KeyPair } from './key-exchange.ts';
import { publicKeyFrom, publicValueOf } from './node-public-key.ts';
import { KeyExchangeMethod, zero } from './transforms.ts';

/** OpenSSL knows this prime and does not test it again. */
function modp2048(secret: Uint8Array): KeyPair {
  const pair = createDiffieHellman(MODP_2048_PRIME, 2);
  pair.setPrivateKey(secret);
  return {
    publicValue: leftPad(pair.generateKeys(), MODP_2048_PRIME.length),
    agree: (peerValue) => leftPad(pair.computeSecret(peerValue), MODP_2048_PRIME.length),
  };
}

/** RFC 5903 7: values are x | y, the shared secret is x. */
function ecp256(secret: Uint8Array): KeyPair {
  const pair = createECDH('prime256v1');
  pair.setPrivateKey(secret);
  return {
    publicValue: new Uint8Array(pair.getPublicKey().subarray(1)),
    agree: (peerValue) => leftPad(pair.computeSecret(concat(Uint8Array.of(4), peerValue)), 32),
  };
}

/** PKCS #8 ahead of the 32-octet secret (RFC 8410 7). */
const X25519_PKCS8 = fromHex('302e020100300506032b656e04220420');

/** RFC 8031 3. OpenSSL refuses the all-zero result. */
function curve25519(secret: Uint8Array): KeyPair {
  const der = concat(X25519_PKCS8, secret);
  const privateKey = createPrivateKey({ key: der as Buffer, format: 'der', type: 'pkcs8' });
  zero(der);
  return {
    publicValue: publicValueOf(privateKey),
    agree(peerValue) {
      const publicKey = publicKeyFrom('X25519', peerValue);
      return new Uint8Array(diffieHellman({ privateKey, publicKey }));
    },
  };
}

export const nodeGroups: Groups = {
  [KeyExchangeMethod.MODP_2048]: modp2048,
  [KeyExchangeMethod.ECP_256]: ecp256,
  [KeyExchangeMethod.CURVE25519]: curve25519,
};
