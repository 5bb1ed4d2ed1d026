import {
  type CryptoProvider,
  type HashName,
  type ProtectionSuite,
  UnsupportedAlgorithm,
} from './provider.ts';

/** Transform types (RFC 7296 3.3.2, RFC 9370 4.1). */
export const TransformType = {
  ENCR: 1,
  PRF: 2,
  INTEG: 3,
  KE: 4,
  ESN: 5,
  ADDKE1: 6,
  ADDKE2: 7,
  ADDKE3: 8,
  ADDKE4: 9,
  ADDKE5: 10,
  ADDKE6: 11,
  ADDKE7: 12,
} as const;

/** Encryption transforms (type 1) that every provider has. */
export const EncryptionTransform = {
  NULL: 11,
  AES_CBC: 12,
  AES_CCM_8: 14,
  AES_CCM_12: 15,
  AES_CCM_16: 16,
  AES_GCM_8: 18,
  AES_GCM_12: 19,
  AES_GCM_16: 20,
  CHACHA20_POLY1305: 28,
  AES_CCM_8_IIV: 29,
  AES_GCM_16_IIV: 30,
  CHACHA20_POLY1305_IIV: 31,
} as const;

/** Pseudorandom functions (type 2) that every provider has. */
export const PrfTransform = {
  HMAC_SHA1: 2,
  AES128_XCBC: 4,
  HMAC_SHA2_256: 5,
  HMAC_SHA2_384: 6,
  HMAC_SHA2_512: 7,
  AES128_CMAC: 8,
} as const;

/** Integrity transforms (type 3) that every provider has. NONE goes with AEAD encryption (RFC 5282 8). */
export const IntegrityTransform = {
  NONE: 0,
  HMAC_SHA1_96: 2,
  HMAC_SHA2_256_128: 12,
  HMAC_SHA2_384_192: 13,
  HMAC_SHA2_512_256: 14,
} as const;

/** Key exchange methods (types 4 and 6 to 12) that every provider has. */
export const KeyExchangeMethod = {
  MODP_2048: 14,
  MODP_3072: 15,
  MODP_4096: 16,
  ECP_256: 19,
  ECP_384: 20,
  ECP_521: 21,
  CURVE25519: 31,
  ML_KEM_512: 35,
  ML_KEM_768: 36,
  ML_KEM_1024: 37,
} as const;

/** Extended sequence numbers (type 5). */
export const SequenceNumbers = { SHORT: 0, EXTENDED: 1 } as const;

/** What the data path and the key schedule have to know of an encryption transform. Lengths in octets. */
export interface Encryption {
  readonly mode: 'null' | 'cbc' | 'ccm' | 'gcm' | 'chacha20-poly1305';
  readonly aead: boolean;
  readonly ivLength: number;
  /** The IV is the sequence number, and not in the packet (RFC 8750). */
  readonly implicitIv: boolean;
  /** Octets of KEYMAT after the key that complete the nonce; 0 but for AEAD. */
  readonly saltLength: number;
  /** The AEAD's ICV; otherwise 0: the integrity transform brings one. */
  readonly icvLength: number;
  /** What the text's length must be a multiple of. */
  readonly blockLength: number;
  /** Bits. */
  readonly keyLengths: readonly number[];
  /** Whether a proposal must carry the Key Length attribute; otherwise it must not (RFC 7296 3.3.5). */
  readonly keyLengthAttribute: boolean;
  /** MUST NOT protect IKE messages (RFC 7296 5, RFC 8750 6). */
  readonly espOnly: boolean;
}

/** An integrity transform: HMAC, truncated to the ICV. Octets. */
export interface Integrity {
  readonly hash: HashName;
  readonly keyLength: number;
  readonly icvLength: number;
}

