import { describe, expect, it } from 'vitest';
import type { LocalAuthentication, PeerClaim, RemoteAuthentication } from '../../src/ike/config.ts';
import { AuthMethod, NotifyType } from '../../src/ike/constants.ts';
import { AuthenticationError, LocalError, RefusedError } from '../../src/ike/errors.ts';
import { fromHex, hex } from '../../src/wire/bytes.ts';
import { anySelector } from '../../src/wire/traffic-selector.ts';
import {
  anonymousProfile,
  initiatorConfig,
  NULL_AUTH,
  responderConfig,
  sharedKey,
  signature,
} from '../support/ike-configs.ts';
import { names, Pair, testCrypto } from '../support/pair.ts';
import { expectNothingLeft } from '../support/pair-assertions.ts';

const crypto = testCrypto(21);
const { provider } = crypto;
const relay = signature(provider);
const other = signature(provider);
const p256 = signature(provider, 'ecdsa-p256');

describe('the initiator', () => {
  const impostors: readonly [string, LocalAuthentication, RemoteAuthentication][] = [
    ['another key', other.local, relay.remote],
    ['a key of another algorithm', p256.local, relay.remote],
    ['NULL instead of a signature', NULL_AUTH, relay.remote],
    ['a shared key instead of a signature', sharedKey('x').local, relay.remote],
    ['another shared key', sharedKey('x').local, sharedKey('y').remote],
    ['a signature instead of NULL', relay.local, NULL_AUTH],
    ['NULL instead of a shared key', NULL_AUTH, sharedKey('y').remote],
  ];

  it.each(impostors)('refuses a responder with %s, tells it, and installs nothing', (_, local, remote) => {
    const pair = new Pair({
      initiator: { ...initiatorConfig(provider, relay), remote },
      responder: responderConfig(provider, { ...anonymousProfile(relay), local }),
    }).run(5000);
    expect(pair.initiator.eventTypes).toEqual(['closed']);
    expect(pair.initiator.ending).toBeInstanceOf(AuthenticationError);
    const { log } = pair.initiator.store;
    expect(log).toMatchObject([{ kind: 'reserve' }, { kind: 'remove', direction: 'inbound' }]);
    expect(log[1]).not.toHaveProperty('tunnelId');
    const requests = pair.sent.filter(({ from }) => from === 'initiator');
    expect(names(crypto.read(requests.at(-1)!.message))).toEqual(['N(AUTHENTICATION_FAILED)']);
    expect(pair.responder.ending).toMatchObject({ notify: NotifyType.AUTHENTICATION_FAILED });
    expectNothingLeft(pair);
  });

  it('deletes the IKE SA when its own policy refuses the answer', () => {
    const pair = new Pair({
      initiator: {
        ...initiatorConfig(provider, relay),
        acceptChild: () => 'TSi is not the assigned address',
      },
      responder: responderConfig(provider, anonymousProfile(relay)),
    }).run(5000);
    expect(pair.initiator.eventTypes).toEqual(['closed']);
    expect(pair.initiator.ending).toBeInstanceOf(LocalError);
    expect(pair.initiator.ending?.message).toBe('TSi is not the assigned address');
    expect(pair.responder.eventTypes).toEqual(['established', 'child-established', 'closed']);
    expect(pair.responder.ending).toBeUndefined();
    expectNothingLeft(pair);
  });

  it('does not ask its policy before the responder is authenticated (rule 37)', () => {
    let asked = 0;
    const acceptChild = () => {
      asked++;
      return undefined;
    };
    const pair = new Pair({
      initiator: { ...initiatorConfig(provider, relay), acceptChild },
      responder: responderConfig(provider, { ...anonymousProfile(relay), local: other.local }),
    }).run(5000);
    expect(asked).toBe(0);
    expectNothingLeft(pair);
  });

  it('still fails with the reason when nobody answers its farewell', () => {
    const pair = new Pair({
      initiator: initiatorConfig(provider, relay),
      responder: responderConfig(provider, { ...anonymousProfile(relay), local: other.local }),
      network: ({ message }) => (message[18] === 37 ? [] : [20]),
    }).run(2200);
    expect(pair.initiator.ending).toBeInstanceOf(AuthenticationError);
    expect(pair.initiator.store.isEmpty).toBe(true);
  });
});

