import { createHmac } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type {
  InitiatorConfig,
  PostQuantumKey,
  ResponderConfig,
  ResponderProfile,
} from '../../src/ike/config.ts';
import { ExchangeType, NotifyType } from '../../src/ike/constants.ts';
import { AuthenticationError, LocalError, type RefusedError } from '../../src/ike/errors.ts';
import { notify } from '../../src/ike/payload/index.ts';
import { findNotify, payloadOf } from '../../src/ike/payloads.ts';
import { settlePpk } from '../../src/ike/ppk.ts';
import { postQuantumIkeProposals } from '../../src/ike/proposal.ts';
import type { Negotiated } from '../../src/ike/sa-context.ts';
import { concat, fromHex, hex, utf8 } from '../../src/wire/bytes.ts';
import { accomplice } from '../support/accomplice.ts';
import {
  anonymousProfile,
  type Credentials,
  initiatorConfig,
  NULL_AUTH,
  responderConfig,
  sharedKey,
  signature,
} from '../support/ike-configs.ts';
import { names, Pair, testCrypto } from '../support/pair.ts';
import { expectEqualSas, expectNothingLeft } from '../support/pair-assertions.ts';
import { idleContext } from '../support/sa-context.ts';

const KEY: PostQuantumKey = {
  id: concat(fromHex('02'), utf8('shared by both')),
  secret: utf8('of 256 bits, let us say, or more'),
};
const OTHER: PostQuantumKey = {
  id: concat(fromHex('02'), utf8('of somebody else')),
  secret: utf8('another secret'),
};
const WRONG: PostQuantumKey = { id: KEY.id, secret: utf8('not the same secret') };

interface Ends {
  readonly initiator?: InitiatorConfig['ppk'];
  readonly responder?: ResponderProfile['ppk'];
  readonly usesPpk?: boolean;
  readonly client?: Credentials;
  readonly seed?: number;
  readonly ikeProposals?: ResponderConfig['ikeProposals'];
}

function pairOf({
  initiator,
  responder,
  usesPpk,
  client = sharedKey('client', 'client'),
  seed = 90,
  ikeProposals,
}: Ends) {
  const crypto = testCrypto(seed);
  const relay = sharedKey('relay');
  const profile: ResponderProfile = {
    ...anonymousProfile(relay),
    remote: client.remote,
    ...(responder !== undefined && { ppk: responder }),
  };
  const proposals = ikeProposals === undefined ? {} : { ikeProposals };
  const pair = new Pair({
    initiator: {
      ...initiatorConfig(crypto.provider, relay),
      ...proposals,
      local: client.local,
      ...(initiator !== undefined && { ppk: initiator }),
    },
    responder: {
      ...responderConfig(crypto.provider, profile),
      ...proposals,
      usesPpk: usesPpk ?? responder !== undefined,
    },
  });
  return { pair, crypto, read: () => pair.sent.map(({ message }) => names(crypto.read(message))) };
}

const optional = (key: PostQuantumKey) => ({ ...key, mandatory: false });
const mandatory = (key: PostQuantumKey) => ({ ...key, mandatory: true });
const knows = (key: PostQuantumKey, mandatory: boolean) => ({ keys: [OTHER, key], mandatory });
const knowsOther = (mandatory: boolean) => ({ keys: [OTHER], mandatory });

