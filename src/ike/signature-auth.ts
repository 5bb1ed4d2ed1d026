import { DerTag, encodeDer } from '../crypto/der.ts';
import type { CryptoProvider, HashName, KeyType, SignatureScheme } from '../crypto/provider.ts';
import { ED25519, signsBy } from '../crypto/signature-scheme.ts';
import { concat, equalBytes, fromHex } from '../wire/bytes.ts';
import type { LocalAuthentication, RemoteAuthentication } from './config.ts';
import { AuthMethod, NotifyType, nameOf, SignatureHash } from './constants.ts';
import { LocalError } from './errors.ts';
import { type AuthPayload, type NotifyPayload, notify } from './payload/index.ts';

/** One of the signatures that Digital Signature is about. */
interface DigitalSignature {
  readonly scheme: SignatureScheme;
  /** What the verifier must have listed in SIGNATURE_HASH_ALGORITHMS. */
  readonly hash: number;
  /** The AlgorithmIdentifiers (DER) that mean it: the one that we send, and other encodings in use. */
  readonly identifiers: readonly Uint8Array[];
}

/** SHA-2: [name, hash algorithm, last octet of the OIDs (RFC 7427 A, RFC 4055 2.1): RSA, ECDSA, the hash; octets]. */
const SHA2: readonly (readonly [HashName, number, number, number, number, number])[] = [
  ['sha256', SignatureHash.SHA2_256, 0x0b, 0x02, 0x01, 32],
  ['sha384', SignatureHash.SHA2_384, 0x0c, 0x03, 0x02, 48],
  ['sha512', SignatureHash.SHA2_512, 0x0d, 0x04, 0x03, 64],
];

/** In the order in which we prefer them (RFC 8247 3.2). */
const DIGITAL_SIGNATURES: readonly DigitalSignature[] = [
  { scheme: ED25519, hash: SignatureHash.IDENTITY, identifiers: [fromHex('300506032b6570')] },
  ...SHA2.map(
    ([name, hash, , ecdsa]): DigitalSignature => ({
      scheme: { kind: 'ecdsa', hash: name, encoding: 'der' },
      hash,
      identifiers: [fromHex(`300a06082a8648ce3d0403${octet(ecdsa)}`)],
    }),
  ),
  ...SHA2.map(
    ([name, hash, , , digest, length]): DigitalSignature => ({
      scheme: { kind: 'rsa-pss', hash: name },
      hash,
      identifiers: pssIdentifiers(digest, length),
    }),
  ),
  ...SHA2.map(
    ([name, hash, rsa]): DigitalSignature => ({
      scheme: { kind: 'rsa-pkcs1', hash: name },
      hash,
      identifiers: [fromHex(`300d06092a864886f70d0101${octet(rsa)}0500`)],
    }),
  ),
];

/** Methods with one kind of key and one scheme each (RFC 7296 3.8, RFC 4754 3). */
const FIXED_METHODS: readonly {
  readonly method: number;
  readonly type: KeyType;
  readonly scheme: SignatureScheme;
}[] = [
  { method: AuthMethod.RSA_SIGNATURE, type: 'rsa', scheme: { kind: 'rsa-pkcs1', hash: 'sha1' } },
  { method: AuthMethod.ECDSA_P256, type: 'ecdsa-p256', scheme: fixedEcdsa('sha256') },
  { method: AuthMethod.ECDSA_P384, type: 'ecdsa-p384', scheme: fixedEcdsa('sha384') },
  { method: AuthMethod.ECDSA_P521, type: 'ecdsa-p521', scheme: fixedEcdsa('sha512') },
];

/** Our list, the same for everybody: a list of one's own would be a fingerprint (T9). */
const HASH_ALGORITHMS = [...SHA2.map(([, hash]) => hash), SignatureHash.IDENTITY];

/** N(SIGNATURE_HASH_ALGORITHMS) (RFC 7427 4). */
export function hashAlgorithmsNotify(): NotifyPayload {
  const data = new Uint8Array(HASH_ALGORITHMS.flatMap((hash) => [hash >> 8, hash & 255]));
  return notify(NotifyType.SIGNATURE_HASH_ALGORITHMS, data);
}

/** The hashes that a peer lists; undefined for a list with half an entry (RFC 7427 4). */
export function decodeHashAlgorithms(data: Uint8Array): ReadonlySet<number> | undefined {
  if (data.length % 2 !== 0) return undefined;
  const hashes = new Set<number>();
  for (let i = 0; i < data.length; i += 2) hashes.add((data[i] << 8) | data[i + 1]);
  return hashes;
}

/**
 * Our AUTH payload with a signature over `octets`: Digital Signature with peers that know it, an older method with others.
 * @param peerHashes - the peer's SIGNATURE_HASH_ALGORITHMS; undefined if it sent none
 * @throws LocalError if the peer cannot verify a signature of our key (RFC 7427 4)
 */
