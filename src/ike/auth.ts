import type { CryptoProvider, SignatureAlgorithm } from '../crypto/provider.ts';
import { equalConstantTime } from '../crypto/transforms.ts';
import { concat, equalBytes, fromHex, utf8 } from '../wire/bytes.ts';
import type { Identity, LocalAuthentication, RemoteAuthentication } from './config.ts';
import { AuthMethod, IdType, NotifyType, SignatureHash } from './constants.ts';
import { LocalError } from './errors.ts';
import { type AuthPayload, type NotifyPayload, notify } from './payload/index.ts';

/** Our list, the same for everybody: a list of one's own would be a fingerprint (T9). */
const HASH_ALGORITHMS = [
  SignatureHash.SHA2_256,
  SignatureHash.SHA2_384,
  SignatureHash.SHA2_512,
  SignatureHash.IDENTITY,
];

/** DER AlgorithmIdentifiers (RFC 7427 A.3.2, RFC 8420 A.1) and the hash that goes with them (RFC 8420 2). */
const SIGNATURE: Readonly<
  Record<SignatureAlgorithm, { readonly identifier: Uint8Array; readonly hash: number }>
> = {
  ed25519: { identifier: fromHex('300506032b6570'), hash: SignatureHash.IDENTITY },
  'ecdsa-p256-sha256': { identifier: fromHex('300a06082a8648ce3d040302'), hash: SignatureHash.SHA2_256 },
};

const KEY_PAD = utf8('Key Pad for IKEv2');

/** What one side's AUTH payload covers (RFC 7296 2.15). */
export interface AuthInputs {
  readonly crypto: CryptoProvider;
  readonly prf: number;
  /** That side's last IKE_SA_INIT message, whole. */
  readonly message: Uint8Array;
  /** The other side's nonce. */
  readonly nonce: Uint8Array;
  /** That side's SK_pi or SK_pr. */
  readonly skP: Uint8Array;
  /** The body of that side's ID payload, with its RESERVED octets as they were sent. */
  readonly idBody: Uint8Array;
}

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

/** What the ID payload says: NULL authentication has no identity (RFC 7619 2.2). */
export function identityOf(local: LocalAuthentication): Identity {
  return local.kind === 'null' ? { type: IdType.ID_NULL, data: new Uint8Array(0) } : local.identity;
}

/**
 * Our AUTH payload.
 * @param peerHashes - the peer's SIGNATURE_HASH_ALGORITHMS; undefined if it sent none
 * @throws LocalError if the peer cannot verify a signature of our key (RFC 7427 4)
 */
export function createAuth(
  local: LocalAuthentication,
  inputs: AuthInputs,
  peerHashes: ReadonlySet<number> | undefined,
): AuthPayload {
  switch (local.kind) {
    case 'null':
      return { kind: 'AUTH', method: AuthMethod.NULL, data: sharedKeyAuth(inputs.skP, inputs) };
    case 'shared-key':
      return { kind: 'AUTH', method: AuthMethod.SHARED_KEY, data: sharedKeyAuth(local.secret, inputs) };
    case 'signature': {
      const { algorithm } = local.key;
      const { identifier, hash } = SIGNATURE[algorithm];
      if (!peerHashes?.has(hash)) {
        throw new LocalError(
          `the peer does not verify ${algorithm} signatures: SIGNATURE_HASH_ALGORITHMS without hash ${hash}`,
        );
      }
      const signature = inputs.crypto.signatures.sign(local.key, signedOctets(inputs));
      const data = concat(Uint8Array.of(identifier.length), identifier, signature);
      return { kind: 'AUTH', method: AuthMethod.DIGITAL_SIGNATURE, data };
    }
  }
}

/**
 * Whether the peer's AUTH payload proves what is demanded, by the demanded method. Never throws.
 * @param peerHashes - as for `createAuth`: a peer that knows Digital Signature has to use it (RFC 7427 3)
 */
export function verifyAuth(
  remote: RemoteAuthentication,
  { method, data }: AuthPayload,
  inputs: AuthInputs,
  peerHashes: ReadonlySet<number> | undefined,
): boolean {
  switch (remote.kind) {
    case 'null':
      return method === AuthMethod.NULL && equalConstantTime(data, sharedKeyAuth(inputs.skP, inputs));
    case 'shared-key':
      return (
        method === AuthMethod.SHARED_KEY && equalConstantTime(data, sharedKeyAuth(remote.secret, inputs))
      );
    case 'signature': {
      const { signatures } = inputs.crypto;
      const algorithm = signatures.algorithmOf(remote.publicKey);
      if (algorithm === undefined) return false;
      const signature = signatureOf(method, data, algorithm, peerHashes);
      if (signature === undefined) return false;
      return signatures.verify(algorithm, remote.publicKey, signedOctets(inputs), signature);
    }
  }
}

/** prf(prf(secret, "Key Pad for IKEv2"), octets) (RFC 7296 2.15); with NULL the secret is SK_pi or SK_pr (RFC 7619 2.1). */
function sharedKeyAuth(secret: Uint8Array, inputs: AuthInputs): Uint8Array {
  const { crypto, prf } = inputs;
  return crypto.prf(prf, crypto.prf(prf, secret, KEY_PAD), signedOctets(inputs));
}

/** RealMessage | Nonce | MACedID (RFC 7296 2.15). */
function signedOctets({ crypto, prf, message, nonce, skP, idBody }: AuthInputs): Uint8Array {
  return concat(message, nonce, crypto.prf(prf, skP, idBody));
}

/** The signature in an AUTH payload, as `Signatures.verify` takes it; undefined if it is not one of `algorithm`. */
function signatureOf(
  method: number,
  data: Uint8Array,
  algorithm: SignatureAlgorithm,
  peerHashes: ReadonlySet<number> | undefined,
): Uint8Array | undefined {
  if (method === AuthMethod.ECDSA_P256) {
    if (algorithm !== 'ecdsa-p256-sha256' || peerHashes !== undefined || data.length !== 64) return undefined;
    return derSignature(data.subarray(0, 32), data.subarray(32));
  }
  if (method !== AuthMethod.DIGITAL_SIGNATURE) return undefined;
  const { identifier } = SIGNATURE[algorithm];
  const start = 1 + identifier.length;
  if (data[0] !== identifier.length || !equalBytes(data.subarray(1, start), identifier)) return undefined;
  return data.subarray(start);
}

/** The Ecdsa-Sig-Value of an r | s signature (RFC 4754 7, RFC 7427 A.3). */
function derSignature(r: Uint8Array, s: Uint8Array): Uint8Array {
  const body = concat(derInteger(r), derInteger(s));
  return concat(Uint8Array.of(0x30, body.length), body);
}

function derInteger(bytes: Uint8Array): Uint8Array {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start++;
  const sign = bytes[start] & 0x80 ? [0] : [];
  const value = bytes.subarray(start);
  return concat(Uint8Array.of(2, value.length + sign.length, ...sign), value);
}
