import { x25519 } from '@noble/curves/ed25519.js';
import { p256 } from '@noble/curves/nist.js';
import { concat } from '../wire/bytes.ts';
import { MODP_2048_PRIME } from './groups.ts';
import type { GroupArithmetic, Groups } from './key-exchange.ts';
import { modularPower } from './modular-power.ts';
import { KeyExchangeMethod } from './transforms.ts';

const modp2048: GroupArithmetic = {
  publicValue: (secret) => modularPower(Uint8Array.of(2), secret, MODP_2048_PRIME),
  agree: (secret, peerValue) => modularPower(peerValue, secret, MODP_2048_PRIME),
};

/** RFC 5903 7: values are x | y, the shared secret is x. */
const ecp256: GroupArithmetic = {
  publicValue: (secret) => p256.getPublicKey(secret, false).slice(1),
  agree: (secret, peerValue) => p256.getSharedSecret(secret, concat(Uint8Array.of(4), peerValue)).slice(1),
};

/** RFC 8031 3. noble refuses the all-zero result. */
const curve25519: GroupArithmetic = {
  publicValue: (secret) => x25519.getPublicKey(secret),
  agree: (secret, peerValue) => x25519.getSharedSecret(secret, peerValue),
};

export const nobleGroups: Groups = {
  [KeyExchangeMethod.MODP_2048]: modp2048,
  [KeyExchangeMethod.ECP_256]: ecp256,
  [KeyExchangeMethod.CURVE25519]: curve25519,
};
