import { X509Certificate } from 'node:crypto';
import { equalBytes } from '../wire/bytes.ts';
import { type CertificateFields, decodeCertificateFields } from './certificate-fields.ts';
import type { CertificateName, Certificates, CertificateVerdict } from './provider.ts';
import { schemeOf } from './signature-identifiers.ts';
import { decodeSpki } from './spki.ts';

/** A certificate as OpenSSL sees it, and what it does not show. */
interface Certificate extends CertificateFields {
  readonly x509: X509Certificate;
}

/** Certificates that are looked at, the leaf included, and those in the longest chain, the authority included. */
const MAX_CERTIFICATES = 10;
const MAX_CHAIN_LENGTH = 5;
/** Chains whose signatures are verified: an attacker can make up many that look alike. */
const MAX_TRIES = 16;

/** Key usage bits (RFC 5280 4.2.1.3). */
const DIGITAL_SIGNATURE = 0x80;
const KEY_CERT_SIGN = 0x04;

/** serverAuth, id-kp-ipsecIKE and anyExtendedKeyUsage (RFC 4945 5.1.3.12): one of them, if there is a list. */
const PURPOSES = ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.17', '2.5.29.37.0'];

/**
 * X.509 over OpenSSL: it parses, compares names and verifies signatures. Nothing is ever fetched, so that there are no
 * revocation lists, and no OCSP.
 */
export const nodeCertificates: Certificates = {
  verify(certificates, { authorities, time, name }) {
    if (certificates.length === 0) return refused('there is none');
    if (certificates.length > MAX_CERTIFICATES) return refused(`there are more than ${MAX_CERTIFICATES}`);
    const trusted = authorities
      .map(decodeAuthority)
      .filter((authority) => mayIssue(authority, time) && !authority.isBeyondUs);
    const [leaf, ...others] = certificates.map(decode);
    if (leaf === undefined) return refused('it is malformed');
    const fault = validityFault(leaf, time) ?? strengthFault(leaf) ?? leafFault(leaf, name);
    if (fault !== undefined) return refused(fault);
    const issuers = others.filter(
      (issuer) => issuer !== undefined && mayIssue(issuer, time) && strengthFault(issuer) === undefined,
    ) as readonly Certificate[];
    let tries = 0;
    for (const chain of chains([leaf], issuers, trusted)) {
      if (isSigned(chain)) return { ok: true, publicKey: leaf.publicKey.slice() };
      if (++tries === MAX_TRIES) break;
    }
    return refused('no chain leads from it to an authority');
  },
};

/**
 * The chains by name from the leaf (first) to an authority (last): no certificate twice, no longer than the limits of its
 * authorities allow.
 */
function* chains(
  chain: readonly Certificate[],
  issuers: readonly Certificate[],
  authorities: readonly Certificate[],
): Generator<readonly Certificate[]> {
  const last = chain[chain.length - 1];
  // The leaf does not count.
  const isIssuer = ({ x509, pathLength = Number.POSITIVE_INFINITY }: Certificate) =>
    pathLength >= chain.length - 1 && last.x509.checkIssued(x509);
  for (const authority of authorities.filter(isIssuer)) yield [...chain, authority];
  if (chain.length + 2 > MAX_CHAIN_LENGTH) return;
  for (const issuer of issuers.filter(isIssuer)) {
    yield* chains(
      [...chain, issuer],
      issuers.filter((other) => other !== issuer),
      authorities,
    );
  }
}

/** From the authority down, so that nobody's key is used before somebody who is trusted has certified it. */
function isSigned(chain: readonly Certificate[]): boolean {
  try {
    for (let i = chain.length - 1; i > 0; i--) {
      if (!chain[i - 1].x509.verify(chain[i].x509.publicKey)) return false;
    }
    return true;
  } catch {
    return false;
  }
}

function validityFault({ x509 }: Certificate, time: number): string | undefined {
  // A date that OpenSSL cannot read is neither before nor after.
  if (!(Date.parse(x509.validFrom) <= time)) return `it is not valid before ${x509.validFrom}`;
  if (!(time <= Date.parse(x509.validTo))) return `it expired on ${x509.validTo}`;
  return undefined;
}

/** An authority's own signature proves nothing, whatever its algorithm. */
function strengthFault({ signatureAlgorithm, publicKey, isBeyondUs }: Certificate): string | undefined {
  if (schemeOf(signatureAlgorithm) === undefined) return 'its signature algorithm is weak, or not known';
  if (decodeSpki(publicKey) === undefined) return 'its key is weak, or not of Ed25519, ECDSA or RSA';
  if (isBeyondUs) return 'it has a critical extension that is not known, or name constraints';
  return undefined;
}

function mayIssue(issuer: Certificate, time: number): boolean {
  const { x509, keyUsage = KEY_CERT_SIGN } = issuer;
  return x509.ca && (keyUsage & KEY_CERT_SIGN) !== 0 && validityFault(issuer, time) === undefined;
}

function leafFault({ x509, subject, keyUsage = DIGITAL_SIGNATURE }: Certificate, name: CertificateName) {
  if ((keyUsage & DIGITAL_SIGNATURE) === 0) return 'its key usage has no digitalSignature';
  if (x509.keyUsage !== undefined && !PURPOSES.some((purpose) => x509.keyUsage.includes(purpose))) {
    return 'its extended key usage has none of serverAuth, ipsecIKE and anyExtendedKeyUsage';
  }
  return hasName(x509, subject, name) ? undefined : 'it is not for the identity that the peer claims';
}

/** RFC 4945 3.1: names are those of subjectAltName, never the common name; no wildcards. */
function hasName(x509: X509Certificate, subject: Uint8Array, name: CertificateName): boolean {
  switch (name.kind) {
    case 'dns':
      return isPlain(name.name) && x509.checkHost(name.name, EXACT) !== undefined;
    case 'email':
      return isPlain(name.name) && x509.checkEmail(name.name, EXACT) !== undefined;
    case 'ip':
      return x509.checkIP(name.address) !== undefined;
    case 'subject':
      return equalBytes(name.der, subject);
  }
}

/** OpenSSL ignores a NUL at the end, and takes what starts with a dot for all the names below it. */
function isPlain(name: string): boolean {
  return /^[\x21-\x2d\x2f-\x7e][\x21-\x7e]*$/.test(name);
}

const EXACT = { subject: 'never', wildcards: false } as const;

function decode(der: Uint8Array): Certificate | undefined {
  try {
    return { ...decodeCertificateFields(der), x509: new X509Certificate(der) };
  } catch {
    return undefined;
  }
}

/** @throws RangeError if it is malformed */
function decodeAuthority(der: Uint8Array): Certificate {
  const authority = decode(der);
  if (authority === undefined) throw new RangeError("an authority's certificate is not X.509 in DER");
  return authority;
}

function refused(reason: string): CertificateVerdict {
  return { ok: false, reason };
}
