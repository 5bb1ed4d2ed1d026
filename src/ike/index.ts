/**
 * IKEv2 (RFC 7296) without sockets, clock or promises: `IkeLineage` is an IKE SA with its successors, `ResponderGate` stands before
 * those that others set up; and messages and proposals by themselves.
 * @module ike-telescope/ike
 */

export { AddressPool, type AddressPoolOptions } from '../cp/address-pool.ts';
export type { AddressAssigner, AddressRequest } from '../cp/assigner.ts';
export { type ConfigAttribute, ConfigAttributeType, ConfigType } from '../cp/attributes.ts';
export type { SelectorPair } from './child-sa.ts';
export type * from './config.ts';
export { AuthMethod, CertEncoding, ExchangeType, IdType, NotifyType, nameOf } from './constants.ts';
export {
  AuthenticationError,
  IkeError,
  LocalError,
  NoAnswerError,
  ProtocolError,
  RefusedError,
} from './errors.ts';
export type { HeaderFields, IkeHeader } from './header.ts';
export type { EspSaSecrets, IkeSaSecrets, KeyLog } from './key-log.ts';
export { IkeLineage } from './lineage.ts';
export {
  type DecodedPlain,
  type Discarded,
  decodePlain,
  encodePlain,
  peekHeader,
  type Understood,
} from './message.ts';
export type { ChildSaInfo, IkeEvent, Output, Peer } from './output.ts';
export * from './payload/index.ts';
export * from './proposal.ts';
export {
  type Admission,
  type Load,
  type PuzzlePolicy,
  ResponderGate,
  type ResponderGateConfig,
} from './responder-gate.ts';
export type { Role } from './sa-context.ts';