/** A pseudorandom function: HMAC with a hash, or a MAC of AES-128. Octets. */
export interface Prf {
  readonly algorithm: HashName | 'aes-xcbc' | 'aes-cmac';
  /** Also the preferred key length (RFC 7296 2.13). */
  readonly outputLength: number;
  /** How much of each nonce is in the key of SKEYSEED's computation (RFC 7296 2.14); absent: all of it. */
  readonly noncePrefix?: number;
}

const AES_KEY_LENGTHS = [128, 192, 256];

const UNAUTHENTICATED = { aead: false, implicitIv: false, saltLength: 0, icvLength: 0 } as const;

function aesAead(mode: 'ccm' | 'gcm', icvLength: number): Encryption {
  return {
    mode,
    aead: true,
    ivLength: 8,
    implicitIv: false,
    saltLength: mode === 'ccm' ? 3 : 4,
    icvLength,
    blockLength: 1,
    keyLengths: AES_KEY_LENGTHS,
    keyLengthAttribute: true,
    espOnly: false,
  };
}

const CHACHA20: Encryption = {
  ...aesAead('gcm', 16),
  mode: 'chacha20-poly1305',
  keyLengths: [256],
  keyLengthAttribute: false,
};

const IMPLICIT_IV = { implicitIv: true, espOnly: true } as const;

const ENCRYPTION: Readonly<Record<number, Encryption>> = {
  [EncryptionTransform.NULL]: {
    ...UNAUTHENTICATED,
    mode: 'null',
    ivLength: 0,
    blockLength: 1,
    keyLengths: [0],
    keyLengthAttribute: false,
    espOnly: true,
  },
  [EncryptionTransform.AES_CBC]: {
    ...UNAUTHENTICATED,
    mode: 'cbc',
    ivLength: 16,
    blockLength: 16,
    keyLengths: AES_KEY_LENGTHS,
    keyLengthAttribute: true,
    espOnly: false,
  },
  [EncryptionTransform.AES_CCM_8]: aesAead('ccm', 8),
  [EncryptionTransform.AES_CCM_12]: aesAead('ccm', 12),
  [EncryptionTransform.AES_CCM_16]: aesAead('ccm', 16),
  [EncryptionTransform.AES_GCM_8]: aesAead('gcm', 8),
  [EncryptionTransform.AES_GCM_12]: aesAead('gcm', 12),
  [EncryptionTransform.AES_GCM_16]: aesAead('gcm', 16),
  [EncryptionTransform.CHACHA20_POLY1305]: CHACHA20,
  [EncryptionTransform.AES_CCM_8_IIV]: { ...aesAead('ccm', 8), ...IMPLICIT_IV },
  [EncryptionTransform.AES_GCM_16_IIV]: { ...aesAead('gcm', 16), ...IMPLICIT_IV },
  [EncryptionTransform.CHACHA20_POLY1305_IIV]: { ...CHACHA20, ...IMPLICIT_IV },
};

const INTEGRITY: Readonly<Record<number, Integrity>> = {
  [IntegrityTransform.HMAC_SHA1_96]: { hash: 'sha1', keyLength: 20, icvLength: 12 },
  [IntegrityTransform.HMAC_SHA2_256_128]: { hash: 'sha256', keyLength: 32, icvLength: 16 },
  [IntegrityTransform.HMAC_SHA2_384_192]: { hash: 'sha384', keyLength: 48, icvLength: 24 },
  [IntegrityTransform.HMAC_SHA2_512_256]: { hash: 'sha512', keyLength: 64, icvLength: 32 },
};

const PRF: Readonly<Record<number, Prf>> = {
  [PrfTransform.HMAC_SHA1]: { algorithm: 'sha1', outputLength: 20 },
  [PrfTransform.AES128_XCBC]: { algorithm: 'aes-xcbc', outputLength: 16, noncePrefix: 8 },
  [PrfTransform.HMAC_SHA2_256]: { algorithm: 'sha256', outputLength: 32 },
  [PrfTransform.HMAC_SHA2_384]: { algorithm: 'sha384', outputLength: 48 },
  [PrfTransform.HMAC_SHA2_512]: { algorithm: 'sha512', outputLength: 64 },
  [PrfTransform.AES128_CMAC]: { algorithm: 'aes-cmac', outputLength: 16, noncePrefix: 8 },
};

