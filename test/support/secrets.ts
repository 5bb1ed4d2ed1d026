import { vi } from 'vitest';
import type { CryptoProvider, KeyExchange } from '../../src/crypto/provider.ts';

/** The shared secrets that initiators of key exchanges get from now on, as they are: overwritten ones are zeros. */
export function sharedSecrets(provider: CryptoProvider): readonly Uint8Array[] {
  const secrets: Uint8Array[] = [];
  const start = provider.keyExchange;
  vi.spyOn(provider, 'keyExchange').mockImplementation((method): KeyExchange => {
    const inner = start(method);
    const agree = (value: Uint8Array) => {
      const secret = inner.agree(value);
      secrets.push(secret);
      return secret;
    };
    return { method, publicValue: inner.publicValue, agree, destroy: () => inner.destroy() };
  });
  return secrets;
}

/** Whether nothing is left of any of them. */
export function areZero(secrets: readonly Uint8Array[]): boolean {
  return secrets.every((secret) => secret.every((octet) => octet === 0));
}
