import type { CryptoProvider } from '../crypto/provider.ts';
import { equalConstantTime, zero } from '../crypto/transforms.ts';
import { concat, utf8 } from '../wire/bytes.ts';
import type { Identity, LocalAuthentication, ProvableAuthentication } from './config.ts';
import { AuthMethod, IdType } from './constants.ts';
import type { AuthPayload } from './payload/index.ts';
import { createSignature, type PeerAbilities, verifySignature } from './signature-auth.ts';

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
  /** IntAuth, if there were IKE_INTERMEDIATE exchanges (RFC 9242 3.3.2). */
  readonly intAuth?: Uint8Array | undefined;
}

/** What the ID payload says: NULL authentication has no identity (RFC 7619 2.2). */
export function identityOf(local: LocalAuthentication): Identity {
  return local.kind === 'null' ? { type: IdType.ID_NULL, data: new Uint8Array(0) } : local.identity;
}

/**
 * Our AUTH payload.
 * @param peer - what it says that it verifies
 * @throws LocalError if the peer cannot verify a signature of our key (RFC 7427 4)
 */
export function createAuth(local: LocalAuthentication, inputs: AuthInputs, peer: PeerAbilities): AuthPayload {
  switch (local.kind) {
    case 'null':
      return { kind: 'AUTH', method: AuthMethod.NULL, data: sharedKeyAuth(inputs.skP, inputs) };
    case 'shared-key':
      return { kind: 'AUTH', method: AuthMethod.SHARED_KEY, data: sharedKeyAuth(local.secret, inputs) };
    case 'signature':
      return createSignature(local, inputs.crypto, signedOctets(inputs), peer);
  }
}

/**
 * Whether the peer's AUTH payload proves what is demanded, by the demanded method. Never throws.
 * @param peerHashes - its SIGNATURE_HASH_ALGORITHMS: a peer that knows Digital Signature has to use it (RFC 7427 3)
 */
export function verifyAuth(
  remote: ProvableAuthentication,
  auth: AuthPayload,
  inputs: AuthInputs,
  peerHashes: ReadonlySet<number> | undefined,
): boolean {
  const { method, data } = auth;
  switch (remote.kind) {
    case 'null':
      return method === AuthMethod.NULL && equalConstantTime(data, sharedKeyAuth(inputs.skP, inputs));
    case 'shared-key':
      return (
        method === AuthMethod.SHARED_KEY && equalConstantTime(data, sharedKeyAuth(remote.secret, inputs))
      );
    case 'signature':
      return verifySignature(remote, auth, inputs.crypto, signedOctets(inputs), peerHashes);
  }
}

/** prf(prf(secret, "Key Pad for IKEv2"), octets) (RFC 7296 2.15); with NULL the secret is SK_pi or SK_pr (RFC 7619 2.1). */
function sharedKeyAuth(secret: Uint8Array, inputs: AuthInputs): Uint8Array {
  const { crypto, prf } = inputs;
  const key = crypto.prf(prf, secret, KEY_PAD);
  const data = crypto.prf(prf, key, signedOctets(inputs));
  zero(key);
  return data;
}

/** RealMessage | Nonce | MACedID [| IntAuth] (RFC 7296 2.15, RFC 9242 3.3.2). */
function signedOctets({ crypto, prf, message, nonce, skP, idBody, intAuth }: AuthInputs): Uint8Array {
  return concat(message, nonce, crypto.prf(prf, skP, idBody), intAuth ?? new Uint8Array(0));
}
