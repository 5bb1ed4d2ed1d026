import { equalBytes, fromHex, type RandomSource } from '../wire/bytes.ts';
import { WireError } from '../wire/reader.ts';
import { DerTag, decodeDer, decodeDerSequence, derContent, encodeDer } from './der.ts';
import type { KeyType, SigningKey } from './provider.ts';
import { CURVE_KEY_TYPES, type CurveKeyType, isSecretOf, SIGNING_CURVES } from './signing-curves.ts';
import { zero } from './transforms.ts';

// PrivateKeyInfo (RFC 5208 5, RFC 5958 2) ::= SEQUENCE { version, privateKeyAlgorithm, privateKey OCTET STRING, ... }
// The octets are CurvePrivateKey (RFC 8410 7), an OCTET STRING, or ECPrivateKey (RFC 5915 3): SEQUENCE { 1, OCTET STRING, ... }

const RSA_ENCRYPTION = fromHex('300d06092a864886f70d0101010500');
const VERSION = Uint8Array.of(DerTag.INTEGER, 1, 0);
const EC_VERSION = Uint8Array.of(DerTag.INTEGER, 1, 1);

/** A private key in PKCS #8, without its public key: the one form that we keep. */
export function encodePkcs8(type: CurveKeyType, secret: Uint8Array): Uint8Array {
  const { identifier, order } = SIGNING_CURVES[type];
  const octets = encodeDer(DerTag.OCTET_STRING, secret);
  const inner = order === undefined ? octets : encodeDer(DerTag.SEQUENCE, EC_VERSION, octets);
  const der = encodeDer(DerTag.SEQUENCE, VERSION, identifier, encodeDer(DerTag.OCTET_STRING, inner));
  zero(octets, inner);
  return der;
}

/** The private key alone: our PKCS #8 ends with it. @param key - of a curve */
export function secretOf({ type, secret }: SigningKey): Uint8Array {
  return secret.subarray(-SIGNING_CURVES[type as CurveKeyType].secretLength);
}

/** A fresh private key; ECDSA by rejection sampling (FIPS 186-5 A.2.2). */
export function drawPkcs8(type: CurveKeyType, random: RandomSource): Uint8Array {
  const curve = SIGNING_CURVES[type];
  for (;;) {
    const secret = random(curve.secretLength);
    if (type === 'ecdsa-p521') secret[0] &= 1;
    if (!isSecretOf(curve, secret)) continue;
    const der = encodePkcs8(type, secret);
    zero(secret);
    return der;
  }
}

/**
 * Any PKCS #8 in the form that we keep; that of RSA keys is left as it is.
 * @throws RangeError if it is not an unencrypted private key of a type of ours
 */
export function normalisePkcs8(der: Uint8Array): { readonly type: KeyType; readonly der: Uint8Array } {
  try {
    const [version, algorithm, privateKey] = decodeDerSequence(der);
    derContent(version, DerTag.INTEGER);
    derContent(algorithm, DerTag.SEQUENCE);
    const content = derContent(privateKey, DerTag.OCTET_STRING);
    if (equalBytes(algorithm.bytes, RSA_ENCRYPTION)) return { type: 'rsa', der: der.slice() };
    for (const type of CURVE_KEY_TYPES) {
      const curve = SIGNING_CURVES[type];
      if (!equalBytes(algorithm.bytes, curve.identifier)) continue;
      const octets = curve.order === undefined ? decodeDer(content)[0] : decodeDerSequence(content)[1];
      const secret = derContent(octets, DerTag.OCTET_STRING);
      if (!isSecretOf(curve, secret)) throw new RangeError(`not a private key of type ${type}`);
      return { type, der: encodePkcs8(type, secret) };
    }
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
  }
  throw new RangeError(
    'not an unencrypted PKCS #8 private key of Ed25519, ECDSA (P-256, P-384, P-521) or RSA',
  );
}