describe('the responder', () => {
  const impostors: readonly [string, LocalAuthentication, RemoteAuthentication][] = [
    ['another key', other.local, relay.remote],
    ['NULL where an identity is demanded', NULL_AUTH, relay.remote],
    ['NULL where a shared key is demanded', NULL_AUTH, sharedKey('y').remote],
    ['a shared key where NULL is the profile', sharedKey('y').local, NULL_AUTH],
    ['another shared key', sharedKey('x').local, sharedKey('y').remote],
    ['an ECDSA key for an Ed25519 one', p256.local, relay.remote],
  ];

  it.each(impostors)('refuses an initiator with %s', (_, local, remote) => {
    const pair = new Pair({
      initiator: { ...initiatorConfig(provider, relay), local },
      responder: responderConfig(provider, { ...anonymousProfile(relay), remote }),
    }).run(5000);
    expect(pair.responder.eventTypes).toEqual(['closed']);
    expect(pair.responder.ending).toBeInstanceOf(AuthenticationError);
    expect(pair.responderStore.log).toEqual([]);
    expect(pair.initiator.ending).toBeInstanceOf(RefusedError);
    expect(pair.initiator.ending).toMatchObject({ notify: NotifyType.AUTHENTICATION_FAILED });
    expectNothingLeft(pair);
  });

  it('is asked for the profile with the claim as it was made, and refuses without one', () => {
    const client = signature(provider, 'ed25519', true);
    const claims: PeerClaim[] = [];
    const pair = new Pair({
      initiator: { ...initiatorConfig(provider, relay), local: client.local },
      responder: {
        ...responderConfig(provider, anonymousProfile(relay)),
        profile: (claim) => {
          claims.push(claim);
          return undefined;
        },
      },
    }).run(5000);
    expect(claims).toHaveLength(1);
    expect(claims[0]).toMatchObject({
      method: AuthMethod.DIGITAL_SIGNATURE,
      publicKey: client.remote.kind === 'signature' && client.remote.publicKey,
      origin: { address: '198.51.100.1', port: 500 },
    });
    expect(pair.initiator.ending).toMatchObject({ notify: NotifyType.AUTHENTICATION_FAILED });
    expectNothingLeft(pair);
  });

  it('says so when it has no signature that the initiator verifies', () => {
    const pair = new Pair({
      initiator: initiatorConfig(provider, relay),
      responder: responderConfig(provider, anonymousProfile(relay)),
      network: ({ message }) => {
        // Octets that the initiator still has itself: its AUTH payload covers the change.
        const at = hex(message).indexOf('0002000300040005') / 2;
        if (at > 0) message.set(fromHex('0001'), at + 6);
        return [20];
      },
    }).run(5000);
    expect(pair.responder.eventTypes).toEqual(['closed']);
    expect(pair.responder.ending).toBeInstanceOf(LocalError);
    expect(pair.responder.ending?.message).toContain('ed25519');
    expect(pair.initiator.ending).toMatchObject({ notify: NotifyType.AUTHENTICATION_FAILED });
    expectNothingLeft(pair);
  });

  it('drops an initiator that does not come to IKE_AUTH', () => {
    const pair = new Pair({
      initiator: initiatorConfig(provider, relay),
      responder: responderConfig(provider, anonymousProfile(relay)),
      network: ({ message }) => (message[18] === 34 ? [20] : []),
    });
    pair.run(29_000);
    expect(pair.responder.ike.closed).toBe(false);
    pair.run();
    expect(pair.responder.eventTypes).toEqual(['closed']);
    expectNothingLeft(pair);
  });
});

describe('a Child SA that fails', () => {
  const noAddresses = { assign: () => undefined, release: () => {} };

  it.each([
    [
      'without CFG_REQUEST',
      'FAILED_CP_REQUIRED',
      { child: { tsI: [anySelector(4)], tsR: [anySelector(4)] } },
      {},
    ],
    ['without an address left', 'INTERNAL_ADDRESS_FAILURE', {}, { assigner: noAddresses }],
    [
      'without a proposal',
      'NO_PROPOSAL_CHOSEN',
      { childProposals: [{ transforms: [{ type: 1, id: 3 }] }] },
      {},
    ],
    ['without common selectors', 'TS_UNACCEPTABLE', {}, { tsLocal: [anySelector(6)] }],
    [
      'whose TSi has no room for the assigned address',
      'TS_UNACCEPTABLE',
      { child: { ...initiatorConfig(provider, relay).child, tsI: [anySelector(6)] } },
      {},
    ],
  ] as const)('%s is refused with %s, and the IKE SA kept (rule 35)', (_, name, ofInitiator, ofProfile) => {
    const released: object[] = [];
    const profile = { ...anonymousProfile(relay), ...ofProfile };
    const { assigner } = profile;
    const pair = new Pair({
      initiator: { ...initiatorConfig(provider, relay), ...ofInitiator },
      responder: responderConfig(provider, {
        ...profile,
        assigner: {
          assign: (owner, request) => assigner!.assign(owner, request),
          release: (owner) => void released.push(owner),
        },
      }),
    }).run(5000);
    expect(pair.initiator.eventTypes).toEqual(['established', 'child-failed']);
    expect(pair.initiator.event('child-failed').error).toMatchObject({ notify: NotifyType[name] });
    expect(pair.responder.eventTypes).toEqual(['established', 'child-failed']);
    expect(pair.initiator.ike.established).toBe(true);
    expect(pair.initiator.store.isEmpty && pair.responderStore.isEmpty).toBe(true);
    expect(released.length).toBeGreaterThan(0);
    // An IKE SA without a Child SA does not live for ever.
    pair.run(60_000);
    expect(pair.responder.ending).toBeUndefined();
    expectNothingLeft(pair);
  });

  it('refuses an answer with wider selectors than offered', () => {
    // The initiator's offer is narrowed behind the responder's back.
    const { child } = initiatorConfig(provider, relay);
    const narrow = { ...anySelector(4), startPort: 80, endPort: 80 };
    let asked = 0;
    const sly = new Pair({
      initiator: {
        ...initiatorConfig(provider, relay),
        child: {
          ...child,
          get tsR() {
            return asked++ === 0 ? child.tsR : [narrow];
          },
        },
      },
      responder: responderConfig(provider, anonymousProfile(relay)),
    }).run(5000);
    expect(sly.initiator.ending?.message).toContain('widened');
    expectNothingLeft(sly);
  });
});
