import type { ConfigAttribute } from '../../cp/attributes.ts';
import type { TrafficSelector } from '../../wire/traffic-selector.ts';

/** Payload types (RFC 7296 3.2, RFC 7383, RFC 8019). */
export const PayloadType = {
  NONE: 0,
  SA: 33,
  KE: 34,
  IDi: 35,
  IDr: 36,
  CERT: 37,
  CERTREQ: 38,
  AUTH: 39,
  NONCE: 40,
  NOTIFY: 41,
  DELETE: 42,
  VENDOR_ID: 43,
  TSi: 44,
  TSr: 45,
  SK: 46,
  CP: 47,
  EAP: 48,
  SKF: 53,
  PS: 54,
} as const;

/** Protocol identifiers of proposals, notifies and deletes (RFC 7296 3.3.1). */
export const ProtocolId = { NONE: 0, IKE: 1, AH: 2, ESP: 3 } as const;

/** One transform of a proposal (RFC 7296 3.3.2). */
export interface Transform {
  /** Of `TransformType`. */
  readonly type: number;
  /** Of the algorithms of that type. */
  readonly id: number;
  /** The Key Length attribute, in bits; undefined if absent. */
  readonly keyLength?: number;
  /** Received with an attribute other than Key Length: never chosen (RFC 7296 3.3.6). Not encoded. */
  readonly unsupported?: boolean;
}

/** A proposal as it is on the wire (RFC 7296 3.3.1). */
export interface ProposalPayload {
  /** Counted from 1 in an offer; that of the accepted one in an answer. */
  readonly number: number;
  /** Of `ProtocolId`: what the SA is to be. */
  readonly protocol: number;
  /** The sender's; empty in IKE_SA_INIT. */
  readonly spi: Uint8Array;
  /** Those of one type are alternatives. */
  readonly transforms: readonly Transform[];
}

/** Security Association (RFC 7296 3.3). */
export interface SaPayload {
  readonly kind: 'SA';
  /** Offered, in order of preference, or the one that is accepted. */
  readonly proposals: readonly ProposalPayload[];
}

/** Key Exchange (RFC 7296 3.4). */
export interface KePayload {
  readonly kind: 'KE';
  /** Its transform id. */
  readonly method: number;
  /** The sender's value: `KeyExchange.publicValue`. */
  readonly data: Uint8Array;
}

/** Identification (RFC 7296 3.5). */
export interface IdPayload<Kind extends 'IDi' | 'IDr' = 'IDi' | 'IDr'> {
  /** Whose: the initiator's or the responder's. */
  readonly kind: Kind;
  /** Of `IdType`. */
  readonly type: number;
  /** Identification Data. */
  readonly data: Uint8Array;
  /** The payload body as sent or received (type, RESERVED, data): AUTH covers it (RFC 7296 2.15). */
  readonly body: Uint8Array;
}

/** Certificate (RFC 7296 3.6). */
export interface CertPayload {
  readonly kind: 'CERT';
  /** Of `CertEncoding`. */
  readonly encoding: number;
  /** Certificate Data: a certificate or a raw public key, DER. */
  readonly data: Uint8Array;
}

/** Certificate Request (RFC 7296 3.7). */
export interface CertReqPayload {
  readonly kind: 'CERTREQ';
  /** Of `CertEncoding`. */
  readonly encoding: number;
  /** Certification Authority: SHA-1 hashes of the authorities' keys. */
  readonly data: Uint8Array;
}

/** Authentication (RFC 7296 3.8). */
export interface AuthPayload {
  readonly kind: 'AUTH';
  /** Of `AuthMethod`. */
  readonly method: number;
  /** Authentication Data. */
  readonly data: Uint8Array;
}

/** Nonce (RFC 7296 3.9). */
export interface NoncePayload {
  readonly kind: 'NONCE';
  /** 16 to 256 octets. */
  readonly data: Uint8Array;
}

/** Notify (RFC 7296 3.10). */
export interface NotifyPayload {
  readonly kind: 'NOTIFY';
  /** Of `ProtocolId`: what `spi` is of; NONE if there is none. */
  readonly protocol: number;
  /** The SA that it is about; empty if it is about the IKE SA. */
  readonly spi: Uint8Array;
  /** Of `NotifyType`; errors are under 16384. */
  readonly type: number;
  /** Notification Data. */
  readonly data: Uint8Array;
}

/** Delete (RFC 7296 3.11). */
export interface DeletePayload {
  readonly kind: 'DELETE';
  /** Of `ProtocolId`: what SAs are deleted. */
  readonly protocol: number;
  /** The sender's, of the SAs that it receives on. Empty for the IKE SA itself. */
  readonly spis: readonly Uint8Array[];
}

/** Vendor ID (RFC 7296 3.12). */
export interface VendorIdPayload {
  readonly kind: 'VENDOR_ID';
  /** Whatever a vendor has chosen. */
  readonly data: Uint8Array;
}

/** Traffic Selectors (RFC 7296 3.13). */
export interface TsPayload<Kind extends 'TSi' | 'TSr' = 'TSi' | 'TSr'> {
  /** Whose side of the tunnel: the exchange's initiator's or its responder's. */
  readonly kind: Kind;
  /** What the tunnel may carry. */
  readonly selectors: readonly TrafficSelector[];
}

/** Configuration (RFC 7296 3.15). */
export interface ConfigPayload {
  readonly kind: 'CP';
  /** Of `ConfigType`. */
  readonly type: number;
  /** In order. */
  readonly attributes: readonly ConfigAttribute[];
}

/** Puzzle Solution (RFC 8019 8.2). */
export interface PuzzleSolutionPayload {
  readonly kind: 'PS';
  /** Four keys, one after the other. */
  readonly data: Uint8Array;
}

/** A payload whose type this project does not interpret. */
export interface UnknownPayload {
  readonly kind: 'UNKNOWN';
  /** Its payload type. */
  readonly type: number;
  /** Its critical bit: who does not know the type has to refuse the message (RFC 7296 2.5). */
  readonly critical: boolean;
  /** Its body. */
  readonly data: Uint8Array;
}

/** A decoded payload, discriminated by `kind`. SK and SKF are containers and handled by message.ts. */
export type Payload =
  | SaPayload
  | KePayload
  | IdPayload<'IDi'>
  | IdPayload<'IDr'>
  | CertPayload
  | CertReqPayload
  | AuthPayload
  | NoncePayload
  | NotifyPayload
  | DeletePayload
  | VendorIdPayload
  | TsPayload<'TSi'>
  | TsPayload<'TSr'>
  | ConfigPayload
  | PuzzleSolutionPayload
  | UnknownPayload;
