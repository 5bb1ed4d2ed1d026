import type { RandomSource } from '../wire/bytes.ts';
import {
  coordinateLength,
  drawEcpScalar,
  drawModpExponent,
  type EcpCurve,
  isModpValue,
  MODP_2048,
  MODP_3072,
  MODP_4096,
  type ModpGroup,
} from './groups.ts';
import {
  InvalidKeyExchange,
  type KeyExchange,
  type KeyExchangeAnswer,
  UnsupportedAlgorithm,
} from './provider.ts';
import { KeyExchangeMethod, zero } from './transforms.ts';

/** What a provider computes with one secret. Values have the method's length; what `agree` throws refuses the peer's value. */
export type KeyPair = Pick<KeyExchange, 'publicValue' | 'agree'>;

/** Draws a secret of the method, which stays the caller's: it is overwritten when the key exchange is over. */
export type RandomSecret = () => Uint8Array;

/** A key encapsulation mechanism. */
export interface Kem {
  /** The key pair of a seed, d | z (FIPS 203 7.1). `agree` decapsulates. */
  keyPair(draw: RandomSecret): KeyPair;
  /** What it throws refuses the encapsulation key (FIPS 203 7.2). */
  encapsulate(encapsulationKey: Uint8Array, random: RandomSource): KeyExchangeAnswer;
}

/** A provider's key exchanges; each kind has all of its methods. */
export interface KeyExchanges {
  modp(group: ModpGroup, draw: RandomSecret): KeyPair;
  /** Values are x | y, the shared secret is x (RFC 5903 7). Refuses points that are not on the curve (RFC 6989 2.3). */
  ecp(curve: EcpCurve, draw: RandomSecret): KeyPair;
  /** Refuses values that give zero (RFC 7748 6.1). */
  curve25519(draw: RandomSecret): KeyPair;
  mlKem(name: MlKem): Kem;
}

export type MlKem = 'ML-KEM-512' | 'ML-KEM-768' | 'ML-KEM-1024';

interface Method {
  readonly name: string;
  /** RFC 7296 3.4: a KE payload's data has the length that its method fixes. Octets. */
  readonly initiatorLength: number;
  readonly responderLength: number;
  draw(random: RandomSource): Uint8Array;
  keyPair(provider: KeyExchanges, draw: RandomSecret): KeyPair;
  /** A test of the peer's value that providers do not make. */
  accepts?(peerValue: Uint8Array): boolean;
  /** Absent where the responder does what the initiator does. */
  encapsulate?(provider: KeyExchanges, key: Uint8Array, random: RandomSource): KeyExchangeAnswer;
}

const METHODS: Readonly<Record<number, Method>> = {
  [KeyExchangeMethod.MODP_2048]: modp('MODP-2048', MODP_2048),
  [KeyExchangeMethod.MODP_3072]: modp('MODP-3072', MODP_3072),
  [KeyExchangeMethod.MODP_4096]: modp('MODP-4096', MODP_4096),
  [KeyExchangeMethod.ECP_256]: ecp('P-256'),
  [KeyExchangeMethod.ECP_384]: ecp('P-384'),
  [KeyExchangeMethod.ECP_521]: ecp('P-521'),
  [KeyExchangeMethod.CURVE25519]: {
    name: 'X25519',
    initiatorLength: 32,
    responderLength: 32,
    draw: (random) => random(32),
    keyPair: (provider, draw) => provider.curve25519(draw),
  },
  // draft-ietf-ipsecme-ikev2-mlkem; lengths: FIPS 203 8, table 3.
  [KeyExchangeMethod.ML_KEM_512]: mlKem('ML-KEM-512', 800, 768),
  [KeyExchangeMethod.ML_KEM_768]: mlKem('ML-KEM-768', 1184, 1088),
  [KeyExchangeMethod.ML_KEM_1024]: mlKem('ML-KEM-1024', 1568, 1568),
};

function modp(name: string, group: ModpGroup): Method {
  const { length } = group.prime;
  return {
    name,
    initiatorLength: length,
    responderLength: length,
    draw: (random) => drawModpExponent(group, random),
    keyPair: (provider, draw) => provider.modp(group, draw),
    accepts: (value) => isModpValue(group, value),
  };
}

function ecp(curve: EcpCurve): Method {
  const length = 2 * coordinateLength(curve);
  return {
    name: curve,
    initiatorLength: length,
    responderLength: length,
    draw: (random) => drawEcpScalar(curve, random),
    keyPair: (provider, draw) => provider.ecp(curve, draw),
  };
}

function mlKem(name: MlKem, initiatorLength: number, responderLength: number): Method {
  return {
    name,
    initiatorLength,
    responderLength,
    draw: (random) => random(64),
    keyPair: (provider, draw) => provider.mlKem(name).keyPair(draw),
    encapsulate: (provider, key, random) => provider.mlKem(name).encapsulate(key, random),
  };
}

/** A fresh key pair of `method`. @throws UnsupportedAlgorithm */
export function startKeyExchange(method: number, provider: KeyExchanges, random: RandomSource): KeyExchange {
  const known = methodOf(method);
  const secrets: Uint8Array[] = [];
  const { publicValue, ...own } = known.keyPair(provider, drawing(known, random, secrets));
  let pair: Pick<KeyPair, 'agree'> | undefined = own;
  return {
    method,
    publicValue,
    agree(responderValue) {
      if (pair === undefined) throw new Error('this key exchange was destroyed');
      const { agree } = pair;
      return checked(known, responderValue, known.responderLength, () => agree(responderValue));
    },
    destroy() {
      pair = undefined;
      zero(...secrets);
    },
  };
}

/** Our answer to the initiator's value. @throws UnsupportedAlgorithm, InvalidKeyExchange */
export function answerKeyExchange(
  method: number,
  provider: KeyExchanges,
  random: RandomSource,
  initiatorValue: Uint8Array,
): KeyExchangeAnswer {
  const known = methodOf(method);
  return checked(known, initiatorValue, known.initiatorLength, () => {
    if (known.encapsulate !== undefined) return known.encapsulate(provider, initiatorValue, random);
    const secrets: Uint8Array[] = [];
    try {
      const { publicValue, agree } = known.keyPair(provider, drawing(known, random, secrets));
      return { publicValue, sharedSecret: agree(initiatorValue) };
    } finally {
      zero(...secrets);
    }
  });
}

/** Keeps what it draws in `secrets`. */
function drawing({ draw }: Method, random: RandomSource, secrets: Uint8Array[]): RandomSecret {
  return () => {
    const secret = draw(random);
    secrets.push(secret);
    return secret;
  };
}

function methodOf(method: number): Method {
  const known = METHODS[method];
  if (known === undefined) throw new UnsupportedAlgorithm(`key exchange method ${method} is not supported`);
  return known;
}

/** @throws InvalidKeyExchange */
function checked<T>({ name, accepts }: Method, value: Uint8Array, length: number, use: () => T): T {
  if (value.length !== length) {
    throw new InvalidKeyExchange(`a value of ${name} has ${length} octets, the peer's has ${value.length}`);
  }
  if (accepts?.(value) === false) throw refused(name);
  try {
    return use();
  } catch (cause) {
    throw refused(name, cause);
  }
}

function refused(name: string, cause?: unknown): InvalidKeyExchange {
  return new InvalidKeyExchange(`the peer's ${name} value is out of range or not on the curve`, { cause });
}
