import { x25519 } from '@noble/curves/ed25519.js';
import { p256 } from '@noble/curves/nist.js';
import { concat } from '../wire/bytes.ts';
import { MODP_2048_PRIME } from './groups.ts';
import type { Groups, KeyPair, RandomSecret } from './key-exchange.ts';
import { modularPower } from './modular-power.ts';
import { KeyExchangeMethod } from './transforms.ts';

function modp2048(draw: RandomSecret): KeyPair {
  const secret = draw();
  return {
    publicValue: modularPower(Uint8Array.of(2), secret, MODP_2048_PRIME),
    agree: (peerValue) => modularPower(peerValue, secret, MODP_2048_PRIME),
  };
}

/** RFC 5903 7: values are x | y, the shared secret is x. */
function ecp256(draw: RandomSecret): KeyPair {
  const secret = draw();
  return {
    publicValue: p256.getPublicKey(secret, false).slice(1),
    agree: (peerValue) => p256.getSharedSecret(secret, concat(Uint8Array.of(4), peerValue)).slice(1),
  };
}

/** RFC 8031 3. noble refuses the all-zero result. */
function curve25519(draw: RandomSecret): KeyPair {
  const secret = draw();
  return {
    publicValue: x25519.getPublicKey(secret),
    agree: (peerValue) => x25519.getSharedSecret(secret, peerValue),
  };
}

export const nobleGroups: Groups = {
  [KeyExchangeMethod.MODP_2048]: modp2048,
  [KeyExchangeMethod.ECP_256]: ecp256,
  [KeyExchangeMethod.CURVE25519]: curve25519,
};
