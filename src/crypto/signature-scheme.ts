import { type KeyType, type SignatureScheme, UnsupportedAlgorithm } from './provider.ts';

/** Ed25519 over the message as it is (RFC 8032 5.1, RFC 8420). */
export const ED25519: SignatureScheme = { kind: 'ed25519' };

/** Whether keys of `type` sign by `scheme`. */
export function signsBy(type: KeyType, { kind }: SignatureScheme): boolean {
  switch (kind) {
    case 'ed25519':
      return type === 'ed25519';
    case 'ecdsa':
      return type.startsWith('ecdsa-');
    case 'rsa-pkcs1':
    case 'rsa-pss':
      return type === 'rsa';
  }
}

/** @throws UnsupportedAlgorithm if they do not */
export function expectSignsBy(type: KeyType, scheme: SignatureScheme): void {
  if (!signsBy(type, scheme))
    throw new UnsupportedAlgorithm(`a key of type ${type} does not sign by ${scheme.kind}`);
}
