import { describe, expect, it } from 'vitest';
import { AuthMethod, IdType, NotifyType } from '../../src/ike/constants.ts';
import { AuthenticationError } from '../../src/ike/errors.ts';
import { notify, type Payload, PayloadType } from '../../src/ike/payload/index.ts';
import { payloadOf } from '../../src/ike/payloads.ts';
import { accomplice } from '../support/accomplice.ts';
import { anonymousProfile, NULL_AUTH, pool, sharedKey } from '../support/ike-configs.ts';
import { names } from '../support/pair.ts';
import { expectEqualSas, expectNothingLeft } from '../support/pair-assertions.ts';

const IKE_AUTH = 35;
const INFORMATIONAL = 37;
const relay = sharedKey('relay');
const client = sharedKey('client', 'client.example');

/** A responder, with a pool that counts, that waits for IKE_AUTH; `request` is the initiator's, which it has not got. */
function halfOpen(seed: number, demanded = client.remote) {
  const addresses = pool();
  let asked = 0;
  const profile = {
    ...anonymousProfile(relay),
    remote: demanded,
    contactKey: 'client',
    assigner: {
      assign: (...parts: Parameters<typeof addresses.assign>) => {
        asked++;
        return addresses.assign(...parts);
      },
      release: (owner: object) => addresses.release(owner),
    },
  };
  const made = accomplice(seed, {
    initiator: { local: client.local },
    responder: { profile: () => profile },
  });
  const { pair, crypto, send } = made;
  pair.network = ({ message }) => (message[18] === 34 ? [20] : []);
  pair.run(100);
  const request = crypto.read(pair.sent.at(-1)!.message);
  /** What the responder answers to IKE_AUTH. */
  const authenticate = (payloads: readonly Payload[]) => {
    const before = pair.sent.length;
    send(IKE_AUTH, 1, payloads);
    pair.run(10);
    return pair.sent.slice(before).map(({ message }) => names(crypto.read(message)));
  };
  return { ...made, request, authenticate, asked: () => asked };
}

const withoutKind = (payloads: readonly Payload[], ...kinds: readonly Payload['kind'][]) =>
  payloads.filter(({ kind }) => !kinds.includes(kind));

/** AUTH that proves nothing. */
function spoilt(payloads: readonly Payload[]): Payload[] {
  return payloads.map((payload) =>
    payload.kind === 'AUTH' ? { ...payload, data: payload.data.with(0, payload.data[0] ^ 1) } : payload,
  );
}

describe('an initiator that does not prove itself', () => {
  it('gets one answer, and no Delete (rule 36)', () => {
    const { pair, request, authenticate } = halfOpen(1);
    expect(authenticate(spoilt(request))).toEqual([['N(AUTHENTICATION_FAILED)']]);
    expect(pair.responder.ending).toBeInstanceOf(AuthenticationError);
    const before = pair.sent.length;
    pair.call(pair.initiator, (ike, now) => ike.abort(now));
    pair.run();
    expect(pair.sent.slice(before)).toEqual([]);
  });

  it('is told of that, whatever else is wrong with what it wants, of which nothing is looked at (rule 37)', () => {
    for (const missing of [[], ['CP']] as const) {
      const { pair, request, authenticate, asked } = halfOpen(2);
      expect(authenticate(withoutKind(spoilt(request), ...missing))).toEqual([['N(AUTHENTICATION_FAILED)']]);
      expect(asked()).toBe(0);
      expect(pair.responderStore.log).toEqual([]);
      expect(pair.responder.eventTypes).toEqual(['closed']);
    }
    const honest = halfOpen(3);
    expect(honest.authenticate(honest.request)).toEqual([['IDr', 'AUTH', 'CP', 'SA', 'TSi', 'TSr']]);
    expect(honest.asked()).toBe(1);
  });

  it('with NULL where an identity is demanded, whatever identity it claims (bad input 11)', () => {
    for (const idType of [IdType.ID_NULL, IdType.ID_FQDN]) {
      const { pair, request, authenticate } = halfOpen(4);
      const { body } = payloadOf(request, 'IDi');
      const claimed = request.map((payload) => {
        if (payload.kind === 'AUTH') return { ...payload, method: AuthMethod.NULL };
        return payload.kind === 'IDi' ? { ...payload, body: body.with(0, idType) } : payload;
      });
      expect(authenticate(claimed)).toEqual([['N(AUTHENTICATION_FAILED)']]);
      expect(pair.responder.ike.closed).toBe(true);
    }
  });

  it.each([
    ['a shared key', client.remote],
    ['NULL', NULL_AUTH],
  ])(
    'because it wants EAP, gets no AUTH from a responder that demands %s (rule 40, bad input 11)',
    (_, demanded) => {
      const { pair, request, authenticate, asked } = halfOpen(5, demanded);
      expect(authenticate(withoutKind(request, 'AUTH'))).toEqual([['N(AUTHENTICATION_FAILED)']]);
      expect(pair.responder.ending).toBeInstanceOf(AuthenticationError);
      expect(asked()).toBe(0);
      expect(pair.responderStore.log).toEqual([]);
    },
  );
});

