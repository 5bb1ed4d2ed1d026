import { describe, expect, it } from 'vitest';
import { KeyExchangeMethod, TransformType } from '../../src/crypto/transforms.ts';
import type { InitiatorConfig, ResponderConfig, ResponderProfile } from '../../src/ike/config.ts';
import { NotifyType } from '../../src/ike/constants.ts';
import { LocalError, RefusedError } from '../../src/ike/errors.ts';
import { defaultChildProposals } from '../../src/ike/proposal.ts';
import { addressBytes } from '../../src/wire/address.ts';
import { addressSelector, anySelector } from '../../src/wire/traffic-selector.ts';
import { accomplice } from '../support/accomplice.ts';
import { anonymousProfile, initiatorConfig, responderConfig, sharedKey } from '../support/ike-configs.ts';
import { names, Pair, testCrypto } from '../support/pair.ts';
import { expectEqualSas, expectNothingLeft } from '../support/pair-assertions.ts';

// Facts: strongSwan, src/libcharon/tests/suites/test_childless.c.

const crypto = testCrypto(61);
const { provider } = crypto;
const relay = sharedKey('relay');
const SELECTORS = { tsI: [anySelector(4)], tsR: [anySelector(4)] };
const WITH_KEY_EXCHANGE = defaultChildProposals.map(({ transforms }) => ({
  transforms: [...transforms, { type: TransformType.KE, id: KeyExchangeMethod.CURVE25519 }],
}));
const { child: _, ...CHILDLESS } = initiatorConfig(provider, relay);
const { assigner: __, ...PROFILE } = anonymousProfile(relay);

function meet(
  initiator: Partial<InitiatorConfig>,
  responder: Partial<ResponderConfig>,
  profile: Partial<ResponderProfile> = {},
): Pair {
  return new Pair({
    initiator: { ...CHILDLESS, childProposals: WITH_KEY_EXCHANGE, ...initiator },
    responder: {
      ...responderConfig(provider, { ...PROFILE, tsRemote: [anySelector(4)], ...profile }),
      childProposals: WITH_KEY_EXCHANGE,
      ...responder,
    },
  });
}

function messages(pair: Pair): string[][] {
  return pair.sent.map(({ message }) => names(crypto.read(message)));
}

function createChild(pair: Pair): void {
  pair.call(pair.initiator, (ike, now) => ike.createChild(SELECTORS, now));
}

describe('scenario: childless: regular', () => {
  it('makes the first Child SA in an exchange of its own, with a key exchange (rule 41)', () => {
    const pair = meet({}, { childless: 'allowed' });
    pair.afterStep = (end) => {
      if (end.eventTypes.join() === 'established' && end === pair.initiator) {
        pair.afterStep = () => {};
        createChild(pair);
      }
    };
    pair.run(1000);
    const [, init, request, response, create, created] = messages(pair);
    expect(init).toContain('N(CHILDLESS_IKEV2_SUPPORTED)');
    expect(request).toEqual(['IDi', 'AUTH']);
    expect(response).toEqual(['IDr', 'AUTH']);
    expect(create).toEqual(['SA', 'NONCE', 'KE', 'TSi', 'TSr']);
    expect(created).toEqual(['SA', 'NONCE', 'KE', 'TSi', 'TSr']);
    for (const end of [pair.initiator, pair.responder]) {
      expect(end.eventTypes).toEqual(['established', 'child-established']);
    }
    expectEqualSas(pair);
  });
});

describe('scenario: childless: regular manual', () => {
  it('has no Child SA until one is asked for (rule 41)', () => {
    const pair = meet({}, { childless: 'allowed' }, { childlessTimeout: 60_000 }).run(20_000);
    expect(pair.sent).toHaveLength(4);
    expect(pair.initiator.store.log).toEqual([]);
    expect(pair.responderStore.log).toEqual([]);
    expect(pair.initiator.eventTypes).toEqual(['established']);
    createChild(pair);
    pair.run(1000);
    expectEqualSas(pair);
    pair.call(pair.initiator, (ike, now) => ike.close(now));
    pair.run();
    expectNothingLeft(pair);
  });
});

describe('scenario: childless: failure init', () => {
  it('ends before IKE_AUTH if the responder does not support it (rule 41)', () => {
    const pair = meet({}, {}).run(100);
    expect(messages(pair)[1]).not.toContain('N(CHILDLESS_IKEV2_SUPPORTED)');
    expect(pair.sent).toHaveLength(2);
    expect(pair.initiator.ending).toBeInstanceOf(LocalError);
    expect(pair.initiator.ending?.message).toContain('CHILDLESS_IKEV2_SUPPORTED');
    pair.run();
    expectNothingLeft(pair);
  });
});

