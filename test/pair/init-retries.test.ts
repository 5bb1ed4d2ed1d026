import { describe, expect, it } from 'vitest';
import { NotifyType } from '../../src/ike/constants.ts';
import { NoAnswerError, RefusedError } from '../../src/ike/errors.ts';
import { encodePlain, peekHeader } from '../../src/ike/message.ts';
import { notify, type Payload } from '../../src/ike/payload/index.ts';
import { findNotify, payloadOf } from '../../src/ike/payloads.ts';
import { defaultIkeProposals } from '../../src/ike/proposal.ts';
import {
  anonymousProfile,
  initiatorConfig,
  mirror,
  responderConfig,
  signature,
  TO_RESPONDER,
} from '../support/ike-configs.ts';
import { names, Pair, type PairOptions, testCrypto } from '../support/pair.ts';
import { expectEqualSas, expectNothingLeft } from '../support/pair-assertions.ts';

const crypto = testCrypto(11);
const { provider } = crypto;
const relay = signature(provider);
const P256_ONLY = defaultIkeProposals.map(({ transforms }) => ({
  transforms: transforms.filter(({ type, id }) => type !== 4 || id === 19),
}));

function make(options: Partial<PairOptions> = {}, groups = defaultIkeProposals): Pair {
  return new Pair({
    initiator: initiatorConfig(provider, relay),
    responder: { ...responderConfig(provider, anonymousProfile(relay)), ikeProposals: groups },
    ...options,
  });
}

const inits = (pair: Pair) => pair.sent.filter(({ message }) => message[18] === 34);
const initRequests = (pair: Pair) => inits(pair).filter(({ from }) => from === 'initiator');

/** An unprotected response to the initiator's first request, as anybody on the way can make it. */
function forge(pair: Pair, ...payloads: Payload[]): void {
  const { spiI, exchangeType } = peekHeader(pair.sent[0].message)!;
  const flags = { initiator: false, response: true };
  const fields = { spiI, spiR: new Uint8Array(8), exchangeType, flags, messageId: 0 };
  const message = encodePlain(fields, payloads);
  pair.call(pair.initiator, (ike, now) => ike.handleDatagram(message, mirror(TO_RESPONDER), now));
}

