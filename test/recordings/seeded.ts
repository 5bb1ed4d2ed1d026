import { createPrivateKey, createPublicKey } from 'node:crypto';
import { nobleProvider } from '../../src/crypto/noble.ts';
import { nodeProvider } from '../../src/crypto/node.ts';
import type { CryptoProvider } from '../../src/crypto/provider.ts';
import { type KeySource, keyFiles } from '../interop/authentications.ts';
import { seededRandom } from '../support/seeded-random.ts';

/** The noble provider, whose octets follow from the seed; what it cannot verify, certificates and RSA, node:crypto does. */
export function seededCrypto(seed: number): CryptoProvider {
  const noble = nobleProvider(seededRandom(seed));
  const { signatures, certificates } = nodeProvider();
  const { verify, keyTypeOf } = signatures;
  return { ...noble, signatures: { ...noble.signatures, verify, keyTypeOf }, certificates };
}

/** Raw keys that follow from the seed; none of RSA. */
export function seededKeys(seed: number): KeySource {
  const { generate } = nobleProvider(seededRandom(-seed)).signatures;
  return (type) => {
    if (type === 'rsa')
      throw new Error('an RSA key does not follow from a seed: record another authentication');
    const { secret, publicKey } = generate(type);
    return keyFiles(type, {
      privateKey: createPrivateKey({ key: Buffer.from(secret), format: 'der', type: 'pkcs8' }),
      publicKey: createPublicKey({ key: Buffer.from(publicKey), format: 'der', type: 'spki' }),
    });
  };
}