describe('an initiator', () => {
  it('that is offered EAP with a NULL AUTH refuses both (rule 40)', () => {
    const { pair, answer, crypto } = accomplice(6);
    pair.network = ({ message }) => (message[18] === 34 ? [20] : []);
    pair.run(100);
    pair.deliverToResponder(pair.sent.at(-1)!.message);
    pair.run(10);
    const [idR, auth] = crypto.read(pair.sent.at(-1)!.message);
    const eap: Payload = { kind: 'UNKNOWN', type: PayloadType.EAP, critical: false, data: new Uint8Array(5) };
    expect(auth.kind).toBe('AUTH');
    answer(IKE_AUTH, 1, [idR, { ...auth, method: AuthMethod.NULL } as Payload, eap]);
    pair.run(10_000);
    expect(pair.initiator.eventTypes).toEqual(['closed']);
    expect(pair.initiator.store.isEmpty).toBe(true);
  });

  it('that refuses the responder’s AUTH says so in a request of its own (rule 36)', () => {
    const { pair, crypto } = accomplice(7, { relay: sharedKey('of somebody else') });
    pair.run(5000);
    const [, , , , farewell, answer, ...rest] = pair.sent;
    expect([farewell.from, farewell.message[18], names(crypto.read(farewell.message))]).toEqual([
      'initiator',
      INFORMATIONAL,
      ['N(AUTHENTICATION_FAILED)'],
    ]);
    expect(names(crypto.read(answer.message))).toEqual([]);
    expect(rest).toEqual([]);
    expectNothingLeft(pair);
  });
});

describe('INITIAL_CONTACT', () => {
  const contact = notify(NotifyType.INITIAL_CONTACT);

  it('counts in IKE_AUTH, and not later (rule 38)', () => {
    const { pair, request, authenticate, send, lastAnswer } = halfOpen(8);
    authenticate(request);
    send(INFORMATIONAL, 2, [contact]);
    expect(lastAnswer()).toEqual([]);
    expect(pair.responder.eventTypes).not.toContain('initial-contact');
    const other = halfOpen(9);
    other.authenticate([...other.request, contact]);
    expect(other.pair.responder.event('initial-contact').contactKey).toBe('client');
  });

  it('of an initiator that nothing authenticates closes nothing (rule 38)', () => {
    const { pair, send, crypto } = accomplice(10, {
      responder: { profile: () => ({ ...anonymousProfile(relay), contactKey: 'client' }) },
    });
    pair.network = ({ message }) => (message[18] === 34 ? [20] : []);
    pair.run(100);
    send(IKE_AUTH, 1, [...crypto.read(pair.sent.at(-1)!.message), contact]);
    pair.run(10);
    expect(pair.responder.eventTypes).toEqual(['established', 'child-established']);
  });
});

describe('ID_NULL', () => {
  it('needs a profile for it, is nobody to its user, and gets an address of its own alone (rule 42)', () => {
    const { pair, crypto } = accomplice(11);
    pair.run(1000);
    expectEqualSas(pair);
    const { child } = pair.responder.event('child-established');
    expect(pair.responder.event('established').peer).toMatchObject({
      identity: { type: IdType.ID_NULL, data: new Uint8Array(0) },
      method: AuthMethod.NULL,
    });
    const [{ startAddress, endAddress }] = child.tunnel.remote;
    expect(child.tunnel.remote).toHaveLength(1);
    expect([startAddress, endAddress].map((octets) => octets.join('.'))).toEqual([
      child.assigned?.ip4,
      child.assigned?.ip4,
    ]);
    expect(payloadOf(crypto.read(pair.sent[2].message), 'IDi').data).toHaveLength(0);

    const strict = accomplice(12, {
      responder: { profile: () => ({ ...anonymousProfile(relay), remote: client.remote }) },
    }).pair.run(5000);
    expect(strict.responder.ending).toBeInstanceOf(AuthenticationError);
    const none = accomplice(13, { responder: { profile: () => undefined } }).pair.run(5000);
    expect(none.initiator.ending).toMatchObject({ notify: NotifyType.AUTHENTICATION_FAILED });
  });
});
