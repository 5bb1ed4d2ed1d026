import { type CryptoProvider, InvalidKeyExchange } from '../../src/crypto/provider.ts';
import { KeyExchangeMethod } from '../../src/crypto/transforms.ts';

/**
 * A provider whose X25519 is none: the secret is made of both public values, which takes a thousandth of the time. What a
 * datagram does to an IKE SA does not depend on who else could know its keys.
 */
export function standInX25519(inner: CryptoProvider): CryptoProvider {
  return {
    ...inner,
    keyExchange(method) {
      if (method !== KeyExchangeMethod.CURVE25519) return inner.keyExchange(method);
      const publicValue = inner.random(32);
      return {
        method,
        publicValue,
        agree: (peerValue) => mixed(publicValue, peerValue),
        destroy() {},
      };
    },
    answerKeyExchange(method, initiatorValue) {
      if (method !== KeyExchangeMethod.CURVE25519) return inner.answerKeyExchange(method, initiatorValue);
      const publicValue = inner.random(32);
      return { publicValue, sharedSecret: mixed(publicValue, initiatorValue) };
    },
  };
}

function mixed(own: Uint8Array, peers: Uint8Array): Uint8Array {
  if (peers.length !== own.length) throw new InvalidKeyExchange(`not ${own.length} octets`);
  return own.map((octet, i) => octet ^ peers[i]);
}
