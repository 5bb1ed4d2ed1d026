import { describe, expect, it } from 'vitest';
import { NotifyType } from '../../src/ike/constants.ts';
import { AuthenticationError, NoAnswerError } from '../../src/ike/errors.ts';
import { encodePlain, peekHeader } from '../../src/ike/message.ts';
import { notify, ProtocolId } from '../../src/ike/payload/index.ts';
import { defaultChildProposals, encodeProposals } from '../../src/ike/proposal.ts';
import { anySelector } from '../../src/wire/traffic-selector.ts';
import { accomplice } from '../support/accomplice.ts';
import {
  anonymousProfile,
  initiatorConfig,
  mirror,
  responderConfig,
  sharedKey,
  TO_RESPONDER,
} from '../support/ike-configs.ts';
import { type End, Pair, testCrypto } from '../support/pair.ts';
import { expectEqualSas, expectNothingLeft } from '../support/pair-assertions.ts';
import { seededRandom, seededUniform } from '../support/seeded-random.ts';

const relay = sharedKey('relay');

/** A response to the initiator that nothing protects, as anybody on the way can make it. */
function forge(pair: Pair, exchangeType: number, messageId: number, type: number): void {
  const { spiI, spiR } = peekHeader(pair.sent[1].message)!;
  const flags = { initiator: false, response: true };
  const message = encodePlain({ spiI, spiR, exchangeType, messageId, flags }, [notify(type)]);
  pair.call(pair.initiator, (ike, now) => ike.handleDatagram(message, mirror(TO_RESPONDER), now));
}

function established(seed: number): Pair {
  const { provider } = testCrypto(seed);
  const pair = new Pair({
    initiator: initiatorConfig(provider, relay),
    responder: responderConfig(provider, anonymousProfile(relay)),
  }).run(1000);
  expectEqualSas(pair);
  return pair;
}

/** Nothing an established IKE SA did not already have comes out of it. */
function expectUntouched(end: End, action: () => void): void {
  const before = [end.events.length, end.store.log.length, end.ike.nextTimeout];
  action();
  expect([end.events.length, end.store.log.length, end.ike.nextTimeout]).toEqual(before);
  expect(end.ike.established).toBe(true);
  expect(end.ike.poll()).toBeUndefined();
}

