/**
 * Algorithms behind one interface, `CryptoProvider`, their IANA numbers, and the provider that is pure TypeScript; that over
 * node:crypto is `ike-telescope/crypto/node`.
 * @module ike-telescope/crypto
 */

export { nobleProvider } from './noble.ts';
export * from './provider.ts';
export {
  EncryptionTransform,
  IntegrityTransform,
  KeyExchangeMethod,
  PrfTransform,
  SequenceNumbers,
  TransformType,
} from './transforms.ts';
