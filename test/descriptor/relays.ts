import { nodeProvider } from '../../src/crypto/node.ts';
import type { SigningKey } from '../../src/crypto/provider.ts';
import {
  parseDescriptor,
  type RelayDescriptor,
  type RelayStatement,
  signDescriptor,
} from '../../src/descriptor/descriptor.ts';
import { type Address, parsePrefix } from '../../src/wire/address.ts';
import { ed25519Key } from '../support/signing-keys.ts';

export const crypto = nodeProvider();

export function signingKey(seed: number): SigningKey {
  return ed25519Key(crypto, seed);
}

export function statement(
  name: string,
  ip4: Address,
  pool4: string,
  more: Partial<RelayStatement> = {},
): RelayStatement {
  return {
    name,
    addresses: { ip4 },
    pools: { ip4: parsePrefix(pool4) },
    overlayMtu: 1446,
    exit: false,
    ...more,
  };
}

export function signed(seed: number, relay: RelayStatement): string {
  return signDescriptor(relay, signingKey(seed), crypto);
}

export function descriptor(seed: number, relay: RelayStatement): RelayDescriptor {
  return parseDescriptor(signed(seed, relay), crypto, `${relay.name}.yaml`);
}
