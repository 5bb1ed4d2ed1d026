import { type CryptoProvider, type ProtectionSuite, UnsupportedAlgorithm } from './provider.ts';

/** Transform types (RFC 7296 3.3.2). */
export const TransformType = { ENCR: 1, PRF: 2, INTEG: 3, KE: 4, ESN: 5 } as const;

/** Encryption transforms (type 1) that every provider has. */
export const EncryptionTransform = { AES_CBC: 12, AES_GCM_16: 20, CHACHA20_POLY1305: 28 } as const;

/** Pseudorandom functions (type 2) that every provider has. */
export const PrfTransform = { HMAC_SHA2_256: 5, HMAC_SHA2_384: 6, HMAC_SHA2_512: 7 } as const;

/** Integrity transforms (type 3) that every provider has. NONE goes with AEAD encryption (RFC 5282 8). */
export const IntegrityTransform = { NONE: 0, HMAC_SHA2_256_128: 12 } as const;

/** Key exchange methods (type 4) that every provider has. */
export const KeyExchangeMethod = { MODP_2048: 14, ECP_256: 19, CURVE25519: 31 } as const;

/** Extended sequence numbers (type 5). */
export const SequenceNumbers = { SHORT: 0, EXTENDED: 1 } as const;

/** What the data path and the key schedule have to know of an encryption transform. Lengths in octets. */
export interface Encryption {
  readonly aead: boolean;
  readonly ivLength: number;
  /** Octets of KEYMAT after the key that complete the nonce; 0 for CBC. */
  readonly saltLength: number;
  /** The AEAD's ICV; 0 for CBC, whose integrity transform brings one. */
  readonly icvLength: number;
  /** What the text's length must be a multiple of. */
  readonly blockLength: number;
  /** Bits. */
  readonly keyLengths: readonly number[];
  /** Whether a proposal must carry the Key Length attribute; otherwise it must not (RFC 7296 3.3.5). */
  readonly keyLengthAttribute: boolean;
}

/** An integrity transform. Octets. */
export interface Integrity {
  readonly keyLength: number;
  readonly icvLength: number;
}

/** A pseudorandom function. `outputLength` is also the preferred key length (RFC 7296 2.13). Octets. */
export interface Prf {
  readonly outputLength: number;
}

const AES_KEY_LENGTHS = [128, 192, 256];

const ENCRYPTION: Readonly<Record<number, Encryption>> = {
  [EncryptionTransform.AES_CBC]: {
    aead: false,
    ivLength: 16,
    saltLength: 0,
    icvLength: 0,
    blockLength: 16,
    keyLengths: AES_KEY_LENGTHS,
    keyLengthAttribute: true,
  },
  [EncryptionTransform.AES_GCM_16]: {
    aead: true,
    ivLength: 8,
    saltLength: 4,
    icvLength: 16,
    blockLength: 1,
    keyLengths: AES_KEY_LENGTHS,
    keyLengthAttribute: true,
  },
  [EncryptionTransform.CHACHA20_POLY1305]: {
    aead: true,
    ivLength: 8,
    saltLength: 4,
    icvLength: 16,
    blockLength: 1,
    keyLengths: [256],
    keyLengthAttribute: false,
  },
};

const INTEGRITY: Readonly<Record<number, Integrity>> = {
  [IntegrityTransform.HMAC_SHA2_256_128]: { keyLength: 32, icvLength: 16 },
};

const PRF: Readonly<Record<number, Prf>> = {
  [PrfTransform.HMAC_SHA2_256]: { outputLength: 32 },
  [PrfTransform.HMAC_SHA2_384]: { outputLength: 48 },
  [PrfTransform.HMAC_SHA2_512]: { outputLength: 64 },
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

/** What a suite adds to a message. Octets. @throws UnsupportedAlgorithm as `protectionKeyLengths` */
export interface ProtectionLayout {
  readonly ivLength: number;
  readonly icvLength: number;
  readonly blockLength: number;
}

/** @throws UnsupportedAlgorithm */
export function protectionLayout(suite: ProtectionSuite): ProtectionLayout {
  const { ivLength, icvLength, blockLength, aead } = encryptionOf(suite.encryption);
  return { ivLength, icvLength: aead ? icvLength : integrityOf(suite.integrity).icvLength, blockLength };
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