/** The encryption transform `id`. @throws UnsupportedAlgorithm */
export function encryptionOf(id: number): Encryption {
  return known(ENCRYPTION[id], 'encryption', id);
}

/** The integrity transform `id`. @throws UnsupportedAlgorithm, also for NONE */
export function integrityOf(id: number): Integrity {
  return known(INTEGRITY[id], 'integrity', id);
}

/** The pseudorandom function `id`. @throws UnsupportedAlgorithm */
export function prfOf(id: number): Prf {
  return known(PRF[id], 'pseudorandom function', id);
}

function known<T>(entry: T | undefined, what: string, id: number): T {
  if (entry === undefined) throw new UnsupportedAlgorithm(`${what} transform ${id} is not supported`);
  return entry;
}

/** Octets of KEYMAT for one direction: the cipher's key with its salt, and the integrity key (0 for AEAD). */
export interface ProtectionKeyLengths {
  readonly encryption: number;
  readonly integrity: number;
}

/** @throws UnsupportedAlgorithm for a suite that is not one AEAD cipher, or one cipher and one integrity transform */
export function protectionKeyLengths(suite: ProtectionSuite): ProtectionKeyLengths {
  const { keyLengths, saltLength, aead } = encryptionOf(suite.encryption);
  if (!keyLengths.includes(suite.keyLength)) {
    throw new UnsupportedAlgorithm(
      `encryption transform ${suite.encryption} has no key of ${suite.keyLength} bits, only of ${keyLengths.join(', ')}`,
    );
  }
  if (aead && suite.integrity !== IntegrityTransform.NONE) {
    throw new UnsupportedAlgorithm(`AEAD transform ${suite.encryption} goes without an integrity transform`);
  }
  return {
    encryption: suite.keyLength / 8 + saltLength,
    integrity: aead ? 0 : integrityOf(suite.integrity).keyLength,
  };
}

/** What a suite adds to a message. Octets. */
export interface ProtectionLayout {
  /** What the message carries of the IV: nothing of an implicit one (RFC 8750). */
  readonly ivLength: number;
  readonly icvLength: number;
  readonly blockLength: number;
}

/** @throws UnsupportedAlgorithm */
export function protectionLayout(suite: ProtectionSuite): ProtectionLayout {
  const { ivLength, implicitIv, icvLength, blockLength, aead } = encryptionOf(suite.encryption);
  return {
    ivLength: implicitIv ? 0 : ivLength,
    icvLength: aead ? icvLength : integrityOf(suite.integrity).icvLength,
    blockLength,
  };
}

/**
 * prf+ (RFC 7296 2.13): the first `length` octets of T1 | T2 | ...
 * @throws RangeError beyond 255 blocks
 */
export function prfPlus(
  provider: CryptoProvider,
  prfId: number,
  key: Uint8Array,
  seed: Uint8Array,
  length: number,
): Uint8Array {
  const block = prfOf(prfId).outputLength;
  if (length > 255 * block) throw new RangeError(`prf+ gives at most ${255 * block} octets, not ${length}`);
  const out = new Uint8Array(length);
  let previous: Uint8Array = new Uint8Array(0);
  for (let offset = 0, counter = 1; offset < length; offset += block, counter++) {
    const next = provider.prf(prfId, key, previous, seed, Uint8Array.of(counter));
    zero(previous);
    out.set(next.subarray(0, length - offset), offset);
    previous = next;
  }
  zero(previous);
  return out;
}

/** Compares secrets: the time depends on the lengths only. */
export function equalConstantTime(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= a[i] ^ b[i];
  return difference === 0;
}

/** Overwrites secrets that are no longer needed; best effort, the engine may have made copies. */
export function zero(...secrets: readonly Uint8Array[]): void {
  for (const secret of secrets) secret.fill(0);
}
