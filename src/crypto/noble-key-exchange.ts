import { x25519 } from '@noble/curves/ed25519.js';
import { p256, p384, p521 } from '@noble/curves/nist.js';
import { ml_kem512, ml_kem768, ml_kem1024 } from '@noble/post-quantum/ml-kem.js';
import { concat } from '../wire/bytes.ts';
import { coordinateLength } from './groups.ts';
import type { KeyExchanges } from './key-exchange.ts';
import { modularPower } from './modular-power.ts';

const CURVES = { 'P-256': p256, 'P-384': p384, 'P-521': p521 };
const KEMS = { 'ML-KEM-512': ml_kem512, 'ML-KEM-768': ml_kem768, 'ML-KEM-1024': ml_kem1024 };

/** noble itself refuses points off the curve, an X25519 result of zero, and what FIPS 203 7.2 and 7.3 refuse. */
export const nobleKeyExchanges: KeyExchanges = {
  modp({ prime }, draw) {
    const exponent = draw();
    return {
      publicValue: modularPower(Uint8Array.of(2), exponent, prime),
      agree: (peerValue) => modularPower(peerValue, exponent, prime),
    };
  },
  ecp(curve, draw) {
    const scalar = draw();
    const { getPublicKey, getSharedSecret } = CURVES[curve];
    const length = coordinateLength(curve);
    return {
      publicValue: getPublicKey(scalar, false).slice(1),
      agree: (peerValue) => getSharedSecret(scalar, concat(Uint8Array.of(4), peerValue)).slice(1, 1 + length),
    };
  },
  curve25519(draw) {
    const secret = draw();
    return {
      publicValue: x25519.getPublicKey(secret),
      agree: (peerValue) => x25519.getSharedSecret(secret, peerValue),
    };
  },
  mlKem(name) {
    const kem = KEMS[name];
    return {
      keyPair(draw) {
        const { publicKey, secretKey } = kem.keygen(draw());
        return { publicValue: publicKey, agree: (ciphertext) => kem.decapsulate(ciphertext, secretKey) };
      },
      encapsulate(key, random) {
        const { cipherText, sharedSecret } = kem.encapsulate(key, random(32));
        return { publicValue: cipherText, sharedSecret };
      },
    };
  },
};
