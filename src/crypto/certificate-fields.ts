import { hex } from '../wire/bytes.ts';
import { WireError } from '../wire/reader.ts';
import { type DerElement, DerTag, decodeDer, decodeDerSequence, derContent } from './der.ts';

// RFC 5280 4.1: Certificate ::= SEQUENCE { TBSCertificate, signatureAlgorithm, signature }
// TBSCertificate ::= SEQUENCE { [0] version, serial, signature, issuer, validity, subject, SPKI, ..., [3] extensions }

/** What a certificate says of itself; nothing of it is verified. The octets are views. */
export interface CertificateFields {
  /** The signature's AlgorithmIdentifier, DER. */
  readonly signatureAlgorithm: Uint8Array;
  /** The subject's Name, DER. */
  readonly subject: Uint8Array;
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKey: Uint8Array;
  /** How many CA certificates may be between this one and the leaf; undefined: any number. */
  readonly pathLength: number | undefined;
  /** First octet of the bits of the key usage extension (RFC 5280 4.2.1.3); undefined if there is none. */
  readonly keyUsage: number | undefined;
  /** It has an extension that we would have to understand and do not, such as name constraints. */
  readonly isBeyondUs: boolean;
}

/** Octets of the longest certificate that is looked at. */
const MAX_LENGTH = 16_384;
const EXTENSIONS = 0xa3;
/** OIDs (RFC 5280 4.2.1), in hex: those that are checked here, and by OpenSSL. */
const BASIC_CONSTRAINTS = '551d13';
const KEY_USAGE = '551d0f';
const NAME_CONSTRAINTS = '551d1e';
const UNDERSTOOD = [BASIC_CONSTRAINTS, KEY_USAGE, /* extKeyUsage */ '551d25', /* subjectAltName */ '551d11'];

/**
 * What node:crypto does not say of a certificate.
 * @throws WireError if `der` is not one certificate, in DER, with every extension at most once
 */
export function decodeCertificateFields(der: Uint8Array): CertificateFields {
  if (der.length > MAX_LENGTH) throw new WireError(`a certificate of ${der.length} octets`);
  const [body, signatureAlgorithm, signature, ...more] = decodeDerSequence(der);
  derContent(signatureAlgorithm, DerTag.SEQUENCE);
  derContent(signature, DerTag.BIT_STRING);
  const [version, , , , , subject, publicKey, ...rest] = decodeDer(derContent(body, DerTag.SEQUENCE));
  // Only version 3 has extensions, and only with them does a certificate say what it may be used for.
  if (more.length > 0 || hex(derContent(version, 0xa0)) !== '020102')
    throw new WireError('not a certificate');
  derContent(subject, DerTag.SEQUENCE);
  derContent(publicKey, DerTag.SEQUENCE);
  const extensions = decodeExtensions(rest.find(({ tag }) => tag === EXTENSIONS));
  const isBeyondUs = [...extensions].some(
    ([oid, { critical }]) => (critical && !UNDERSTOOD.includes(oid)) || oid === NAME_CONSTRAINTS,
  );
  return {
    signatureAlgorithm: signatureAlgorithm.bytes,
    subject: subject.bytes,
    publicKey: publicKey.bytes,
    pathLength: pathLength(extensions.get(BASIC_CONSTRAINTS)?.value),
    keyUsage: keyUsage(extensions.get(KEY_USAGE)?.value),
    isBeyondUs,
  };
}

interface Extension {
  readonly critical: boolean;
  readonly value: Uint8Array;
}

/** By the OID's hex. @throws WireError */
function decodeExtensions(element: DerElement | undefined): ReadonlyMap<string, Extension> {
  const extensions = new Map<string, Extension>();
  if (element === undefined) return extensions;
  for (const extension of decodeDerSequence(element.content)) {
    const [id, ...rest] = decodeDer(derContent(extension, DerTag.SEQUENCE));
    const oid = hex(derContent(id, DerTag.OID));
    if (extensions.has(oid)) throw new WireError('a certificate with an extension twice');
    const critical = rest.length === 2 && derContent(rest[0], DerTag.BOOLEAN)[0] !== 0;
    extensions.set(oid, { critical, value: derContent(rest[rest.length - 1], DerTag.OCTET_STRING) });
  }
  return extensions;
}

/** BasicConstraints ::= SEQUENCE { cA BOOLEAN DEFAULT FALSE, pathLenConstraint INTEGER OPTIONAL } @throws WireError */
function pathLength(value: Uint8Array | undefined): number | undefined {
  const limit = value && decodeDerSequence(value).find(({ tag }) => tag === DerTag.INTEGER);
  if (limit === undefined) return undefined;
  if (limit.content.length !== 1 || limit.content[0] > 0x7f)
    throw new WireError('a path length that cannot be');
  return limit.content[0];
}

/** KeyUsage ::= BIT STRING @throws WireError */
function keyUsage(value: Uint8Array | undefined): number | undefined {
  if (value === undefined) return undefined;
  return derContent(decodeDer(value)[0], DerTag.BIT_STRING)[1] ?? 0;
}