describe('IKE_SA_INIT', () => {
  it('returns a cookie first, with everything else unchanged, and message ID 0 (rules 1, 11)', () => {
    const pair = make({ cookieThreshold: 0 }).run(5000);
    const [first, , second] = inits(pair).map(({ message }) => message);
    const before = crypto.read(first);
    const after = crypto.read(second);
    expect(names(after)).toEqual(['N(COOKIE)', ...names(before)]);
    expect(after.slice(1)).toEqual(before);
    expect(second.subarray(0, 16)).toEqual(first.subarray(0, 16));
    expect(peekHeader(second)?.messageId).toBe(0);
    expect(pair.initiator.ike.exchanges).toBe(3);
    expectEqualSas(pair);
  });

  it('retries with the group that is asked for, all proposals, the same SPI and nonce (rule 15)', () => {
    const pair = make({}, P256_ONLY).run(5000);
    const [first, , second] = inits(pair).map(({ message }) => crypto.read(message));
    expect(payloadOf(first, 'KE').method).toBe(31);
    expect(payloadOf(second, 'KE').method).toBe(19);
    expect(payloadOf(second, 'SA')).toEqual(payloadOf(first, 'SA'));
    expect(payloadOf(second, 'NONCE')).toEqual(payloadOf(first, 'NONCE'));
    expectEqualSas(pair);
    // The refused request has left nothing behind.
    expect(pair.responders[0].ike.closed).toBe(true);
    expect(pair.responders[0].eventTypes).toEqual(['closed']);
  });

  it('follows COOKIE, then INVALID_KE_PAYLOAD: the last request has both (rules 1, 13)', () => {
    const pair = make({ cookieThreshold: 0 }, P256_ONLY).run(5000);
    const requests = initRequests(pair).map(({ message }) => crypto.read(message));
    expect(requests.map((payloads) => [names(payloads)[0], payloadOf(payloads, 'KE').method])).toEqual([
      ['SA', 31],
      ['N(COOKIE)', 31],
      ['N(COOKIE)', 19],
    ]);
    expect(pair.initiator.ike.exchanges).toBe(4);
    expectEqualSas(pair);
  });

  it('follows INVALID_KE_PAYLOAD, then COOKIE (rule 13)', () => {
    const pair = make({ cookieThreshold: 0 }, P256_ONLY);
    pair.network = ({ from }) => (from === 'initiator' ? [] : [20]);
    pair.run(10);
    pair.network = () => [20];
    forge(pair, notify(NotifyType.INVALID_KE_PAYLOAD, Uint8Array.of(0, 19)));
    pair.run(5000);
    const requests = initRequests(pair).map(({ message }) => crypto.read(message));
    expect(requests.map((payloads) => [names(payloads)[0], payloadOf(payloads, 'KE').method])).toEqual([
      ['SA', 31],
      ['SA', 19],
      ['N(COOKIE)', 19],
    ]);
    expectEqualSas(pair);
  });

  it('answers a repeated COOKIE or INVALID_KE_PAYLOAD only once', () => {
    const pair = make({ cookieThreshold: 0, network: () => [20, 30, 45] }, P256_ONLY).run(5000);
    expect(initRequests(pair)).toHaveLength(3);
    expectEqualSas(
      pair,
      pair.responders.find(({ ike }) => ike.established),
    );
  });

  it('survives wrong cookies, groups that were not offered and endless demands, as hints (rules 11, 15, 17)', () => {
    const pair = make();
    pair.network = ({ from }) => (from === 'initiator' ? [500] : [500]);
    pair.run(10);
    forge(pair, notify(NotifyType.COOKIE, new Uint8Array(65)));
    forge(pair, notify(NotifyType.COOKIE, new Uint8Array(0)));
    forge(pair, notify(NotifyType.INVALID_KE_PAYLOAD, Uint8Array.of(4, 1)));
    forge(pair, notify(NotifyType.INVALID_KE_PAYLOAD, Uint8Array.of(19)));
    forge(pair, notify(NotifyType.NO_PROPOSAL_CHOSEN));
    forge(pair);
    expect(initRequests(pair)).toHaveLength(1);
    pair.run(5000);
    expectEqualSas(pair);
  });

  it('follows at most two cookies and two groups', () => {
    const pair = make({ network: () => [] }).run(10);
    for (const octet of [1, 2, 3, 4]) forge(pair, notify(NotifyType.COOKIE, Uint8Array.of(octet)));
    for (const group of [19, 14, 31, 19]) {
      forge(pair, notify(NotifyType.INVALID_KE_PAYLOAD, Uint8Array.of(0, group)));
    }
    expect(initRequests(pair)).toHaveLength(5);
    pair.run();
    expect(pair.initiator.ending).toBeInstanceOf(RefusedError);
    expectNothingLeft(pair);
  });

  it('takes an error only as a hint, and fails with it after a grace (rules 14, 17)', () => {
    const none = [{ transforms: defaultIkeProposals[0].transforms.filter(({ type }) => type !== 2) }];
    const pair = make({}, none).run();
    expect(pair.initiator.ending).toMatchObject({
      name: 'RefusedError',
      notify: NotifyType.NO_PROPOSAL_CHOSEN,
    });
    expect(pair.now).toBeLessThan(3000);
    const answer = inits(pair)[1].message;
    expect(answer.subarray(8, 16)).toEqual(new Uint8Array(8));
    expectNothingLeft(pair);
  });

  it('fails with NoAnswerError when there is none, after the whole schedule', () => {
    const pair = make({ network: () => [] }).run();
    expect(pair.initiator.ending).toBeInstanceOf(NoAnswerError);
    expect(pair.initiator.ending?.message).toContain('IKE_SA_INIT');
    expect(pair.initiator.ending?.message).toContain('6 times');
    expect(pair.sent.map(({ at }) => at)).toEqual([0, 500, 1500, 3500, 7500, 11_500]);
    expect(pair.now).toBe(15_500);
    for (const { message } of pair.sent) expect(message).toEqual(pair.sent[0].message);
    expectNothingLeft(pair);
  });

  it('refuses proposals without a key exchange, or with NONE, and keeps nothing of them (bad input 1)', () => {
    for (const transforms of [
      defaultIkeProposals[0].transforms.filter(({ type }) => type !== 4),
      [...defaultIkeProposals[0].transforms.filter(({ type }) => type !== 4), { type: 4, id: 0 }],
    ]) {
      const pair = make().run(10);
      const payloads = crypto
        .read(pair.sent[0].message)
        .map((payload) =>
          payload.kind === 'SA'
            ? { ...payload, proposals: [{ ...payload.proposals[0], transforms }] }
            : payload,
        );
      const { spiI, spiR, exchangeType, flags } = peekHeader(pair.sent[0].message)!;
      pair.deliverToResponder(encodePlain({ spiI, spiR, exchangeType, flags, messageId: 0 }, payloads));
      const answer = crypto.read(pair.sent.at(-1)!.message);
      expect(findNotify(answer, NotifyType.NO_PROPOSAL_CHOSEN)).toBeDefined();
      expect(pair.responder.ike.closed).toBe(true);
    }
  });

  it('answers unknown groups with ours, and does not answer bad key exchange values (rule 16) (bad input 2)', () => {
    const tampered = (method: number, data: Uint8Array) => {
      const pair = make({ network: () => [] }).run(10);
      const payloads = crypto
        .read(pair.sent[0].message)
        .map((payload) => (payload.kind === 'KE' ? { ...payload, method, data } : payload));
      const { spiI, spiR, exchangeType, flags } = peekHeader(pair.sent[0].message)!;
      pair.deliverToResponder(encodePlain({ spiI, spiR, exchangeType, flags, messageId: 0 }, payloads));
      expect(pair.responder.ike.closed).toBe(true);
      return pair.sent.slice(1).map(({ message }) => crypto.read(message));
    };
    for (const method of [0, 1025, 65535]) {
      const [answer] = tampered(method, new Uint8Array(32));
      expect(findNotify(answer, NotifyType.INVALID_KE_PAYLOAD)?.data).toEqual(Uint8Array.of(0, 31));
    }
    for (const length of [0, 31, 33, 3000]) expect(tampered(31, new Uint8Array(length).fill(9))).toEqual([]);
    expect(tampered(31, new Uint8Array(32))).toEqual([]);
  });
});
