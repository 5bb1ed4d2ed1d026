import { describe, expect, it } from 'vitest';
import { AuthMethod, IdType } from '../../src/ike/constants.ts';
import { idPayload } from '../../src/ike/payload/index.ts';
import { payloadOf } from '../../src/ike/payloads.ts';
import { parsePrefix } from '../../src/wire/address.ts';
import { concat, utf8 } from '../../src/wire/bytes.ts';
import { anySelector, prefixSelector } from '../../src/wire/traffic-selector.ts';
import { type AccompliceOptions, accomplice } from '../support/accomplice.ts';
import {
  anonymousProfile,
  initiatorConfig,
  responderConfig,
  sharedKey,
  signature,
} from '../support/ike-configs.ts';
import { Pair, testCrypto } from '../support/pair.ts';
import { expectEqualSas } from '../support/pair-assertions.ts';

const IKE_AUTH = 35;
const { provider } = testCrypto(101);
const relay = sharedKey('relay');

/** IKE_SA_INIT is over; `request` is the initiator's IKE_AUTH, which the responder has not got. */
function halfOpen(options: AccompliceOptions = {}) {
  const made = accomplice(102, options);
  made.pair.network = ({ message }) => (message[18] === 34 ? [20] : []);
  made.pair.run(100);
  return { ...made, request: made.crypto.read(made.pair.sent.at(-1)!.message) };
}

describe('an initiator whose signature', () => {
  const signer = signature(provider, 'rsa');

  it.each([
    ['has an AlgorithmIdentifier of 255 octets', (data: Uint8Array) => data.with(0, 255)],
    ['has an AlgorithmIdentifier of none', (data: Uint8Array) => data.with(0, 0)],
    ['has no octets', (data: Uint8Array) => data.subarray(0, data[0] + 1)],
    ['is all zeros', (data: Uint8Array) => data.map((octet, i) => (i > data[0] ? 0 : octet))],
    ['has something after it', (data: Uint8Array) => concat(data, Uint8Array.of(0))],
    ['is nothing at all', () => new Uint8Array(0)],
  ])('%s is told AUTHENTICATION_FAILED (bad input 10)', (_, change) => {
    const { request, send, pair, lastAnswer } = halfOpen({
      initiator: { local: signer.local },
      responder: { profile: () => ({ ...anonymousProfile(relay), remote: signer.remote }) },
    });
    const auth = payloadOf(request, 'AUTH');
    expect(auth.method).toBe(AuthMethod.DIGITAL_SIGNATURE);
    send(
      IKE_AUTH,
      1,
      request.map((own) => (own === auth ? { ...auth, data: change(auth.data) } : own)),
    );
    pair.run(10);
    expect(lastAnswer()).toEqual(['N(AUTHENTICATION_FAILED)']);
    expect(pair.responder.eventTypes).toEqual(['closed']);
  });
});

describe('the identity that an initiator asks for', () => {
  it('is a hint: the responder answers with its own (rule 39)', () => {
    const { request, send, pair, crypto } = halfOpen();
    const wanted = idPayload('IDr', { type: IdType.ID_FQDN, data: utf8('other.example') });
    send(IKE_AUTH, 1, [request[0], wanted, ...request.slice(1)]);
    pair.run(10);
    expect(payloadOf(crypto.read(pair.sent.at(-1)!.message), 'IDr').data).toEqual(utf8('relay.example'));
    expect(pair.responder.ike.established).toBe(true);
  });
});

describe('an anonymous client', () => {
  it('can be assigned a whole IPv6 block, and nothing else (rule 42)', () => {
    const assigned = { ip6: { address: '2001:db8:7::1234', prefixLength: 64 }, dns: [] };
    const pair = new Pair({
      initiator: {
        ...initiatorConfig(provider, relay),
        child: {
          tsI: [anySelector(6)],
          tsR: [anySelector(6)],
          addresses: { ip4: false, ip6: true, ip4Dns: false, ip6Dns: false },
        },
      },
      responder: responderConfig(provider, {
        ...anonymousProfile(relay),
        tsLocal: [anySelector(6)],
        assigner: { assign: () => assigned, release: () => {} },
      }),
    }).run(1000);
    expectEqualSas(pair);
    const { child } = pair.initiator.event('child-established');
    expect(child.assigned?.ip6).toEqual(assigned.ip6);
    expect(child.tunnel.local).toEqual([prefixSelector(parsePrefix('2001:db8:7::/64'))]);
  });
});