describe('datagrams that are not the peer’s', () => {
  it('change nothing, whatever octet or length of a true message is wrong', () => {
    const pair = established(1);
    pair.call(pair.initiator, (ike, now) => ike.checkLiveness(now));
    const request = pair.sent.at(-1)!.message;
    pair.network = () => [];
    expectUntouched(pair.responder, () => {
      for (let i = 0; i < request.length; i++) {
        for (const bit of [1, 0x80]) {
          const tampered = request.slice();
          tampered[i] ^= bit;
          // A bit of the version's minor number, or an unassigned flag, still makes a wrong ICV.
          pair.responder.ike.handleDatagram(tampered, mirror(TO_RESPONDER), pair.now);
        }
        pair.responder.ike.handleDatagram(request.subarray(0, i), mirror(TO_RESPONDER), pair.now);
      }
    });
    // Untouched, it is answered.
    pair.responder.ike.handleDatagram(request, mirror(TO_RESPONDER), pair.now);
    expect(pair.responder.ike.poll()).toMatchObject({ kind: 'transmit' });
  });

  it('never throw and change nothing, if they are random, at any point', () => {
    const uniform = seededUniform(5);
    const random = seededRandom(6);
    const pair = established(2);
    for (const end of [pair.initiator, pair.responder]) {
      expectUntouched(end, () => {
        for (let i = 0; i < 2000; i++) {
          const message = random(Math.floor(uniform() * 200));
          if (i % 2 === 0 && message.length >= 28) {
            // Well-formed up to its payloads: the right SPIs, type, ID and length.
            message.set(pair.sent[3].message.subarray(0, 16));
            message[17] = 0x20;
            message[18] = 34 + (i % 4);
            message[19] = (end === pair.initiator ? 0 : 8) | (i % 3 === 0 ? 0x20 : 0);
            new DataView(message.buffer).setUint32(20, i % 4);
            new DataView(message.buffer).setUint32(24, message.length);
            if (message[16] === 41) message[16] = 46;
          }
          end.ike.handleDatagram(message, mirror(TO_RESPONDER), pair.now);
        }
      });
    }
  });

  it('are not the peer’s if they come over another link or another overlay peer', () => {
    const pair = established(3);
    pair.call(pair.initiator, (ike, now) => ike.checkLiveness(now));
    const request = pair.sent.at(-1)!.message;
    expectUntouched(pair.responder, () => {
      for (const strange of [{ linkId: 'other' }, { overlayPeer: 'B' }]) {
        pair.responder.ike.handleDatagram(request, { ...mirror(TO_RESPONDER), ...strange }, pair.now);
      }
    });
  });

  it('do not touch an established IKE SA with an unprotected INVALID_IKE_SPI, whatever is under way (rule 92)', () => {
    const pair = established(4);
    for (const messageId of [0, 1, 2, 9]) {
      expectUntouched(pair.initiator, () => forge(pair, 37, messageId, NotifyType.INVALID_IKE_SPI));
    }
    pair.network = () => [];
    pair.call(pair.initiator, (ike, now) => ike.checkLiveness(now));
    expectUntouched(pair.initiator, () => forge(pair, 37, 2, NotifyType.INVALID_IKE_SPI));
    pair.run(3000);
    pair.network = () => [20];
    pair.run(2000);
    expect(pair.initiator.eventTypes).toEqual(['established', 'child-established']);
    expect(pair.initiator.ike.exchanges).toBe(3);
  });

  it.each([
    ['of another message ID', 2, NotifyType.INVALID_IKE_SPI],
    ['that only a protected response may report', 1, NotifyType.AUTHENTICATION_FAILED],
    ['that only another exchange has', 1, NotifyType.NO_PROPOSAL_CHOSEN],
    ['that are none', 1, NotifyType.INITIAL_CONTACT],
  ])('do not make an initiator in IKE_AUTH give up with errors %s', (_, messageId, type) => {
    const { pair } = accomplice(6);
    pair.network = ({ message }) => (message[18] === 34 ? [20] : []);
    pair.run(100);
    forge(pair, 35, messageId, type);
    pair.run(5000);
    expect(pair.initiator.ike.closed).toBe(false);
    pair.run();
    expect(pair.initiator.ending).toBeInstanceOf(NoAnswerError);
  });

  it.each([NotifyType.INVALID_IKE_SPI, NotifyType.INVALID_MAJOR_VERSION])(
    'make it fail with the error that they report (%i), after a grace',
    (type) => {
      const { pair } = accomplice(7);
      pair.network = ({ message }) => (message[18] === 34 ? [20] : []);
      pair.run(100);
      forge(pair, 35, 1, type);
      pair.run(1900);
      expect(pair.initiator.ike.closed).toBe(false);
      pair.run(200);
      expect(pair.initiator.ending).toMatchObject({ name: 'RefusedError', notify: type });
    },
  );

  it('make an initiator in IKE_AUTH give up sooner, but not at once', () => {
    const { provider } = testCrypto(5);
    const make = () =>
      new Pair({
        initiator: initiatorConfig(provider, relay),
        responder: responderConfig(provider, anonymousProfile(relay)),
      });
    const lost = make();
    lost.network = ({ message }) => (message[18] === 34 ? [20] : []);
    lost.run(100);
    // The responder has forgotten it, and says so.
    lost.call(lost.responder, (ike, now) => ike.abort(now));
    lost.network = () => [20];
    lost.run(4000);
    expect(lost.initiator.ending).toMatchObject({ name: 'RefusedError', notify: NotifyType.INVALID_IKE_SPI });
    expectNothingLeft(lost);
  });
});

describe('responses of the peer’s that it should not make', () => {
  it('to IKE_AUTH, with a COOKIE and without a proof, are a syntax error', () => {
    const { pair, answer } = accomplice(21);
    pair.network = ({ message }) => (message[18] === 34 ? [20] : []);
    pair.run(100);
    answer(35, 1, [notify(NotifyType.COOKIE, new Uint8Array(8))]);
    pair.run(2500);
    expect(pair.initiator.ending).toMatchObject({
      name: 'ProtocolError',
      notify: NotifyType.INVALID_SYNTAX,
      message: expect.stringContaining('IDr'),
    });
    pair.run();
    expectNothingLeft(pair);
  });

  it.each(['a malformed answer', 'a refusal', 'an unprotected error', 'silence'])(
    'to the news that it has not proved itself, change nothing about why it ended: %s',
    (what) => {
      const { pair, answer } = accomplice(22, { relay: sharedKey('of somebody on the way') });
      pair.network = ({ from, message }) => (from === 'responder' && message[18] === 37 ? [] : [20]);
      pair.run(100);
      expect(pair.sent.at(-1)!.message[18]).toBe(37);
      expect(pair.initiator.ike.closed).toBe(false);
      if (what === 'a malformed answer') answer(37, 2, [{ kind: 'SA', proposals: [] }]);
      if (what === 'a refusal') answer(37, 2, [notify(NotifyType.INVALID_SYNTAX)]);
      if (what === 'an unprotected error') forge(pair, 37, 2, NotifyType.INVALID_IKE_SPI);
      pair.run(2100);
      expect(pair.initiator.ending).toBeInstanceOf(AuthenticationError);
      expect(pair.initiator.store.isEmpty).toBe(true);
    },
  );
});

