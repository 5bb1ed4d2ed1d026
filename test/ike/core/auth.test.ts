import { describe, expect, it } from 'vitest';
import { nodeProvider } from '../../../src/crypto/node.ts';
import { type AuthInputs, createAuth, verifyAuth } from '../../../src/ike/auth.ts';
import type { ProvableAuthentication } from '../../../src/ike/config.ts';
import type { AuthPayload } from '../../../src/ike/payload/index.ts';
import { fromHex, utf8 } from '../../../src/wire/bytes.ts';
import { NULL_AUTH, sharedKey, signature } from '../../support/ike-configs.ts';
import { seededRandom } from '../../support/seeded-random.ts';

const crypto = nodeProvider(seededRandom(5));
const UNHEARD = { peerHashes: undefined };
const ALL = new Set([2, 3, 4, 5]);
const inputs: AuthInputs = {
  crypto,
  prf: 5,
  message: utf8('message'),
  nonce: crypto.random(32),
  skP: crypto.random(32),
  idBody: fromHex('0d000000'),
};
const ed25519 = signature(crypto);

const verify = (
  remote: ProvableAuthentication,
  auth: AuthPayload,
  hashes: ReadonlySet<number> | undefined = ALL,
) => verifyAuth(remote, auth, inputs, hashes);

describe('NULL authentication (RFC 7619)', () => {
  it('is computed with SK_p instead of a secret (rule 30)', () => {
    const auth = createAuth(NULL_AUTH, inputs, UNHEARD);
    const asShared = createAuth(
      { kind: 'shared-key', identity: { type: 13, data: utf8('') }, secret: inputs.skP },
      inputs,
      UNHEARD,
    );
    expect(auth).toEqual({ ...asShared, method: 13 });
    expect(verify(NULL_AUTH, auth)).toBe(true);
    expect(verify(NULL_AUTH, { ...auth, data: auth.data.with(0, auth.data[0] ^ 1) })).toBe(false);
    expect(verify(NULL_AUTH, { ...auth, method: 2 })).toBe(false);
  });

  it('does not do where a secret or a key is demanded', () => {
    const auth = createAuth(NULL_AUTH, inputs, UNHEARD);
    expect(verify(sharedKey('x').remote, auth)).toBe(false);
    expect(verify(ed25519.remote, auth)).toBe(false);
  });
});
