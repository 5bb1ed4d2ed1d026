import { nodeProvider } from './node.ts';
import type { CryptoProvider } from './provider.ts';

/** The provider to use when nothing else is asked for: node:crypto. */
export function defaultProvider(): CryptoProvider {
  return nodeProvider();
}