describe('scenario: childless: failure resp', () => {
  it('ends with INVALID_SYNTAX if the responder makes no other IKE SAs (rule 41)', () => {
    const { child } = initiatorConfig(provider, relay);
    const pair = meet({ child }, { childless: 'required' }).run(1000);
    expect(messages(pair)[1]).toContain('N(CHILDLESS_IKEV2_SUPPORTED)');
    expect(messages(pair)[2]).toEqual(['IDi', 'AUTH', 'CP', 'SA', 'TSi', 'TSr']);
    expect(messages(pair)[3]).toEqual(['N(INVALID_SYNTAX)']);
    expect(pair.responder.eventTypes).toEqual(['closed']);
    expect(pair.initiator.ending).toBeInstanceOf(RefusedError);
    expect(pair.initiator.ending).toMatchObject({ notify: NotifyType.INVALID_SYNTAX });
    pair.run();
    expectNothingLeft(pair);
  });
});

describe('an IKE SA without a Child SA', () => {
  it('is announced with protocol ID 1, as the RFC has it (RFC 6023 4)', () => {
    const pair = meet({}, { childless: 'allowed' }).run(100);
    const found = crypto
      .read(pair.sent[1].message)
      .find((payload) => payload.kind === 'NOTIFY' && payload.type === NotifyType.CHILDLESS_IKEV2_SUPPORTED);
    expect(found).toMatchObject({ protocol: 1, spi: new Uint8Array(0), data: new Uint8Array(0) });
  });

  it('is one of several that the responder makes: others have their Child SA as ever', () => {
    const { child } = initiatorConfig(provider, relay);
    const pair = meet(
      { child },
      { childless: 'allowed' },
      { assigner: anonymousProfile(relay).assigner! },
    ).run(1000);
    expectEqualSas(pair);
  });

  it('is not made for who was not told that it can be (rule 41)', () => {
    const { pair, send, crypto, lastAnswer } = accomplice(62);
    pair.network = ({ message }) => (message[18] === 34 ? [20] : []);
    pair.run(100);
    const request = crypto.read(pair.sent.at(-1)!.message);
    send(
      35,
      1,
      request.filter(({ kind }) => kind === 'IDi' || kind === 'AUTH'),
    );
    pair.run(10);
    expect(lastAnswer()).toEqual(['N(INVALID_SYNTAX)']);
    expect(pair.responder.eventTypes).toEqual(['closed']);
  });

  it.each([
    ['SA', ['TSi', 'TSr']],
    ['TSi', ['SA', 'TSr']],
    ['TSr', ['SA', 'TSi']],
  ])('is not made of a request with half a Child SA: only %s is missing', (_, kinds) => {
    const { pair, send, crypto, lastAnswer } = accomplice(63, { responder: { childless: 'allowed' } });
    pair.network = ({ message }) => (message[18] === 34 ? [20] : []);
    pair.run(100);
    const request = crypto.read(pair.sent.at(-1)!.message);
    send(
      35,
      1,
      request.filter(({ kind }) => ['IDi', 'AUTH', ...kinds].includes(kind)),
    );
    pair.run(10);
    expect(lastAnswer()).toEqual(['N(INVALID_SYNTAX)']);
  });

  it('can be given its address at once, and gets Child SAs for that address only (RFC 6023 5)', () => {
    const { assigner } = anonymousProfile(relay);
    const { pair, send, crypto, lastAnswer } = accomplice(64, {
      responder: {
        childless: 'allowed',
        profile: () => ({ ...anonymousProfile(relay), assigner: assigner! }),
      },
    });
    pair.network = ({ message }) => (message[18] === 34 ? [20] : []);
    pair.run(100);
    const request = crypto.read(pair.sent.at(-1)!.message);
    send(
      35,
      1,
      request.filter(({ kind }) => ['IDi', 'AUTH', 'CP'].includes(kind)),
    );
    pair.run(10);
    expect(lastAnswer()).toEqual(['IDr', 'AUTH', 'CP']);
    expect(pair.responder.eventTypes).toEqual(['established']);
    const reply = crypto.read(pair.sent.at(-1)!.message).find((payload) => payload.kind === 'CP');
    const address = reply?.kind === 'CP' ? reply.attributes[0].value : new Uint8Array(0);
    expect(address.subarray(0, 2)).toEqual(addressBytes('10.9.0.0').subarray(0, 2));
    const parts = request.filter(({ kind }) => ['SA', 'TSi', 'TSr'].includes(kind));
    send(36, 2, [parts[0], { kind: 'NONCE', data: new Uint8Array(32) }, ...parts.slice(1)]);
    pair.run(10);
    expect(lastAnswer()).toEqual(['SA', 'NONCE', 'TSi', 'TSr']);
    const { child } = pair.responder.event('child-established');
    expect(child.tunnel.remote).toEqual([addressSelector(Array.from(address).join('.'))]);
  });

  it('gets no Child SA from a responder that assigns addresses, unless it has one', () => {
    const pair = meet({}, { childless: 'allowed' }, { assigner: anonymousProfile(relay).assigner! }).run(
      1000,
    );
    createChild(pair);
    pair.run(1000);
    expect(pair.initiator.event('child-failed').error).toMatchObject({
      notify: NotifyType.FAILED_CP_REQUIRED,
    });
  });

  it('is closed by a responder to which it is of no use', () => {
    const pair = meet({}, { childless: 'allowed' }, { childlessTimeout: 10_000 }).run();
    expect(pair.responder.eventTypes).toEqual(['established', 'closed']);
    expectNothingLeft(pair);
  });
});
