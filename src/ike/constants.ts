/** Exchange types (RFC 7296 3.1, RFC 9242). */
export const ExchangeType = {
  IKE_SA_INIT: 34,
  IKE_AUTH: 35,
  CREATE_CHILD_SA: 36,
  INFORMATIONAL: 37,
  IKE_INTERMEDIATE: 43,
} as const;

/** Authentication methods (RFC 7296 3.8, RFC 4754, RFC 7427, RFC 7619). */
export const AuthMethod = {
  RSA_SIGNATURE: 1,
  SHARED_KEY: 2,
  ECDSA_P256: 9,
  ECDSA_P384: 10,
  ECDSA_P521: 11,
  NULL: 13,
  DIGITAL_SIGNATURE: 14,
} as const;

/** Identification types (RFC 7296 3.5, RFC 7619). */
export const IdType = {
  ID_IPV4_ADDR: 1,
  ID_FQDN: 2,
  ID_RFC822_ADDR: 3,
  ID_IPV6_ADDR: 5,
  ID_DER_ASN1_DN: 9,
  ID_DER_ASN1_GN: 10,
  ID_KEY_ID: 11,
  ID_NULL: 13,
} as const;

/** Certificate encodings: raw public key (RFC 7670), X.509. */
export const CertEncoding = { X509_SIGNATURE: 4, RAW_PUBLIC_KEY: 15 } as const;

/** Notify message types (RFC 7296 3.10.1 and extensions). Below 16384: errors. */
export const NotifyType = {
  UNSUPPORTED_CRITICAL_PAYLOAD: 1,
  INVALID_IKE_SPI: 4,
  INVALID_MAJOR_VERSION: 5,
  INVALID_SYNTAX: 7,
  INVALID_MESSAGE_ID: 9,
  INVALID_SPI: 11,
  NO_PROPOSAL_CHOSEN: 14,
  INVALID_KE_PAYLOAD: 17,
  AUTHENTICATION_FAILED: 24,
  SINGLE_PAIR_REQUIRED: 34,
  NO_ADDITIONAL_SAS: 35,
  INTERNAL_ADDRESS_FAILURE: 36,
  FAILED_CP_REQUIRED: 37,
  TS_UNACCEPTABLE: 38,
  INVALID_SELECTORS: 39,
  UNACCEPTABLE_ADDRESSES: 40,
  TEMPORARY_FAILURE: 43,
  CHILD_SA_NOT_FOUND: 44,
  INITIAL_CONTACT: 16384,
  SET_WINDOW_SIZE: 16385,
  ADDITIONAL_TS_POSSIBLE: 16386,
  NAT_DETECTION_SOURCE_IP: 16388,
  NAT_DETECTION_DESTINATION_IP: 16389,
  COOKIE: 16390,
  USE_TRANSPORT_MODE: 16391,
  REKEY_SA: 16393,
  ESP_TFC_PADDING_NOT_SUPPORTED: 16394,
  AUTH_LIFETIME: 16403,
  CHILDLESS_IKEV2_SUPPORTED: 16418,
  MOBIKE_SUPPORTED: 16396,
  UPDATE_SA_ADDRESSES: 16400,
  COOKIE2: 16401,
  IKEV2_FRAGMENTATION_SUPPORTED: 16430,
  SIGNATURE_HASH_ALGORITHMS: 16431,
  PUZZLE: 16434,
  USE_PPK: 16435,
  PPK_IDENTITY: 16436,
  NO_PPK_AUTH: 16437,
  INTERMEDIATE_EXCHANGE_SUPPORTED: 16438,
  SUPPORTED_AUTH_METHODS: 16443,
} as const;

/** Hash algorithms of SIGNATURE_HASH_ALGORITHMS (RFC 7427 7, RFC 8420 2). */
export const SignatureHash = { SHA1: 1, SHA2_256: 2, SHA2_384: 3, SHA2_512: 4, IDENTITY: 5 } as const;

/** The IANA name of a constant, or its number: for messages to people. */
export function nameOf(registry: Readonly<Record<string, number>>, value: number): string {
  for (const name in registry) if (registry[name] === value) return name;
  return String(value);
}
