import type { RandomSource } from '../wire/bytes.ts';
import { drawModpExponent, drawP256Scalar, isModpValue } from './groups.ts';
import { InvalidKeyExchange, type KeyExchange, UnsupportedAlgorithm } from './provider.ts';
import { KeyExchangeMethod, zero } from './transforms.ts';

/** What a provider computes with one secret. Values have the method's length; what `agree` throws refuses the peer's value. */
export type KeyPair = Pick<KeyExchange, 'publicValue' | 'agree'>;

/** Draws a secret of the method, which stays the caller's: it is overwritten when the key exchange is over. */
export type RandomSecret = () => Uint8Array;

/** By key exchange method: makes a key pair of a secret that it draws. */
export type Groups = Readonly<Record<number, (draw: RandomSecret) => KeyPair>>;

/** RFC 7296 3.4: the length of a KE payload's data tells nothing else than what the method fixes. */
const GROUPS: Readonly<
  Record<
    number,
    {
      readonly name: string;
      readonly valueLength: number;
      draw(random: RandomSource): Uint8Array;
      accepts(peerValue: Uint8Array): boolean;
    }
  >
> = {
  [KeyExchangeMethod.MODP_2048]: {
    name: 'MODP-2048',
    valueLength: 256,
    draw: drawModpExponent,
    accepts: isModpValue,
  },
  // Both providers test that the point is on the curve (RFC 6989 2.3), and that X25519 does not give zero (RFC 7748 6.1).
  [KeyExchangeMethod.ECP_256]: {
    name: 'P-256',
    valueLength: 64,
    draw: drawP256Scalar,
    accepts: () => true,
  },
  [KeyExchangeMethod.CURVE25519]: {
    name: 'X25519',
    valueLength: 32,
    draw: (random) => random(32),
    accepts: () => true,
  },
};

/** A fresh key pair of `method`. @throws UnsupportedAlgorithm */
export function startKeyExchange(method: number, groups: Groups, random: RandomSource): KeyExchange {
  const group = GROUPS[method];
  if (group === undefined) throw new UnsupportedAlgorithm(`key exchange method ${method} is not supported`);
  const secrets: Uint8Array[] = [];
  const { publicValue, ...own } = groups[method](() => {
    const secret = group.draw(random);
    secrets.push(secret);
    return secret;
  });
  let pair: Pick<KeyPair, 'agree'> | undefined = own;
  return {
    method,
    publicValue,
    agree(peerValue) {
      if (pair === undefined) throw new Error('this key exchange was destroyed');
      if (peerValue.length !== group.valueLength) {
        throw new InvalidKeyExchange(
          `a ${group.name} value has ${group.valueLength} octets, the peer's has ${peerValue.length}`,
        );
      }
      if (!group.accepts(peerValue)) throw refused(group.name);
      try {
        return pair.agree(peerValue);
      } catch (cause) {
        throw refused(group.name, cause);
      }
    },
    destroy() {
      pair = undefined;
      zero(...secrets);
    },
  };
}

function refused(group: string, cause?: unknown): InvalidKeyExchange {
  return new InvalidKeyExchange(`the peer's ${group} value is out of range or not on the curve`, { cause });
}
