import { describe, expect, it } from 'vitest';
import { nobleProvider } from '../../src/crypto/noble.ts';
import { nodeProvider } from '../../src/crypto/node.ts';
import type { ResponderProfile } from '../../src/ike/config.ts';
import { AuthMethod, IdType } from '../../src/ike/constants.ts';
import type { Transform } from '../../src/ike/payload/index.ts';
import { hex } from '../../src/wire/bytes.ts';
import { anySelector } from '../../src/wire/traffic-selector.ts';
import {
  anonymousProfile,
  type Credentials,
  initiatorConfig,
  NULL_AUTH,
  responderConfig,
  sharedKey,
  signature,
} from '../support/ike-configs.ts';
import { Pair, testCrypto } from '../support/pair.ts';
import { expectEqualSas } from '../support/pair-assertions.ts';
import { seededRandom } from '../support/seeded-random.ts';

const { provider } = testCrypto(1);
const encr = (id: number, keyLength?: number): Transform => ({
  type: 1,
  id,
  ...(keyLength !== undefined && { keyLength }),
});
const INTEG: Transform = { type: 3, id: 12 };
const esn = (id: number): Transform => ({ type: 5, id });

const AUTHENTICATIONS: readonly [string, Credentials, Credentials][] = [
  ['NULL both ways', { local: NULL_AUTH, remote: NULL_AUTH }, { local: NULL_AUTH, remote: NULL_AUTH }],
  ['NULL and Ed25519', { local: NULL_AUTH, remote: NULL_AUTH }, signature(provider)],
  ['NULL and ECDSA', { local: NULL_AUTH, remote: NULL_AUTH }, signature(provider, 'ecdsa-p256')],
  ['shared key', sharedKey('one', 'a'), sharedKey('one', 'b')],
  ['shared key and Ed25519', sharedKey('public'), signature(provider, 'ed25519', true)],
  ['Ed25519 and ECDSA', signature(provider), signature(provider, 'ecdsa-p256', true)],
];

function profileOf(initiator: Credentials, responder: Credentials): ResponderProfile {
  return { ...anonymousProfile(responder), remote: initiator.remote };
}

