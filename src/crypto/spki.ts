import { concat, equalBytes, fromHex } from '../wire/bytes.ts';
import { WireError } from '../wire/reader.ts';
import { DerTag, decodeDerSequence, derContent, encodeDer, positiveInteger } from './der.ts';
import { CURVE_KEY_TYPES, type CurveKeyType, SIGNING_CURVES } from './signing-curves.ts';

// SubjectPublicKeyInfo (RFC 5280 4.1.2.7) ::= SEQUENCE { algorithm, subjectPublicKey BIT STRING }. The bits are the key
// itself (RFC 8410 4), an uncompressed point (RFC 5480 2.2), or RSAPublicKey (RFC 8017 A.1.1) ::= SEQUENCE { n, e }.

/** A public key. */
export type PublicKey =
  /** Ed25519: 32 octets; ECDSA: x | y. Whether that is a point of the curve is not known. */
  | { readonly type: CurveKeyType; readonly value: Uint8Array }
  /** Big-endian, without leading zeros. */
  | { readonly type: 'rsa'; readonly modulus: Uint8Array; readonly exponent: Uint8Array };

const RSA_ENCRYPTION = fromHex('300d06092a864886f70d0101010500');
/** No unused bits (X.690 8.6.2). */
const WHOLE_OCTETS = Uint8Array.of(0);
/** Likewise, and an uncompressed point follows. */
const POINT = Uint8Array.of(0, 4);

/** Bits of the RSA keys that we take: shorter ones are weak (RFC 8247 3.2), longer ones only cost time. */
const MODULUS_BITS = { least: 2048, most: 8192 } as const;
/** Octets of their public exponents, which no others in use exceed. */
const MAX_EXPONENT_LENGTH = 4;

/** @param value - as in `PublicKey` */
export function encodeSpki(type: CurveKeyType, value: Uint8Array): Uint8Array {
  return encodeDer(DerTag.SEQUENCE, SIGNING_CURVES[type].identifier, bits(type, value));
}

/** The key; undefined for any other octets, for keys of other types, and for RSA keys that are weak or out of proportion. */
export function decodeSpki(spki: Uint8Array): PublicKey | undefined {
  for (const type of CURVE_KEY_TYPES) {
    const { secretLength, order } = SIGNING_CURVES[type];
    const value = spki.subarray(order === undefined ? -secretLength : -2 * secretLength);
    if (equalBytes(spki, encodeSpki(type, value))) return { type, value };
  }
  try {
    return decodeRsa(spki);
  } catch (error) {
    if (error instanceof WireError) return undefined;
    throw error;
  }
}

function bits(type: CurveKeyType, value: Uint8Array): Uint8Array {
  const head = SIGNING_CURVES[type].order === undefined ? WHOLE_OCTETS : POINT;
  return encodeDer(DerTag.BIT_STRING, concat(head, value));
}

/** @throws WireError */
function decodeRsa(spki: Uint8Array): PublicKey | undefined {
  const [algorithm, key, ...more] = decodeDerSequence(spki);
  const content = derContent(key, DerTag.BIT_STRING);
  if (more.length > 0 || content[0] !== 0 || !equalBytes(algorithm.bytes, RSA_ENCRYPTION)) return undefined;
  const numbers = decodeDerSequence(content.subarray(1));
  if (numbers.length !== 2) return undefined;
  const [modulus, exponent] = numbers.map(positiveInteger);
  const modulusBits = modulus.length * 8 - (Math.clz32(modulus[0]) - 24);
  if (modulusBits < MODULUS_BITS.least || modulusBits > MODULUS_BITS.most) return undefined;
  const isOdd = (number: Uint8Array) => number[number.length - 1] % 2 === 1;
  const isOne = exponent.length === 1 && exponent[0] === 1;
  if (!isOdd(modulus) || !isOdd(exponent) || isOne || exponent.length > MAX_EXPONENT_LENGTH) return undefined;
  return { type: 'rsa', modulus, exponent };
}
