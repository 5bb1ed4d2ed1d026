/**
 * Algorithms behind one interface. Transform ids are IANA's ("Internet Key Exchange Version 2 (IKEv2) Parameters").
 * A provider throws `UnsupportedAlgorithm` for ids that it does not have; the transforms that the project offers are
 * in transforms.ts, and every provider has all of them.
 */
export interface CryptoProvider {
  /** For people: in logs and benchmarks. */
  readonly name: string;
  /** Octets from a cryptographically secure source, or from the test's. */
  random(length: number): Uint8Array;
  /** PRF transform (type 2): prf(key, parts[0] | parts[1] | ...). RFC 7296 2.13. */
  prf(id: number, key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array;
  /** The digest of parts[0] | parts[1] | ... */
  hash(id: HashName, ...parts: readonly Uint8Array[]): Uint8Array;
  /** A keyed cipher for the SK payload or for one direction of an ESP SA. */
  protector(suite: ProtectionSuite, keys: ProtectionKeys): Protector;
  /** The initiator's half of a key exchange (transform types 4 and 6 to 12); its secret is drawn from `random`. */
  keyExchange(method: number): KeyExchange;
  /**
   * The responder's half, whole: a KEM's ciphertext depends on the initiator's encapsulation key.
   * @throws InvalidKeyExchange if the initiator's value is of the wrong length or fails the method's tests
   */
  answerKeyExchange(method: number, initiatorValue: Uint8Array): KeyExchangeAnswer;
  /** The methods for which `answerKeyExchange` draws from a source that replays cannot seed. */
  readonly randomisedMethods: readonly number[];
  /** Keys that sign, and signatures. */
  readonly signatures: Signatures;
  /** X.509, for providers that have it. */
  readonly certificates?: Certificates;
}

/** An encryption transform, or a pair of encryption and integrity transforms. */
export interface ProtectionSuite {
  /** Transform type 1. */
  readonly encryption: number;
  /** Bits; 0 for ENCR_NULL. */
  readonly keyLength: number;
  /** Transform type 3; 0 for AEAD. */
  readonly integrity: number;
}

/** The keys of one direction. */
export interface ProtectionKeys {
  /** The cipher key, followed by the salt of AEAD ciphers (RFC 4106 8.1, RFC 5282 7.1, RFC 7634 2). */
  readonly encryption: Uint8Array;
  /** Empty for AEAD. */
  readonly integrity: Uint8Array;
}

/**
 * Seals and opens in place. The caller lays a packet out as `aad | iv | text | icv` and passes `buffer` with offsets.
 *
 * AEAD: nonce = salt | iv, the associated data is `aad`. Others with HMAC: the ICV covers `aad | iv | ciphertext | suffix`.
 */
export interface Protector {
  /** Of the IV that it takes, whether or not a packet carries it. */
  readonly ivLength: number;
  /** Octets of the integrity check value. */
  readonly icvLength: number;
  /** The text's length must be a multiple of it: 16 for CBC, else 1. */
  readonly blockLength: number;
  /**
   * Encrypts `text` in place and writes the ICV.
   * @param aad - associated data; with HMAC, what is authenticated ahead of the IV
   * @param suffix - HMAC only: authenticated after the ciphertext (high half of an ESN); else undefined
   */
  seal(aad: Uint8Array, iv: Uint8Array, text: Uint8Array, icv: Uint8Array, suffix?: Uint8Array): void;
  /** Verifies in constant time and decrypts `text` in place. False (with `text` unspecified) if the ICV is wrong. */
  open(aad: Uint8Array, iv: Uint8Array, text: Uint8Array, icv: Uint8Array, suffix?: Uint8Array): boolean;
  /** Overwrites the keys (best effort); the protector is unusable afterwards. */
  destroy(): void;
}

/** The initiator's half of one key exchange. */
export interface KeyExchange {
  /** Its transform id. */
  readonly method: number;
  /** The Key Exchange Data of our KE payload (RFC 7296 3.4, RFC 5903, RFC 8031); of a KEM, the encapsulation key. */
  readonly publicValue: Uint8Array;
  /**
   * The shared secret.
   * @param responderValue - of a KEM, the ciphertext
   * @throws InvalidKeyExchange if it is of the wrong length or fails RFC 6989's tests
   */
  agree(responderValue: Uint8Array): Uint8Array;
  /** Overwrites the secret (best effort); `agree` must not be called afterwards. */
  destroy(): void;
}

/** The responder's half of one key exchange. */
export interface KeyExchangeAnswer {
  /** The Key Exchange Data of our KE payload. */
  readonly publicValue: Uint8Array;
  /** What `KeyExchange.agree` comes to at the other end; the caller overwrites it. */
  readonly sharedSecret: Uint8Array;
}

/** What kind of key signs. */
export type KeyType = 'ed25519' | 'ecdsa-p256' | 'ecdsa-p384' | 'ecdsa-p521' | 'rsa';

/** Hash functions, by the names that both providers know. */
export type HashName = 'sha1' | 'sha256' | 'sha384' | 'sha512';

/**
 * How a message is signed. ECDSA signatures are a DER Ecdsa-Sig-Value (RFC 7427 A.3), or r | s in a fixed width
 * (RFC 4754 7); the salt of RSASSA-PSS is as long as the hash, and MGF1 uses the same one.
 */
export type SignatureScheme =
  | { readonly kind: 'ed25519' }
  | { readonly kind: 'ecdsa'; readonly hash: HashName; readonly encoding: 'der' | 'fixed' }
  | { readonly kind: 'rsa-pkcs1' | 'rsa-pss'; readonly hash: HashName };

/** A private key. */
export interface SigningKey {
  /** Of `secret` and `publicKey`. */
  readonly type: KeyType;
  /** PKCS #8 (RFC 5208), DER. */
  readonly secret: Uint8Array;
  /** SubjectPublicKeyInfo, DER (RFC 7670). */
  readonly publicKey: Uint8Array;
}

/** The signatures of a provider. */
export interface Signatures {
  /** Whether `sign` draws from a source that replays cannot seed. */
  readonly randomised: boolean;
  /** What kinds of keys this provider has. */
  readonly keyTypes: readonly KeyType[];
  /** A new key, drawn from `random`. @throws UnsupportedAlgorithm if this provider has no keys of that type */
  generate(type: Exclude<KeyType, 'rsa'>): SigningKey;
  /**
   * The key in a PKCS #8 document.
   * @throws RangeError if it is not an unencrypted private key of a `KeyType`, or is an RSA key that is weak
   * @throws UnsupportedAlgorithm if this provider has no keys of that type
   */
  fromPkcs8(der: Uint8Array): SigningKey;
  /** The signature over `message`, encoded as `scheme` says. @throws UnsupportedAlgorithm if keys of that type do not sign so */
  sign(key: SigningKey, scheme: SignatureScheme, message: Uint8Array): Uint8Array;
  /** False for a wrong signature or a key that does not sign so; never throws for any octets. */
  verify(scheme: SignatureScheme, publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean;
  /** The type of an SPKI key; undefined if this provider does not verify with it: RSA keys under 2048 bits, for one. */
  keyTypeOf(publicKey: Uint8Array): KeyType | undefined;
}

/** Whom a certificate has to be for: a name in its subjectAltName, or its subject (a Name, DER). */
export type CertificateName =
  | { readonly kind: 'dns' | 'email'; readonly name: string }
  | { readonly kind: 'ip'; readonly address: string }
  | { readonly kind: 'subject'; readonly der: Uint8Array };

/** What a certificate is to be verified against. */
export interface CertificateDemands {
  /** The certificates (DER) of those who are trusted to certify; those with name constraints certify nobody. */
  readonly authorities: readonly Uint8Array[];
  /** When it has to be valid: milliseconds since 1970. */
  readonly time: number;
  /** Whom the first certificate has to be for. */
  readonly name: CertificateName;
}

/** `publicKey` is the leaf's, an SPKI (DER); `reason` is for people. */
export type CertificateVerdict =
  | { readonly ok: true; readonly publicKey: Uint8Array }
  | { readonly ok: false; readonly reason: string };

/** The X.509 of a provider. */
export interface Certificates {
  /**
   * Whether a chain leads from the first certificate (DER) through others, in any order, to an authority, and the first one
   * may sign for the name (RFC 5280, RFC 4945 5). Never throws for any octets of `certificates`.
   * @throws RangeError if an authority's certificate is malformed
   */
  verify(certificates: readonly Uint8Array[], demands: CertificateDemands): CertificateVerdict;
}

/** An algorithm that a provider does not have; the message names it. */
export class UnsupportedAlgorithm extends Error {
  override readonly name = 'UnsupportedAlgorithm';
}

/** A key exchange value that RFC 6989, or FIPS 203 7.2 and 7.3, tell the recipient to refuse. */
export class InvalidKeyExchange extends Error {
  override readonly name = 'InvalidKeyExchange';
}
