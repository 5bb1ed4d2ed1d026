import { concat, equalBytes, fromHex } from '../wire/bytes.ts';
import { DerTag, encodeDer } from './der.ts';
import type { HashName, SignatureScheme } from './provider.ts';
import { ED25519 } from './signature-scheme.ts';

/** A signature scheme and the AlgorithmIdentifiers (DER) that mean it: the one that we send, and other encodings in use. */
export interface IdentifiedScheme {
  readonly scheme: SignatureScheme;
  readonly identifiers: readonly Uint8Array[];
}

/** SHA-2: [name, last octet of the OID of (RFC 7427 A, RFC 4055 2.1): RSA with it, ECDSA with it, it alone; octets]. */
const SHA2: readonly (readonly [HashName, string, string, string, number])[] = [
  ['sha256', '0b', '02', '01', 32],
  ['sha384', '0c', '03', '02', 48],
  ['sha512', '0d', '04', '03', 64],
];

/**
 * The schemes that are not weak (RFC 8247 3.2), in the order in which we prefer them. Each in its exact encoding: parameters
 * that are missing, or that have something after them, are another identifier.
 */
export const IDENTIFIED_SCHEMES: readonly IdentifiedScheme[] = [
  { scheme: ED25519, identifiers: [fromHex('300506032b6570')] },
  ...SHA2.map(
    ([hash, , ecdsa]): IdentifiedScheme => ({
      scheme: { kind: 'ecdsa', hash, encoding: 'der' },
      identifiers: [fromHex(`300a06082a8648ce3d0403${ecdsa}`)],
    }),
  ),
  ...SHA2.map(
    ([hash, , , digest, length]): IdentifiedScheme => ({
      scheme: { kind: 'rsa-pss', hash },
      identifiers: pssIdentifiers(fromHex(`06096086480165030402${digest}`), length),
    }),
  ),
  ...SHA2.map(
    ([hash, rsa]): IdentifiedScheme => ({
      scheme: { kind: 'rsa-pkcs1', hash },
      identifiers: [fromHex(`300d06092a864886f70d0101${rsa}0500`)],
    }),
  ),
];

/** The scheme that an AlgorithmIdentifier means; undefined if it is not of `IDENTIFIED_SCHEMES`. */
export function schemeOf(identifier: Uint8Array): SignatureScheme | undefined {
  return IDENTIFIED_SCHEMES.find(({ identifiers }) =>
    identifiers.some((known) => equalBytes(known, identifier)),
  )?.scheme;
}

/**
 * id-RSASSA-PSS with one hash throughout and a salt of its length: as DER has it, without the trailer field's default value, and as
 * RFC 7427 A.4.3 writes it (libreswan takes the former only); with the hash's parameters NULL, or absent (RFC 4055 2.1).
 */
function pssIdentifiers(hashOid: Uint8Array, saltLength: number): Uint8Array[] {
  const { SEQUENCE, INTEGER, NULL } = DerTag;
  return [encodeDer(NULL), new Uint8Array(0)].flatMap((parameters) => {
    const hash = encodeDer(SEQUENCE, hashOid, parameters);
    const mgf1 = encodeDer(SEQUENCE, fromHex('06092a864886f70d010108'), hash);
    const salt = encodeDer(INTEGER, Uint8Array.of(saltLength));
    const fields = concat(encodeDer(0xa0, hash), encodeDer(0xa1, mgf1), encodeDer(0xa2, salt));
    const trailer = encodeDer(0xa3, encodeDer(INTEGER, Uint8Array.of(1)));
    return [fields, concat(fields, trailer)].map((all) =>
      encodeDer(SEQUENCE, fromHex('06092a864886f70d01010a'), encodeDer(SEQUENCE, all)),
    );
  });
}
