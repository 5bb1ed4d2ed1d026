import { type ProtectionKeys, type ProtectionSuite, UnsupportedAlgorithm } from '../crypto/provider.ts';
import { EncryptionTransform, IntegrityTransform, protectionKeyLengths } from '../crypto/transforms.ts';
import type { EspSaSecrets, IkeSaSecrets } from '../ike/key-log.ts';
import { familyOf } from '../wire/address.ts';
import { hex } from '../wire/bytes.ts';

/**
 * A line of Wireshark's `ikev2_decryption_table` (without line end): SPIi, SPIr, SK_ei, SK_er, encryption, SK_ai, SK_ar,
 * integrity. Wireshark has no ChaCha20-Poly1305 there; it passes over such a line with a warning.
 * @throws UnsupportedAlgorithm; RangeError for keys that are not of the suite's lengths
 */
export function ikeTableLine({ spiI, spiR, suite, initiator, responder }: IkeSaSecrets): string {
  checkLengths(suite, initiator);
  checkLengths(suite, responder);
  return [
    hex(spiI),
    hex(spiR),
    hex(initiator.encryption),
    hex(responder.encryption),
    `"${ikeEncryptionName(suite)}"`,
    hex(initiator.integrity),
    hex(responder.integrity),
    `"${IKE_INTEGRITY[suite.integrity] ?? unnamed('integrity', suite.integrity)}"`,
  ].join(',');
}

/**
 * A line of Wireshark's `esp_sa` (without line end): protocol, source, destination, SPI, encryption, key, authentication,
 * key; with extended sequence numbers, also their length and the upper half to start with, which Wireshark 4.0
 * passes over.
 * @throws UnsupportedAlgorithm; RangeError for keys that are not of the suite's lengths
 */
export function espTableLine({ source, destination, spi, suite, keys }: EspSaSecrets): string {
  checkLengths(suite, keys);
  const fields = [
    `IPv${familyOf(source)}`,
    source,
    destination,
    `0x${spi.toString(16).padStart(8, '0')}`,
    ESP_ENCRYPTION[suite.encryption] ?? unnamed('encryption', suite.encryption),
    `0x${hex(keys.encryption)}`,
    ESP_INTEGRITY[suite.integrity] ?? unnamed('integrity', suite.integrity),
    keys.integrity.length > 0 ? `0x${hex(keys.integrity)}` : '',
    ...(suite.esn ? ['64-bit', '0'] : []),
  ];
  return fields.map((field) => `"${field}"`).join(',');
}

function checkLengths(suite: ProtectionSuite, keys: ProtectionKeys): void {
  const lengths = protectionKeyLengths(suite);
  if (keys.encryption.length !== lengths.encryption || keys.integrity.length !== lengths.integrity) {
    throw new RangeError(`the suite takes keys of ${lengths.encryption} and ${lengths.integrity} octets`);
  }
}

function ikeEncryptionName({ encryption, keyLength }: ProtectionSuite): string {
  if (encryption === EncryptionTransform.AES_CBC) return `AES-CBC-${keyLength} [RFC3602]`;
  if (encryption === EncryptionTransform.CHACHA20_POLY1305) return 'ChaCha20 with Poly1305 [RFC7634]';
  const [mode, icvLength] = IKE_AEAD[encryption] ?? unnamed('encryption', encryption);
  return `AES-${mode}-${keyLength} with ${icvLength} octet ICV [RFC5282]`;
}

const IKE_AEAD: Readonly<Record<number, readonly [mode: string, icvLength: number]>> = {
  [EncryptionTransform.AES_CCM_8]: ['CCM', 8],
  [EncryptionTransform.AES_CCM_12]: ['CCM', 12],
  [EncryptionTransform.AES_CCM_16]: ['CCM', 16],
  [EncryptionTransform.AES_GCM_8]: ['GCM', 8],
  [EncryptionTransform.AES_GCM_12]: ['GCM', 12],
  [EncryptionTransform.AES_GCM_16]: ['GCM', 16],
};

const IKE_INTEGRITY: Readonly<Record<number, string>> = {
  [IntegrityTransform.NONE]: 'NONE [RFC4306]',
  [IntegrityTransform.HMAC_SHA1_96]: 'HMAC_SHA1_96 [RFC2404]',
  [IntegrityTransform.HMAC_SHA2_256_128]: 'HMAC_SHA2_256_128 [RFC4868]',
  [IntegrityTransform.HMAC_SHA2_384_192]: 'HMAC_SHA2_384_192 [RFC4868]',
  [IntegrityTransform.HMAC_SHA2_512_256]: 'HMAC_SHA2_512_256 [RFC4868]',
};

const ESP_ENCRYPTION: Readonly<Record<number, string>> = {
  [EncryptionTransform.NULL]: 'NULL',
  [EncryptionTransform.AES_CBC]: 'AES-CBC [RFC3602]',
  [EncryptionTransform.AES_GCM_8]: 'AES-GCM with 8 octet ICV [RFC4106]',
  [EncryptionTransform.AES_GCM_12]: 'AES-GCM with 12 octet ICV [RFC4106]',
  [EncryptionTransform.AES_GCM_16]: 'AES-GCM with 16 octet ICV [RFC4106]',
  [EncryptionTransform.CHACHA20_POLY1305]: 'ChaCha20 with Poly1305 [RFC7634]',
};

const ESP_INTEGRITY: Readonly<Record<number, string>> = {
  [IntegrityTransform.NONE]: 'NULL',
  [IntegrityTransform.HMAC_SHA1_96]: 'HMAC-SHA-1-96 [RFC2404]',
  [IntegrityTransform.HMAC_SHA2_256_128]: 'HMAC-SHA-256-128 [RFC4868]',
  [IntegrityTransform.HMAC_SHA2_384_192]: 'HMAC-SHA-384-192 [RFC4868]',
  [IntegrityTransform.HMAC_SHA2_512_256]: 'HMAC-SHA-512-256 [RFC4868]',
};

function unnamed(kind: 'encryption' | 'integrity', id: number): never {
  throw new UnsupportedAlgorithm(`Wireshark's tables have no name here for ${kind} transform ${id}`);
}
