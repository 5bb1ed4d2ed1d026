import { describe, expect, it } from 'vitest';
import { NotifyType } from '../../src/ike/constants.ts';
import { encodePlain, peekHeader } from '../../src/ike/message.ts';
import { notify, type Payload } from '../../src/ike/payload/index.ts';
import { defaultIkeProposals } from '../../src/ike/proposal.ts';
import { accomplice } from '../support/accomplice.ts';
import { mirror, TO_RESPONDER } from '../support/ike-configs.ts';
import { names } from '../support/pair.ts';
import { expectEqualSas } from '../support/pair-assertions.ts';

const SPI = Uint8Array.of(1, 2, 3, 4);
const UNKNOWN_ERROR = 8190;
const UNKNOWN_STATUS = 40_959;

/** A pair whose IKE_AUTH request the responder does not get: the test answers. */
function authenticating(seed: number) {
  const made = accomplice(seed);
  const { pair, crypto } = made;
  pair.network = ({ message }) => (message[18] === 34 ? [20] : []);
  pair.run(100);
  const request = pair.sent.at(-1)!.message;
  pair.deliverToResponder(request);
  pair.run(10);
  const response = crypto.read(pair.sent.at(-1)!.message);
  const proof = response.filter(({ kind }) => kind === 'IDr' || kind === 'AUTH');
  return { ...made, response, proof };
}

describe('the protocol and SPI of a notify', () => {
  it('are empty in all that we send of other kinds (rule 51)', () => {
    const p256 = defaultIkeProposals.map(({ transforms }) => ({
      transforms: transforms.filter(({ type, id }) => type !== 4 || id === 19),
    }));
    const { pair, crypto, send } = accomplice(1, {
      initiator: { natDetection: true, initialContact: true, childProposals: [{ transforms: [] }] },
      responder: { ikeProposals: p256 },
    });
    pair.run(1000);
    send(37, 2, [{ kind: 'UNKNOWN', type: 200, critical: true, data: SPI }]);
    const notifies = pair.sent
      .flatMap(({ message }) => crypto.read(message))
      .filter((payload) => payload.kind === 'NOTIFY');
    for (const { protocol, spi } of notifies) expect([protocol, spi.length]).toEqual([0, 0]);
    expect(names(notifies)).toEqual(
      expect.arrayContaining([
        'N(INVALID_KE_PAYLOAD)',
        'N(NAT_DETECTION_SOURCE_IP)',
        'N(INITIAL_CONTACT)',
        'N(NO_PROPOSAL_CHOSEN)',
        'N(UNSUPPORTED_CRITICAL_PAYLOAD)',
      ]),
    );
  });

  it.each([
    [1, SPI],
    [1, new Uint8Array(8).fill(9)],
    [3, SPI],
    [255, new Uint8Array(255)],
  ])('are ignored if the peer puts them: protocol %i (rule 51)', (protocol, spi) => {
    const { pair, crypto } = accomplice(2);
    pair.network = ({ from }) => (from === 'initiator' ? [] : [20]);
    pair.run(10);
    const forge = (...payloads: Payload[]) => {
      const { spiI, spiR, exchangeType } = peekHeader(pair.sent[0].message)!;
      const flags = { initiator: false, response: true };
      const message = encodePlain({ spiI, spiR, exchangeType, flags, messageId: 0 }, payloads);
      pair.call(pair.initiator, (ike, now) => ike.handleDatagram(message, mirror(TO_RESPONDER), now));
    };
    forge(notify(NotifyType.COOKIE, Uint8Array.of(7), protocol, spi));
    forge(notify(NotifyType.INVALID_KE_PAYLOAD, Uint8Array.of(0, 19), protocol, spi));
    const requests = pair.sent.map(({ message }) => crypto.read(message));
    expect(requests[1][0]).toEqual(notify(NotifyType.COOKIE, Uint8Array.of(7)));
    expect(requests[2]).toContainEqual(expect.objectContaining({ kind: 'KE', method: 19 }));
  });

  it('are ignored in protected notifies too (rule 51)', () => {
    const { pair, answer, proof } = authenticating(3);
    answer(35, 1, [...proof, notify(NotifyType.TS_UNACCEPTABLE, new Uint8Array(0), 3, SPI)]);
    expect(pair.initiator.event('child-failed').error).toMatchObject({ notify: NotifyType.TS_UNACCEPTABLE });
  });
});

describe('a notify of a type that nobody has defined', () => {
  it('is ignored if it is a status, in every exchange and direction (rule 56)', () => {
    const status = notify(UNKNOWN_STATUS, SPI);
    const { pair, answer, ask, send, response, lastAnswer } = authenticating(4);
    answer(35, 1, [status, ...response, status]);
    pair.run(10);
    expectEqualSas(pair);
    send(37, 2, [status]);
    expect(lastAnswer()).toEqual([]);
    ask(37, 0, [status]);
    expect(lastAnswer()).toEqual([]);
    pair.call(pair.initiator, (ike, now) => ike.checkLiveness(now));
    answer(37, 2, [status]);
    expect(pair.initiator.ike.established && pair.responder.ike.established).toBe(true);
    expect(pair.initiator.ike.nextTimeout).toBeUndefined();
  });

  it('fails the request if it is an error in the response (rule 56)', () => {
    const { pair, answer } = authenticating(5);
    answer(35, 1, [notify(UNKNOWN_ERROR)]);
    expect(pair.initiator.ending).toMatchObject({ name: 'RefusedError', notify: UNKNOWN_ERROR });
  });

  it('fails the Child SA alone if the response authenticates (rule 56)', () => {
    const { pair, answer, proof } = authenticating(6);
    answer(35, 1, [...proof, notify(UNKNOWN_ERROR)]);
    expect(pair.initiator.event('child-failed').error).toMatchObject({ notify: UNKNOWN_ERROR });
    expect(pair.initiator.ike.established).toBe(true);
  });

  it('is ignored in a request, be it an error (rule 56)', () => {
    const { pair, send, lastAnswer } = accomplice(7);
    pair.run(1000);
    send(37, 2, [notify(UNKNOWN_ERROR)]);
    expect(lastAnswer()).toEqual([]);
    expectEqualSas(pair);
  });
});

describe('the initiator, told in an authentic response that', () => {
  it.each([
    'NO_PROPOSAL_CHOSEN',
    'TS_UNACCEPTABLE',
    'SINGLE_PAIR_REQUIRED',
    'INTERNAL_ADDRESS_FAILURE',
    'FAILED_CP_REQUIRED',
  ] as const)('%s, keeps the IKE SA (rule 35)', (name) => {
    const { pair, answer, proof } = authenticating(8);
    answer(35, 1, [...proof, notify(NotifyType[name])]);
    expect(pair.initiator.eventTypes).toEqual(['established', 'child-failed']);
    expect(pair.initiator.ike.established).toBe(true);
    pair.run(10);
    expect(pair.initiator.store.isEmpty).toBe(true);
  });

  it.each(['AUTHENTICATION_FAILED', 'INVALID_SYNTAX', 'UNSUPPORTED_CRITICAL_PAYLOAD'] as const)(
    '%s, ends it (rule 35)',
    (name) => {
      const { pair, answer, proof } = authenticating(9);
      answer(35, 1, [...proof, notify(NotifyType[name])]);
      expect(pair.initiator.ending).toMatchObject({ name: 'RefusedError', notify: NotifyType[name] });
      pair.run(10);
      expect(pair.initiator.store.isEmpty).toBe(true);
    },
  );
});
