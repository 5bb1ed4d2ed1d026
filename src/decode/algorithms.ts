/** An encryption algorithm of `ikev2_decryption_table`; lengths in octets. */
export interface TableEncryption {
  /** As Wireshark writes it. */
  readonly name: string;
  /** The name of the cipher in OpenSSL; undefined for NULL. */
  readonly cipher?: string;
  readonly mode: 'null' | 'cbc' | 'ctr' | 'ccm' | 'gcm' | 'chacha20-poly1305';
  readonly keyLength: number;
  /** Octets of SK_e after the key. */
  readonly saltLength: number;
  readonly ivLength: number;
  /** What the length of the ciphertext is a multiple of. */
  readonly blockLength: number;
  /** Of the cipher itself; 0 unless it is an AEAD. */
  readonly icvLength: number;
}

/** An integrity algorithm of `ikev2_decryption_table`; lengths in octets. */
export interface TableIntegrity {
  readonly name: string;
  /** The hash function of the HMAC; undefined if the ICV is not checked. */
  readonly hash?: string;
  readonly keyLength: number;
  readonly icvLength: number;
}

const AES_BITS = [128, 192, 256];
const AEAD_ICVS = [16, 12, 8];

// RFC 5282 3, 7.1; RFC 5930 2.
const COUNTER_IV = 8;
const SALT_LENGTH = { cbc: 0, ctr: 4, ccm: 3, gcm: 4 };

/** Every encryption algorithm that Wireshark has for IKEv2, and ChaCha20-Poly1305, which it has for ESP only. */
export const TABLE_ENCRYPTION: readonly TableEncryption[] = [
  {
    name: '3DES [RFC2451]',
    cipher: 'des-ede3-cbc',
    mode: 'cbc',
    keyLength: 24,
    saltLength: 0,
    ivLength: 8,
    blockLength: 8,
    icvLength: 0,
  },
  ...AES_BITS.map((bits) => aes('cbc', bits, `AES-CBC-${bits} [RFC3602]`, 0)),
  ...AES_BITS.map((bits) => aes('ctr', bits, `AES-CTR-${bits} [RFC5930]`, 0)),
  ...AES_BITS.flatMap((bits) => AEAD_ICVS.map((icv) => aead('ccm', bits, icv))),
  ...AES_BITS.flatMap((bits) => AEAD_ICVS.map((icv) => aead('gcm', bits, icv))),
  {
    name: 'ChaCha20 with Poly1305 [RFC7634]',
    cipher: 'chacha20-poly1305',
    mode: 'chacha20-poly1305',
    keyLength: 32,
    saltLength: 4,
    ivLength: COUNTER_IV,
    blockLength: 1,
    icvLength: 16,
  },
  {
    name: 'NULL [RFC2410]',
    mode: 'null',
    keyLength: 0,
    saltLength: 0,
    ivLength: 0,
    blockLength: 1,
    icvLength: 0,
  },
];

const ANY_BITS = [64, 96, 128, 160, 192, 256];

/** Every integrity algorithm that Wireshark has for IKEv2. */
export const TABLE_INTEGRITY: readonly TableIntegrity[] = [
  { name: 'HMAC_MD5_96 [RFC2403]', hash: 'md5', keyLength: 16, icvLength: 12 },
  { name: 'HMAC_SHA1_96 [RFC2404]', hash: 'sha1', keyLength: 20, icvLength: 12 },
  { name: 'HMAC_MD5_128 [RFC4595]', hash: 'md5', keyLength: 16, icvLength: 16 },
  { name: 'HMAC_SHA1_160 [RFC4595]', hash: 'sha1', keyLength: 20, icvLength: 20 },
  {
    name: 'HMAC_SHA2_256_96 [draft-ietf-ipsec-ciph-sha-256-00]',
    hash: 'sha256',
    keyLength: 32,
    icvLength: 12,
  },
  { name: 'HMAC_SHA2_256_128 [RFC4868]', hash: 'sha256', keyLength: 32, icvLength: 16 },
  { name: 'HMAC_SHA2_384_192 [RFC4868]', hash: 'sha384', keyLength: 48, icvLength: 24 },
  { name: 'HMAC_SHA2_512_256 [RFC4868]', hash: 'sha512', keyLength: 64, icvLength: 32 },
  { name: 'NONE [RFC4306]', keyLength: 0, icvLength: 0 },
  ...ANY_BITS.map((bits) => ({
    name: `ANY ${bits}-bits of Authentication [No Checking]`,
    keyLength: 0,
    icvLength: bits / 8,
  })),
];

function aead(mode: 'ccm' | 'gcm', bits: number, icvLength: number): TableEncryption {
  const name = `AES-${mode.toUpperCase()}-${bits} with ${icvLength} octet ICV [RFC5282]`;
  return aes(mode, bits, name, icvLength);
}

function aes(
  mode: 'cbc' | 'ctr' | 'ccm' | 'gcm',
  bits: number,
  name: string,
  icvLength: number,
): TableEncryption {
  return {
    name,
    cipher: `aes-${bits}-${mode}`,
    mode,
    keyLength: bits / 8,
    saltLength: SALT_LENGTH[mode],
    ivLength: mode === 'cbc' ? 16 : COUNTER_IV,
    blockLength: mode === 'cbc' ? 16 : 1,
    icvLength,
  };
}