export function createSignature(
  { key, rsaPadding = 'pss', allowSha1 }: Extract<LocalAuthentication, { readonly kind: 'signature' }>,
  crypto: CryptoProvider,
  octets: Uint8Array,
  peerHashes: ReadonlySet<number> | undefined,
): AuthPayload {
  const { type } = key;
  if (peerHashes !== undefined) {
    const chosen = preferred(type).find(
      ({ scheme, hash }) => peerHashes.has(hash) && (type !== 'rsa' || scheme.kind === `rsa-${rsaPadding}`),
    );
    if (chosen === undefined) {
      const listed = [...peerHashes].map((hash) => nameOf(SignatureHash, hash)).join(', ');
      throw new LocalError(
        `the peer does not verify ${type} signatures: its SIGNATURE_HASH_ALGORITHMS are ${listed || 'none'}`,
      );
    }
    const [identifier] = chosen.identifiers;
    const signature = crypto.signatures.sign(key, chosen.scheme, octets);
    const data = concat(Uint8Array.of(identifier.length), identifier, signature);
    return { kind: 'AUTH', method: AuthMethod.DIGITAL_SIGNATURE, data };
  }
  const fixed = FIXED_METHODS.find((entry) => entry.type === type);
  if (fixed === undefined) {
    throw new LocalError(
      `the peer does not verify ${type} signatures: it sent no SIGNATURE_HASH_ALGORITHMS (RFC 7427)`,
    );
  }
  if (isSha1(fixed.scheme) && allowSha1 !== true) {
    throw new LocalError(
      'the peer sent no SIGNATURE_HASH_ALGORITHMS (RFC 7427), so that an RSA key could only sign with SHA-1, which is ' +
        'refused unless allowSha1 is set',
    );
  }
  const data = crypto.signatures.sign(key, fixed.scheme, octets);
  return { kind: 'AUTH', method: fixed.method, data };
}

/**
 * Whether an AUTH payload is a signature of the pinned key over `octets`. Never throws.
 * @param peerHashes - as for `createSignature`: a peer that knows Digital Signature has to use it, and another cannot (RFC 7427 4)
 */
export function verifySignature(
  { publicKey, allowSha1 }: Extract<RemoteAuthentication, { readonly kind: 'signature' }>,
  { method, data }: AuthPayload,
  { signatures }: CryptoProvider,
  octets: Uint8Array,
  peerHashes: ReadonlySet<number> | undefined,
): boolean {
  const type = signatures.keyTypeOf(publicKey);
  if (type === undefined) return false;
  if (peerHashes !== undefined) {
    if (method !== AuthMethod.DIGITAL_SIGNATURE || data.length === 0) return false;
    const start = 1 + data[0];
    const identifier = data.subarray(1, start);
    const meant = DIGITAL_SIGNATURES.find(({ identifiers }) =>
      identifiers.some((known) => equalBytes(known, identifier)),
    );
    return meant !== undefined && signatures.verify(meant.scheme, publicKey, octets, data.subarray(start));
  }
  const fixed = FIXED_METHODS.find((entry) => entry.method === method && entry.type === type);
  if (fixed === undefined || (isSha1(fixed.scheme) && allowSha1 !== true)) return false;
  return signatures.verify(fixed.scheme, publicKey, octets, data);
}

/** What keys of `type` sign by; ECDSA with the hash that is as strong as the curve before others. */
function preferred(type: KeyType): readonly DigitalSignature[] {
  const matching = FIXED_METHODS.find((entry) => entry.type === type)?.scheme;
  const matches = ({ scheme }: DigitalSignature) => Number(hashOf(scheme) === (matching && hashOf(matching)));
  return DIGITAL_SIGNATURES.filter(({ scheme }) => signsBy(type, scheme)).sort(
    (a, b) => matches(b) - matches(a),
  );
}

function hashOf(scheme: SignatureScheme): HashName | undefined {
  return scheme.kind === 'ed25519' ? undefined : scheme.hash;
}

function isSha1(scheme: SignatureScheme): boolean {
  return hashOf(scheme) === 'sha1';
}

function fixedEcdsa(hash: HashName): SignatureScheme {
  return { kind: 'ecdsa', hash, encoding: 'fixed' };
}

/**
 * id-RSASSA-PSS with one hash throughout and a salt of its length: as RFC 7427 A.4.3 writes it, and as DER does, without
 * the trailer field's default value; with the hash's parameters NULL, or absent (RFC 4055 2.1).
 */
function pssIdentifiers(digest: number, saltLength: number): Uint8Array[] {
  const { SEQUENCE, INTEGER, NULL } = DerTag;
  const oid = fromHex('0609608648016503040200').with(-1, digest);
  return [encodeDer(NULL), new Uint8Array(0)].flatMap((parameters) => {
    const hash = encodeDer(SEQUENCE, oid, parameters);
    const mgf1 = encodeDer(SEQUENCE, fromHex('06092a864886f70d010108'), hash);
    const salt = encodeDer(INTEGER, Uint8Array.of(saltLength));
    const fields = concat(encodeDer(0xa0, hash), encodeDer(0xa1, mgf1), encodeDer(0xa2, salt));
    const trailer = encodeDer(0xa3, encodeDer(INTEGER, Uint8Array.of(1)));
    return [concat(fields, trailer), fields].map((all) =>
      encodeDer(SEQUENCE, fromHex('06092a864886f70d01010a'), encodeDer(SEQUENCE, all)),
    );
  });
}

function octet(value: number): string {
  return value.toString(16).padStart(2, '0');
}
