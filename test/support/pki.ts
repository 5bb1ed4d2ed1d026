import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { CryptoProvider, SigningKey } from '../../src/crypto/provider.ts';
import type { LocalAuthentication, RemoteAuthentication } from '../../src/ike/config.ts';
import { IdType } from '../../src/ike/constants.ts';
import { utf8 } from '../../src/wire/bytes.ts';

/** A day on which the certificates of fixtures/pki are valid that are not about dates. */
export const TODAY = Date.UTC(2026, 0, 1);

export type RelayName = 'relay-rsa' | 'relay-ecdsa' | 'relay-ed25519';

function file(name: string): string {
  return readFileSync(`fixtures/pki/${name}.pem`, 'utf8');
}

/** A certificate of fixtures/pki, DER. */
export function certificate(name: string): Uint8Array {
  return new Uint8Array(new X509Certificate(file(name)).raw);
}

/** The key of one that has its key there. */
export function relayKey(crypto: CryptoProvider, name: RelayName): SigningKey {
  const key = createPrivateKey(file(`${name}.key`));
  return crypto.signatures.fromPkcs8(new Uint8Array(key.export({ format: 'der', type: 'pkcs8' })));
}

/** A relay with its chain, and who trusts the root. */
export function certified(
  crypto: CryptoProvider,
  name: RelayName,
): {
  readonly local: Extract<LocalAuthentication, { readonly kind: 'signature' }>;
  readonly remote: Extract<RemoteAuthentication, { readonly kind: 'certificate' }>;
} {
  return {
    local: {
      kind: 'signature',
      identity: { type: IdType.ID_FQDN, data: utf8('relay.example') },
      key: relayKey(crypto, name),
      sendKey: false,
      certificates: [certificate(name), certificate('intermediate')],
    },
    remote: { kind: 'certificate', authorities: [certificate('root')], time: () => TODAY },
  };
}