describe('requests of the peer’s that it should not make', () => {
  it.each([36, 37, 43, 99])('before IKE_AUTH, in exchange %i, are dropped', (exchangeType) => {
    const { pair, send } = accomplice(11);
    pair.network = ({ message }) => (message[18] === 34 ? [20] : []);
    pair.run(100);
    const before = pair.sent.length;
    send(exchangeType, 1, [notify(NotifyType.INITIAL_CONTACT)]);
    expect(pair.sent).toHaveLength(before);
    expect(pair.responder.events).toEqual([]);
    pair.network = () => [20];
    pair.run(5000);
    expectEqualSas(pair);
  });

  it('for a second Child SA are refused with NO_ADDITIONAL_SAS', () => {
    const { pair, send, lastAnswer } = accomplice(12);
    pair.run(1000);
    send(36, 2, [
      {
        kind: 'SA',
        proposals: encodeProposals(defaultChildProposals, ProtocolId.ESP, Uint8Array.of(9, 9, 9, 9)),
      },
      { kind: 'NONCE', data: new Uint8Array(32) },
      { kind: 'TSi', selectors: [anySelector(4)] },
      { kind: 'TSr', selectors: [anySelector(4)] },
    ]);
    expect(lastAnswer()).toEqual(['N(NO_ADDITIONAL_SAS)']);
    expectEqualSas(pair);
  });

  it.each([
    [35, 2],
    [34, 2],
    [43, 2],
    [37, 3],
    [37, 1],
    [37, 0],
    [37, 0xffffffff],
  ])(
    'in exchange %i with message ID %i are dropped once it is established (rule 7)',
    (exchangeType, messageId) => {
      const { pair, send } = accomplice(13);
      pair.run(1000);
      const before = pair.sent.length;
      expectUntouched(pair.responder, () => send(exchangeType, messageId, []));
      expect(pair.sent).toHaveLength(before);
    },
  );

  it('with an unknown critical payload are refused, and the IKE SA goes on', () => {
    const { pair, send, lastAnswer } = accomplice(14);
    pair.run(1000);
    send(37, 2, [{ kind: 'UNKNOWN', type: 200, critical: true, data: new Uint8Array(3) }]);
    expect(lastAnswer()).toEqual(['N(UNSUPPORTED_CRITICAL_PAYLOAD)']);
    send(37, 3, [{ kind: 'UNKNOWN', type: 200, critical: false, data: new Uint8Array(3) }]);
    expect(lastAnswer()).toEqual([]);
    expectEqualSas(pair);
  });

  it('with payloads that do not belong there end the IKE SA', () => {
    const { pair, send, lastAnswer } = accomplice(15);
    pair.run(1000);
    send(37, 2, [{ kind: 'KE', method: 31, data: new Uint8Array(32) }]);
    expect(lastAnswer()).toEqual(['N(INVALID_SYNTAX)']);
    expect(pair.responder.ending).toMatchObject({ notify: NotifyType.INVALID_SYNTAX });
    pair.run(1);
    expect(pair.responderStore.isEmpty).toBe(true);
  });

  it('to delete SPIs that there are not are answered with nothing', () => {
    const { pair, send, lastAnswer } = accomplice(16);
    pair.run(1000);
    const { spiOut } = pair.initiator.event('child-established').child;
    send(37, 2, [
      {
        kind: 'DELETE',
        protocol: 3,
        spis: [Uint8Array.of(1, 2, 3, 4), Uint8Array.of(0, 0, spiOut >> 8, spiOut & 255)],
      },
      { kind: 'DELETE', protocol: 2, spis: [Uint8Array.of(0, 0, 0x10, 0)] },
    ]);
    expect(lastAnswer()).toEqual([]);
    expect(pair.responderStore.inbound.size).toBe(1);
  });

  it('to the initiator, before it has verified the responder, are dropped', () => {
    const early = new Pair({
      initiator: initiatorConfig(testCrypto(18).provider, relay),
      responder: responderConfig(testCrypto(18).provider, anonymousProfile(relay)),
    });
    // The IKE_AUTH response is late; a Delete of the responder's overtakes it.
    early.network = ({ from, message }) => (from === 'responder' && message[18] === 35 ? [1000] : [20]);
    early.run(200);
    early.call(early.responder, (ike, now) => ike.close(now));
    early.run(400);
    expect(early.initiator.ike.closed).toBe(false);
    early.run(60_000);
    expect(early.initiator.eventTypes).toEqual(['established', 'child-established', 'closed']);
    expectNothingLeft(early);
  });
});
