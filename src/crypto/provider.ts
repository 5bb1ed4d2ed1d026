/**
 * Algorithms behind one interface. Transform ids are IANA's ("Internet Key Exchange Version 2 (IKEv2) Parameters").
 * A provider throws `UnsupportedAlgorithm` for ids that it does not have; the transforms that the project offers are
 * in transforms.ts, and every provider has all of them.
 */
export interface CryptoProvider {
  readonly name: string;
  /** Octets from a cryptographically secure source, or from the test's. */
  random(length: number): Uint8Array;
  /** PRF transform (type 2): prf(key, parts[0] | parts[1] | ...). RFC 7296 2.13. */
  prf(id: number, key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array;
  hash(id: 'sha1' | 'sha256' | 'sha384' | 'sha512', ...parts: readonly Uint8Array[]): Uint8Array;
  /** A keyed cipher for the SK payload or for one direction of an ESP SA. */
  protector(suite: ProtectionSuite, keys: ProtectionKeys): Protector;
  /** A fresh key pair of a key exchange method (transform type 4); its secret is drawn from `random`. */
  keyExchange(method: number): KeyExchange;
  readonly signatures: Signatures;
}

/** An encryption transform, or a pair of encryption and integrity transforms. */
export interface ProtectionSuite {
  /** Transform type 1. */
  readonly encryption: number;
  /** Bits. */
  readonly keyLength: number;
  /** Transform type 3; 0 for AEAD. */
  readonly integrity: number;
}

/** `encryption` is the cipher key followed by the salt of AEAD ciphers (RFC 4106 8.1, RFC 5282 7.1, RFC 7634 2). */
export interface ProtectionKeys {
  readonly encryption: Uint8Array;
  readonly integrity: Uint8Array;
}

/**
 * Seals and opens in place. The caller lays a packet out as `aad | iv | text | icv` and passes `buffer` with offsets.
 *
 * AEAD: nonce = salt | iv, the associated data is `aad`. CBC with HMAC: the ICV covers `aad | iv | ciphertext | suffix`.
 */
export interface Protector {
  readonly ivLength: number;
  readonly icvLength: number;
  /** The text's length must be a multiple of it: 1 for AEAD, 16 for CBC. */
  readonly blockLength: number;
  /**
   * Encrypts `text` in place and writes the ICV.
   * @param aad - associated data; for CBC with HMAC, what is authenticated ahead of the IV
   * @param suffix - CBC with HMAC only: authenticated after the ciphertext (high half of an ESN); else undefined
   */
  seal(aad: Uint8Array, iv: Uint8Array, text: Uint8Array, icv: Uint8Array, suffix?: Uint8Array): void;
  /** Verifies in constant time and decrypts `text` in place. False (with `text` unspecified) if the ICV is wrong. */
  open(aad: Uint8Array, iv: Uint8Array, text: Uint8Array, icv: Uint8Array, suffix?: Uint8Array): boolean;
  /** Overwrites the keys (best effort); the protector is unusable afterwards. */
  destroy(): void;
}

/** Our half of one key exchange. */
export interface KeyExchange {
  readonly method: number;
  /** The Key Exchange Data of our KE payload (RFC 7296 3.4, RFC 5903, RFC 8031). */
  readonly publicValue: Uint8Array;
  /** g^ir. @throws InvalidKeyExchange if the peer's value is of the wrong length or fails RFC 6989's tests */
  agree(peerValue: Uint8Array): Uint8Array;
  destroy(): void;
}

export type SignatureAlgorithm = 'ed25519' | 'ecdsa-p256-sha256';

/** A private key; `secret` is the 32-octet seed (Ed25519) or scalar (P-256). */
export interface SigningKey {
  readonly algorithm: SignatureAlgorithm;
  readonly secret: Uint8Array;
  /** SubjectPublicKeyInfo, DER (RFC 7670). */
  readonly publicKey: Uint8Array;
}

export interface Signatures {
  /** Whether `sign` draws from a source that replays cannot seed. */
  readonly randomised: boolean;
  generate(algorithm: SignatureAlgorithm): SigningKey;
  /** Rebuilds the key from its secret. @throws RangeError if it is not 32 octets or out of range */
  fromSecret(algorithm: SignatureAlgorithm, secret: Uint8Array): SigningKey;
  /** Ed25519: 64 octets. ECDSA: DER Ecdsa-Sig-Value over SHA-256 of the message (RFC 7427 A.3). */
  sign(key: SigningKey, message: Uint8Array): Uint8Array;
  /** False for a wrong signature or a key that is not of `algorithm`; never throws for any octets. */
  verify(
    algorithm: SignatureAlgorithm,
    publicKey: Uint8Array,
    message: Uint8Array,
    signature: Uint8Array,
  ): boolean;
  /** The algorithm of an SPKI key; undefined if it is of none of ours. */
  algorithmOf(publicKey: Uint8Array): SignatureAlgorithm | undefined;
}

export class UnsupportedAlgorithm extends Error {
  override readonly name = 'UnsupportedAlgorithm';
}

/** A key exchange value that RFC 6989 tells the recipient to refuse. */
export class InvalidKeyExchange extends Error {
  override readonly name = 'InvalidKeyExchange';
}
