import { describe, expect, it } from 'vitest';
import type { LocalAuthentication, RemoteAuthentication } from '../../src/ike/config.ts';
import { AuthMethod, IdType } from '../../src/ike/constants.ts';
import { utf8 } from '../../src/wire/bytes.ts';
import {
  anonymousProfile,
  initiatorConfig,
  NULL_AUTH,
  responderConfig,
  sharedKey,
  signature,
} from '../support/ike-configs.ts';
import { Pair, testCrypto } from '../support/pair.ts';
import { expectEqualSas } from '../support/pair-assertions.ts';
import { certified } from '../support/pki.ts';

interface Way {
  readonly local: LocalAuthentication;
  readonly remote: RemoteAuthentication;
  readonly method: number;
}

const { provider } = testCrypto(91);
const { DIGITAL_SIGNATURE } = AuthMethod;
const rsa = signature(provider, 'rsa');
const withPkcs1 = { ...rsa.local, rsaPadding: 'pkcs1' } as typeof rsa.local;

const WAYS: Readonly<Record<string, Way>> = {
  NULL: { local: NULL_AUTH, remote: NULL_AUTH, method: AuthMethod.NULL },
  'a shared key': { ...sharedKey('secret', 'client.example'), method: AuthMethod.SHARED_KEY },
  Ed25519: { ...signature(provider), method: DIGITAL_SIGNATURE },
  'ECDSA P-256': { ...signature(provider, 'ecdsa-p256'), method: DIGITAL_SIGNATURE },
  'ECDSA P-384': { ...signature(provider, 'ecdsa-p384'), method: DIGITAL_SIGNATURE },
  'ECDSA P-521': { ...signature(provider, 'ecdsa-p521'), method: DIGITAL_SIGNATURE },
  'RSASSA-PSS': { ...rsa, method: DIGITAL_SIGNATURE },
  'RSA PKCS #1': { local: withPkcs1, remote: rsa.remote, method: DIGITAL_SIGNATURE },
  'a raw public key': { ...signature(provider, 'ed25519', true), method: DIGITAL_SIGNATURE },
  'an RSA certificate': { ...certified(provider, 'relay-rsa'), method: DIGITAL_SIGNATURE },
  'an ECDSA certificate': { ...certified(provider, 'relay-ecdsa'), method: DIGITAL_SIGNATURE },
  'an Ed25519 certificate': { ...certified(provider, 'relay-ed25519'), method: DIGITAL_SIGNATURE },
};

function identityOf(local: LocalAuthentication) {
  return local.kind === 'null' ? { type: IdType.ID_NULL, data: utf8('') } : local.identity;
}

describe.each(Object.keys(WAYS))('an initiator with %s', (ofInitiator) => {
  it.each(Object.keys(WAYS))('and a responder with %s know each other', (ofResponder) => {
    const [initiator, responder] = [WAYS[ofInitiator], WAYS[ofResponder]];
    const pair = new Pair({
      initiator: {
        ...initiatorConfig(provider, { local: NULL_AUTH, remote: NULL_AUTH }),
        local: initiator.local,
        remote: responder.remote,
      },
      responder: responderConfig(provider, {
        ...anonymousProfile({ local: responder.local, remote: NULL_AUTH }),
        remote: initiator.remote,
      }),
    }).run(1000);
    expectEqualSas(pair);
    const [seen, seeing] = [pair.initiator, pair.responder].map((end) => end.event('established').peer);
    expect(seen).toMatchObject({ identity: identityOf(responder.local), method: responder.method });
    expect(seeing).toMatchObject({ identity: identityOf(initiator.local), method: initiator.method });
    for (const [peer, { local }] of [
      [seen, responder],
      [seeing, initiator],
    ] as const) {
      expect(peer.publicKey).toEqual(local.kind === 'signature' ? local.key.publicKey : undefined);
    }
  });
});