describe('post-quantum preshared keys (RFC 8784)', () => {
  // RFC 8784 3, table 1, and what the initiator has to do.
  it.each([
    ['no key', 'no key', undefined, undefined, 'plain'],
    ['no key', 'an optional key', undefined, knows(KEY, false), 'plain'],
    ['no key', 'a mandatory key', undefined, knows(KEY, true), 'refused'],
    ['an optional key', 'no key', optional(KEY), undefined, 'plain'],
    ['an optional key', 'the same, optional', optional(KEY), knows(KEY, false), 'mixed'],
    ['an optional key', 'the same, mandatory', optional(KEY), knows(KEY, true), 'mixed'],
    ['an optional key', 'another one, optional', optional(KEY), knowsOther(false), 'plain'],
    ['an optional key', 'another one, mandatory', optional(KEY), knowsOther(true), 'refused'],
    ['an optional key', 'another secret of that name', optional(KEY), knows(WRONG, false), 'refused'],
    ['a mandatory key', 'no key', mandatory(KEY), undefined, 'given up'],
    ['a mandatory key', 'the same, optional', mandatory(KEY), knows(KEY, false), 'mixed'],
    ['a mandatory key', 'the same, mandatory', mandatory(KEY), knows(KEY, true), 'mixed'],
    ['a mandatory key', 'another one, optional', mandatory(KEY), knowsOther(false), 'refused'],
    ['a mandatory key', 'another one, mandatory', mandatory(KEY), knowsOther(true), 'refused'],
  ] as const)('initiator with %s, responder with %s', (_i, _r, initiator, responder, outcome) => {
    const { pair, read } = pairOf({
      ...(initiator !== undefined && { initiator }),
      ...(responder !== undefined && { responder }),
    });
    pair.run(60_000);
    const messages = read();
    expect(messages[0].includes('N(USE_PPK)')).toBe(initiator !== undefined);
    expect(messages[1].includes('N(USE_PPK)')).toBe(initiator !== undefined && responder !== undefined);
    if (outcome === 'given up') {
      expect(pair.initiator.ending).toBeInstanceOf(LocalError);
      expect(messages.some((payloads) => payloads.includes('IDi'))).toBe(false);
      return;
    }
    const [request, answer] = messages.slice(2, 4);
    const isAgreed = initiator !== undefined && responder !== undefined;
    expect(request.includes('N(PPK_IDENTITY)')).toBe(isAgreed);
    expect(request.includes('N(NO_PPK_AUTH)')).toBe(isAgreed && !initiator.mandatory);
    if (outcome === 'refused') {
      expect((pair.initiator.ending as RefusedError).notify).toBe(NotifyType.AUTHENTICATION_FAILED);
      expect(pair.responder.ending).toBeInstanceOf(AuthenticationError);
      expectNothingLeft(pair);
      return;
    }
    expect(answer.includes('N(PPK_IDENTITY)')).toBe(outcome === 'mixed');
    expectEqualSas(pair);
  });

  it('works with signatures, and after additional key exchanges', () => {
    const client = signature(testCrypto(1).provider);
    for (const responder of [knows(KEY, false), knowsOther(false)]) {
      const ends = { initiator: optional(KEY), responder, client, ikeProposals: postQuantumIkeProposals };
      const { pair } = pairOf(ends);
      expectEqualSas(pair.run(5000));
    }
  });

  it('mixes the key into SK_d, SK_pi and SK_pr, and says nothing of it but its name', () => {
    const ends = { initiator: optional(KEY), seed: 91 };
    const mixed = pairOf({ ...ends, responder: knows(KEY, false) });
    const plain = pairOf({ ...ends, responder: knowsOther(false) });
    expectEqualSas(mixed.pair.run(5000));
    expectEqualSas(plain.pair.run(5000));
    const payloads = ({ pair, crypto }: typeof mixed, index: number) => crypto.read(pair.sent[index].message);
    // Up to IKE_AUTH the two runs are the same: the same exponents, nonces and SPIs.
    const notifyOf = (type: number) => findNotify(payloads(mixed, 2), type)!.data;
    expect(hex(notifyOf(NotifyType.PPK_IDENTITY))).toBe(hex(KEY.id));
    expect(findNotify(payloads(mixed, 3), NotifyType.PPK_IDENTITY)!.data).toHaveLength(0);
    expect(hex(mixed.pair.sent[2].message)).toBe(hex(plain.pair.sent[2].message));

    const childOf = ({ pair }: typeof mixed) =>
      [...pair.initiator.store.outbound.values()][0].keys.encryption;
    expect(hex(childOf(mixed))).not.toBe(hex(childOf(plain)));
    // AUTH of the request is computed with the mixed key, and NO_PPK_AUTH without.
    expect(hex(payloadOf(payloads(mixed, 2), 'AUTH').data)).not.toBe(hex(notifyOf(NotifyType.NO_PPK_AUTH)));
  });

  it('makes SK as prf+(PPK, SK) of the same length, once', () => {
    const crypto = testCrypto(92);
    const { provider } = crypto;
    const seen: { key: string; data: string; output: string }[] = [];
    const relay = sharedKey('relay');
    const watched = {
      ...provider,
      prf: (id: number, key: Uint8Array, ...parts: readonly Uint8Array[]) => {
        const output = provider.prf(id, key, ...parts);
        seen.push({ key: hex(key), data: hex(concat(...parts)), output: hex(output) });
        return output;
      },
    };
    const pair = new Pair({
      initiator: { ...initiatorConfig(watched, relay), local: relay.local, ppk: mandatory(KEY) },
      responder: {
        ...responderConfig(provider, {
          ...anonymousProfile(relay),
          remote: relay.remote,
          ppk: knows(KEY, true),
        }),
        usesPpk: true,
      },
    }).run(5000);
    expectEqualSas(pair);
    const ofKey = seen.filter(({ key }) => key === hex(KEY.secret));
    expect(ofKey).toHaveLength(3);
    for (const { data, output } of ofKey) {
      expect(data).toHaveLength(66);
      expect(data.endsWith('01')).toBe(true);
      expect(output).toBe(createHmac('sha256', KEY.secret).update(fromHex(data)).digest('hex'));
    }
    // KEYMAT of the Child SA comes from the first of them.
    expect(seen.some(({ key }) => key === ofKey[0].output)).toBe(true);
  });

  it('is what NULL authentication proves: its secret is SK_pi, or SK_pr, after the key was mixed in', () => {
    const crypto = testCrypto(95);
    const { provider } = crypto;
    const pads: string[] = [];
    const mixed: string[] = [];
    const watched = {
      ...provider,
      prf: (id: number, key: Uint8Array, ...parts: readonly Uint8Array[]) => {
        const output = provider.prf(id, key, ...parts);
        if (hex(concat(...parts)) === hex(utf8('Key Pad for IKEv2'))) pads.push(hex(key));
        if (hex(key) === hex(KEY.secret)) mixed.push(hex(output));
        return output;
      },
    };
    const nobody = { local: NULL_AUTH, remote: NULL_AUTH };
    const profile = { ...anonymousProfile(nobody), ppk: knows(KEY, true) };
    const pair = new Pair({
      initiator: { ...initiatorConfig(watched, nobody), ppk: mandatory(KEY) },
      responder: { ...responderConfig(provider, profile), usesPpk: true },
    }).run(5000);
    expectEqualSas(pair);
    const [, skPi, skPr] = mixed;
    expect(pads).toEqual([skPi, skPr]);
  });

  it('does not do without with NULL authentication (RFC 8784 5.2.3)', () => {
    const client = { local: NULL_AUTH, remote: NULL_AUTH };
    const { pair } = pairOf({ initiator: optional(KEY), responder: knows(KEY, false), client });
    pair.run(5000);
    expect(pair.initiator.ending).toBeInstanceOf(LocalError);
    expect(pair.initiator.ending?.message).toContain('has to be mandatory');
    expect(pair.sent).toEqual([]);
    const required = pairOf({ initiator: mandatory(KEY), responder: knows(KEY, false), client }).pair.run(
      5000,
    );
    expectEqualSas(required);
  });

  it.each([
    ['one of the alternatives', { alternatives: [NULL_AUTH] }],
    ['what is demanded of the responder', { remote: NULL_AUTH }],
  ])('does not do without where NULL authentication is %s', (_, config) => {
    const { local } = sharedKey('client', 'client');
    const { pair } = accomplice(94, { initiator: { ppk: optional(KEY), local, ...config } });
    pair.run(5000);
    expect(pair.initiator.ending?.message).toContain('has to be mandatory');
    expect(pair.sent).toEqual([]);
  });

  it('overwrites the mixed keys, and only them, if the responder does not use the key', () => {
    const sa = idleContext();
    const keys = () => {
      const [skD, skPi, skPr] = [1, 2, 3].map((octet) => Uint8Array.of(octet));
      return { keys: { skD, skPi, skPr } } as unknown as Negotiated;
    };
    const [plain, mixed] = [keys(), keys()];
    sa.negotiated = mixed;
    settlePpk(sa, plain, { mandatory: false }, []);
    expect(sa.negotiated).toBe(plain);
    expect(plain).toEqual(keys());
    expect(Object.values(mixed.keys).map((key: Uint8Array) => key[0])).toEqual([0, 0, 0]);
  });

  it('refuses a key in IKE_AUTH where the initiator matches a profile that has none', () => {
    const { pair } = pairOf({ initiator: mandatory(KEY), usesPpk: true });
    pair.run(60_000);
    expect((pair.initiator.ending as RefusedError).notify).toBe(NotifyType.AUTHENTICATION_FAILED);
  });

  it.each([
    ['names none', 'names no post-quantum preshared key', undefined],
    ['proves nothing without an unknown one, with NULL authentication', 'is not known here', OTHER.id],
  ])('refuses an initiator that has agreed to a key and then %s', (_, reason, id) => {
    const { pair, crypto, send, lastAnswer } = accomplice(93, {
      initiator: { ppk: mandatory(KEY) },
      responder: { usesPpk: true },
    });
    pair.network = ({ message }) => (message[18] === ExchangeType.IKE_AUTH ? [] : [20]);
    pair.run(100);
    const { message } = pair.sent.find((sent) => sent.message[18] === ExchangeType.IKE_AUTH)!;
    const others = crypto
      .read(message)
      .filter((payload) => payload.kind !== 'NOTIFY' || payload.type !== NotifyType.PPK_IDENTITY);
    const named =
      id === undefined
        ? []
        : [notify(NotifyType.PPK_IDENTITY, id), notify(NotifyType.NO_PPK_AUTH, new Uint8Array(32))];
    send(ExchangeType.IKE_AUTH, 1, [...others, ...named]);
    expect(lastAnswer()).toEqual(['N(AUTHENTICATION_FAILED)']);
    expect(pair.responder.ending?.message).toContain(reason);
  });

  it('is not offered by default', () => {
    const { pair, read } = pairOf({ responder: knows(KEY, false) });
    expectEqualSas(pair.run(5000));
    for (const payloads of read()) expect(payloads.join()).not.toContain('PPK');
  });
});