describe('IKE_SA_INIT and IKE_AUTH', () => {
  it.each(AUTHENTICATIONS)('authenticate with %s', (_, initiator, responder) => {
    const pair = new Pair({
      initiator: { ...initiatorConfig(provider, responder), local: initiator.local },
      responder: responderConfig(provider, profileOf(initiator, responder)),
    }).run(5000);
    expect(pair.initiator.eventTypes).toEqual(['established', 'child-established']);
    expect(pair.responder.eventTypes).toEqual(['established', 'child-established']);
    expect(pair.initiator.ike.exchanges).toBe(2);
    expect(pair.sent).toHaveLength(4);
    expectEqualSas(pair);
    const { peer } = pair.initiator.event('established');
    const client = pair.responder.event('established').peer;
    expect(client.profile).toBe('anonymous');
    for (const [seen, { local, remote }] of [
      [peer, responder],
      [client, initiator],
    ] as const) {
      expect(seen.identity).toEqual(
        local.kind === 'null' ? { type: IdType.ID_NULL, data: new Uint8Array(0) } : local.identity,
      );
      expect(seen.publicKey).toEqual(remote.kind === 'signature' ? remote.publicKey : undefined);
      expect(seen.method).toBe(
        {
          null: AuthMethod.NULL,
          'shared-key': AuthMethod.SHARED_KEY,
          signature: AuthMethod.DIGITAL_SIGNATURE,
        }[local.kind],
      );
    }
  });

  const SUITES: readonly [string, readonly Transform[]][] = [
    ['AES-GCM-256', [encr(20, 256)]],
    ['AES-GCM-128', [encr(20, 128)]],
    ['ChaCha20-Poly1305', [encr(28)]],
    ['AES-CBC-256 with HMAC', [encr(12, 256), INTEG]],
    ['AES-CBC-128 with HMAC', [encr(12, 128), INTEG]],
  ];
  const PRFS = [5, 6, 7];
  const GROUPS = [31, 19, 14];
  const matrix = SUITES.flatMap(([name, transforms], i) =>
    GROUPS.map((group, j) => [name, PRFS[(i + j) % 3], group, (i + j) % 2, transforms] as const),
  );

  it.each(matrix)('agree on %s, PRF %i, group %i, ESN %i', (_, prf, group, sequence, transforms) => {
    const relay = signature(provider);
    const suites = {
      ikeProposals: [{ transforms: [...transforms, { type: 2, id: prf }, { type: 4, id: group }] }],
      childProposals: [{ transforms: [...transforms, esn(sequence)] }],
    };
    const pair = new Pair({
      initiator: { ...initiatorConfig(nobleProvider(seededRandom(2)), relay), ...suites },
      responder: responderConfig(nodeProvider(seededRandom(3)), anonymousProfile(relay)),
    }).run(5000);
    expectEqualSas(pair);
    expect(pair.initiator.event('child-established').child.suite).toEqual({
      encryption: transforms[0].id,
      keyLength: transforms[0].keyLength ?? 256,
      integrity: transforms[1]?.id ?? 0,
      esn: sequence === 1,
    });
    expect(pair.initiator.ike.exchanges).toBe(2);
  });

  it('assign the address and narrow TSi to it', () => {
    const relay = signature(provider);
    const pair = new Pair({
      initiator: initiatorConfig(provider, relay),
      responder: responderConfig(provider, anonymousProfile(relay)),
    }).run(5000);
    const { child } = pair.initiator.event('child-established');
    expect(child.assigned?.ip4).toMatch(/^10\.9\.0\./);
    expect(child.assigned?.dns).toEqual(['10.9.0.53']);
    const [local] = child.tunnel.local;
    expect(child.tunnel.local).toHaveLength(1);
    expect(local.startAddress).toEqual(local.endAddress);
    expect(Array.from(local.startAddress).join('.')).toBe(child.assigned?.ip4);
    expect(child.tunnel.remote).toEqual([anySelector(4)]);
    expect(child.tunnel.id).toBe(`${pair.initiator.ike.localSpi}/1`);
  });

  it('install the inbound SA first, and at the responder before the response', () => {
    const relay = signature(provider);
    const pair = new Pair({
      initiator: initiatorConfig(provider, relay),
      responder: responderConfig(provider, anonymousProfile(relay)),
    });
    pair.responderStore.delay = () => 5000;
    pair.run(4900);
    expect(pair.responder.eventTypes).toEqual(['established']);
    // Repetitions of the request are absorbed: nothing has been answered but IKE_SA_INIT.
    expect(pair.sent.filter(({ from }) => from === 'responder')).toHaveLength(1);
    expect(pair.sent.filter(({ from }) => from === 'initiator').length).toBeGreaterThan(3);
    pair.run(60_000);
    expectEqualSas(pair);
    expect(pair.responderStore.log.map(({ kind }) => kind)).toEqual(['reserve', 'inbound', 'outbound']);
    expect(pair.initiator.store.log.map(({ kind }) => kind)).toEqual(['reserve', 'inbound', 'outbound']);
    const responses = pair.sent.filter(({ from, message }) => from === 'responder' && message[18] === 35);
    expect(new Set(responses.map(({ message }) => hex(message))).size).toBe(1);
  });

  it('raise INITIAL_CONTACT only for an authenticated peer of a profile that has a contact key', () => {
    const relay = signature(provider);
    const client = signature(provider);
    for (const [initiator, contactKey, raised] of [
      [client, 'peer', true],
      [client, undefined, false],
      [{ local: NULL_AUTH, remote: NULL_AUTH }, 'peer', false],
    ] as const) {
      const profile = { ...profileOf(initiator, relay), ...(contactKey !== undefined && { contactKey }) };
      const pair = new Pair({
        initiator: { ...initiatorConfig(provider, relay), local: initiator.local, initialContact: true },
        responder: responderConfig(provider, profile),
      }).run(5000);
      expect(pair.responder.eventTypes.includes('initial-contact')).toBe(raised);
    }
  });
});
