import { compareBytes, fromHex } from '../wire/bytes.ts';
import { ECP_ORDERS } from './groups.ts';
import type { KeyType } from './provider.ts';

/** Key types whose keys are octets of a fixed number. */
export type CurveKeyType = Exclude<KeyType, 'rsa'>;

/** How the keys of one curve are written. */
export interface SigningCurve {
  /** The algorithm's OID and parameters, whole (RFC 8410 3, RFC 5480 2.1.1). */
  readonly identifier: Uint8Array;
  /** Octets of a private key. */
  readonly secretLength: number;
  /** ECDSA: what private keys are smaller than. */
  readonly order?: Uint8Array;
}

/** The curves that we sign on: RFC 8032, and those of RFC 4754. */
export const SIGNING_CURVES: Readonly<Record<CurveKeyType, SigningCurve>> = {
  ed25519: { identifier: fromHex('300506032b6570'), secretLength: 32 },
  'ecdsa-p256': {
    identifier: fromHex('301306072a8648ce3d020106082a8648ce3d030107'),
    secretLength: 32,
    order: ECP_ORDERS['P-256'],
  },
  'ecdsa-p384': {
    identifier: fromHex('301006072a8648ce3d020106052b81040022'),
    secretLength: 48,
    order: ECP_ORDERS['P-384'],
  },
  'ecdsa-p521': {
    identifier: fromHex('301006072a8648ce3d020106052b81040023'),
    secretLength: 66,
    order: ECP_ORDERS['P-521'],
  },
};

/** All of them. */
export const CURVE_KEY_TYPES = Object.keys(SIGNING_CURVES) as readonly CurveKeyType[];

/** Whether these octets are a private key: of the right length, and for ECDSA 0 < d < n. */
export function isSecretOf({ secretLength, order }: SigningCurve, secret: Uint8Array): boolean {
  if (secret.length !== secretLength) return false;
  return order === undefined || (secret.some((octet) => octet !== 0) && compareBytes(secret, order) < 0);
}
