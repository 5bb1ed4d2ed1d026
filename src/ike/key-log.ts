import type { ProtectionKeys, ProtectionSuite } from '../crypto/provider.ts';
import type { EspSuite, SaParameters } from '../link/sa-store.ts';
import type { Address } from '../wire/address.ts';

/** The keys of an IKE SA (RFC 7296 2.14); `initiator` protects what the original initiator sends. */
export interface IkeSaSecrets {
  /** The original initiator's: 8 octets. */
  readonly spiI: Uint8Array;
  /** The original responder's: 8 octets. */
  readonly spiR: Uint8Array;
  /** The algorithms that the keys are for. */
  readonly suite: ProtectionSuite;
  /** SK_ei with its salt, and SK_ai. */
  readonly initiator: ProtectionKeys;
  /** SK_er with its salt, and SK_ar. */
  readonly responder: ProtectionKeys;
}

/** The keys of one direction of a Child SA (RFC 7296 2.17). */
export interface EspSaSecrets {
  /** Who sends on it. */
  readonly source: Address;
  /** Who receives on it. */
  readonly destination: Address;
  /** The receiver's. */
  readonly spi: number;
  /** Its algorithms. */
  readonly suite: EspSuite;
  /** The key of its cipher with the salt, and that of its integrity algorithm. */
  readonly keys: ProtectionKeys;
}

/**
 * Is told all keys as they are derived, so that captures can be read: whoever has them sees everything. Calls must not throw,
 * and copy what they keep, for keys are overwritten.
 */
export interface KeyLog {
  /** Those of a new IKE SA. */
  ikeSa(secrets: IkeSaSecrets): void;
  /** Those of one direction of a new Child SA. */
  espSa(secrets: EspSaSecrets): void;
}

/** Tells of both directions of a Child SA. */
export function logChildKeys(log: KeyLog | undefined, inbound: SaParameters, outbound: SaParameters): void {
  const { address: peer, localAddress: local } = inbound.path;
  log?.espSa({ source: peer, destination: local, ...inbound });
  log?.espSa({ source: local, destination: peer, ...outbound });
}
