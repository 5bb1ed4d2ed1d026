import type { CryptoProvider, HashName, KeyType, SignatureScheme } from '../crypto/provider.ts';
import { IDENTIFIED_SCHEMES, type IdentifiedScheme, schemeOf } from '../crypto/signature-identifiers.ts';
import { signsBy } from '../crypto/signature-scheme.ts';
import { concat, equalBytes } from '../wire/bytes.ts';
import type { Announcement } from './announced-methods.ts';
import type { LocalAuthentication, RemoteAuthentication } from './config.ts';
import { AuthMethod, NotifyType, nameOf, SignatureHash } from './constants.ts';
import { LocalError } from './errors.ts';
import { type AuthPayload, type NotifyPayload, notify } from './payload/index.ts';

type SignatureAuthentication = Extract<LocalAuthentication, { readonly kind: 'signature' }>;

/** What a peer says that it can verify. */
export interface PeerAbilities {
  /** Its SIGNATURE_HASH_ALGORITHMS; undefined if it sent none. */
  readonly peerHashes: ReadonlySet<number> | undefined;
  /** Its SUPPORTED_AUTH_METHODS; undefined if it sent none. */
  readonly peerMethods?: readonly Announcement[] | undefined;
}

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
const HASH_ALGORITHMS = [
  SignatureHash.SHA2_256,
  SignatureHash.SHA2_384,
  SignatureHash.SHA2_512,
  SignatureHash.IDENTITY,
];

/** What SIGNATURE_HASH_ALGORITHMS calls the hashes. */
const HASH_NUMBERS: Readonly<Record<HashName, number>> = {
  sha1: SignatureHash.SHA1,
  sha256: SignatureHash.SHA2_256,
  sha384: SignatureHash.SHA2_384,
  sha512: SignatureHash.SHA2_512,
};

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

/** How a key signs for a peer: the method of the AUTH payload, with its AlgorithmIdentifier if the method has one. */
interface SignatureChoice {
  readonly method: number;
  readonly scheme: SignatureScheme;
  readonly identifier?: Uint8Array;
}

/**
 * Digital Signature with peers that know it, an older method with others.
 * @param peer - what it says that it verifies
 * @throws LocalError if the peer cannot verify a signature of our key (RFC 7427 4)
 */
export function chooseSignature(
  { key, rsaPadding = 'pss', allowSha1 }: SignatureAuthentication,
  { peerHashes, peerMethods }: PeerAbilities,
): SignatureChoice {
  const { type } = key;
  if (peerHashes !== undefined) {
    const usable = preferred(type).filter(({ scheme }) => peerHashes.has(hashNumber(scheme)));
    const announced = (known: Uint8Array) =>
      peerMethods?.some(({ identifier }) => identifier !== undefined && equalBytes(identifier, known));
    const chosen =
      usable.find(({ identifiers }) => identifiers.some(announced)) ??
      usable.find(({ scheme }) => type !== 'rsa' || scheme.kind === `rsa-${rsaPadding}`);
    if (chosen === undefined) {
      const listed = [...peerHashes].map((hash) => nameOf(SignatureHash, hash)).join(', ');
      throw new LocalError(
        `the peer does not verify ${type} signatures: its SIGNATURE_HASH_ALGORITHMS are ${listed || 'none'}`,
      );
    }
    const { scheme, identifiers } = chosen;
    const identifier = identifiers.find(announced) ?? identifiers[0];
    return { method: AuthMethod.DIGITAL_SIGNATURE, scheme, identifier };
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
  return fixed;
}

/** Our AUTH payload with a signature over `octets`. @throws LocalError as `chooseSignature` does */
export function createSignature(
  local: SignatureAuthentication,
  crypto: CryptoProvider,
  octets: Uint8Array,
  peer: PeerAbilities,
): AuthPayload {
  const { method, scheme, identifier } = chooseSignature(local, peer);
  const signature = crypto.signatures.sign(local.key, scheme, octets);
  const data =
    identifier === undefined ? signature : concat(Uint8Array.of(identifier.length), identifier, signature);
  return { kind: 'AUTH', method, data };
}

/**
 * Whether an AUTH payload is a signature of the pinned key over `octets`. Never throws.
 * @param peerHashes - its SIGNATURE_HASH_ALGORITHMS: a peer that knows Digital Signature has to use it, and another cannot (RFC 7427 4)
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
    const scheme = schemeOf(data.subarray(1, start));
    return scheme !== undefined && signatures.verify(scheme, publicKey, octets, data.subarray(start));
  }
  const fixed = FIXED_METHODS.find((entry) => entry.method === method && entry.type === type);
  if (fixed === undefined || (isSha1(fixed.scheme) && allowSha1 !== true)) return false;
  return signatures.verify(fixed.scheme, publicKey, octets, data);
}

/** What keys of `type` sign by; ECDSA with the hash that is as strong as the curve before others. */
function preferred(type: KeyType): readonly IdentifiedScheme[] {
  const matching = FIXED_METHODS.find((entry) => entry.type === type)?.scheme;
  const matches = ({ scheme }: IdentifiedScheme) => Number(hashOf(scheme) === (matching && hashOf(matching)));
  return IDENTIFIED_SCHEMES.filter(({ scheme }) => signsBy(type, scheme)).sort(
    (a, b) => matches(b) - matches(a),
  );
}

function hashNumber(scheme: SignatureScheme): number {
  const hash = hashOf(scheme);
  return hash === undefined ? SignatureHash.IDENTITY : HASH_NUMBERS[hash];
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
