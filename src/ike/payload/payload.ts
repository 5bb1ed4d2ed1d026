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

/** One transform of a proposal. `keyLength` (bits) is the Key Length attribute; undefined if absent. */
export interface Transform {
  readonly type: number;
  readonly id: number;
  readonly keyLength?: number;
  /** Received with an attribute other than Key Length: never chosen (RFC 7296 3.3.6). Not encoded. */
  readonly unsupported?: boolean;
}

/** A proposal as it is on the wire (RFC 7296 3.3.1). The SPI is empty in IKE_SA_INIT. */
export interface ProposalPayload {
  readonly number: number;
  readonly protocol: number;
  readonly spi: Uint8Array;
  readonly transforms: readonly Transform[];
}

export interface SaPayload {
  readonly kind: 'SA';
  readonly proposals: readonly ProposalPayload[];
}
export interface KePayload {
  readonly kind: 'KE';
  readonly method: number;
  readonly data: Uint8Array;
}
/** `body` is the payload body as sent or received (type, RESERVED, data): AUTH covers it (RFC 7296 2.15). */
export interface IdPayload<Kind extends 'IDi' | 'IDr' = 'IDi' | 'IDr'> {
  readonly kind: Kind;
  readonly type: number;
  readonly data: Uint8Array;
  readonly body: Uint8Array;
}
export interface CertPayload {
  readonly kind: 'CERT';
  readonly encoding: number;
  readonly data: Uint8Array;
}
export interface CertReqPayload {
  readonly kind: 'CERTREQ';
  readonly encoding: number;
  readonly data: Uint8Array;
}
export interface AuthPayload {
  readonly kind: 'AUTH';
  readonly method: number;
  readonly data: Uint8Array;
}
export interface NoncePayload {
  readonly kind: 'NONCE';
  readonly data: Uint8Array;
}
export interface NotifyPayload {
  readonly kind: 'NOTIFY';
  readonly protocol: number;
  readonly spi: Uint8Array;
  readonly type: number;
  readonly data: Uint8Array;
}
export interface DeletePayload {
  readonly kind: 'DELETE';
  readonly protocol: number;
  /** Empty for the IKE SA itself. */
  readonly spis: readonly Uint8Array[];
}
export interface VendorIdPayload {
  readonly kind: 'VENDOR_ID';
  readonly data: Uint8Array;
}
export interface TsPayload<Kind extends 'TSi' | 'TSr' = 'TSi' | 'TSr'> {
  readonly kind: Kind;
  readonly selectors: readonly TrafficSelector[];
}
export interface ConfigPayload {
  readonly kind: 'CP';
  readonly type: number;
  readonly attributes: readonly ConfigAttribute[];
}
export interface PuzzleSolutionPayload {
  readonly kind: 'PS';
  readonly data: Uint8Array;
}
/** A payload whose type this project does not interpret. */
export interface UnknownPayload {
  readonly kind: 'UNKNOWN';
  readonly type: number;
  readonly critical: boolean;
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
