import { describe, expect, it } from 'vitest';
import { NotifyType } from '../../src/ike/constants.ts';
import { encodePlain, peekHeader } from '../../src/ike/message.ts';
import { notify, type Payload } from '../../src/ike/payload/index.ts';
import { findNotify, payloadOf } from '../../src/ike/payloads.ts';
import { defaultIkeProposals } from '../../src/ike/proposal.ts';
import { accomplice } from '../support/accomplice.ts';
import {
  anonymousProfile,
  initiatorConfig,
  mirror,
  responderConfig,
  sharedKey,
  TO_RESPONDER,
} from '../support/ike-configs.ts';
import { Pair, testCrypto } from '../support/pair.ts';
import { expectEqualSas } from '../support/pair-assertions.ts';

const withGroup = (group: number) =>
  defaultIkeProposals.map(({ transforms }) => ({
    transforms: transforms.filter(({ type, id }) => type !== 4 || id === group),
  }));

describe('IKE_SA_INIT', () => {
  it('has message ID 0 however often it is made anew, and IKE_AUTH is 1 (rule 1)', () => {
    const { provider } = testCrypto(1);
    const relay = sharedKey('relay');
    const pair = new Pair({
      initiator: initiatorConfig(provider, relay),
      responder: { ...responderConfig(provider, anonymousProfile(relay)), ikeProposals: withGroup(19) },
      cookieThreshold: 0,
    }).run(5000);
    expectEqualSas(pair);
    expect(
      pair.sent.map(({ message }) => {
        const { exchangeType, messageId } = peekHeader(message)!;
        return [exchangeType, messageId];
      }),
    ).toEqual([...Array(6).fill([34, 0]), [35, 1], [35, 1]]);
  });

  it('is made anew though the SPI of the responder in its error is not zero (rule 14)', () => {
    const { pair, crypto } = accomplice(2);
    pair.network = () => [];
    pair.run(10);
    const refuse = (payload: Payload) => {
      const { spiI, exchangeType } = peekHeader(pair.sent[0].message)!;
      const spiR = new Uint8Array(8).fill(9);
      const flags = { initiator: false, response: true };
      const message = encodePlain({ spiI, spiR, exchangeType, flags, messageId: 0 }, [payload]);
      pair.call(pair.initiator, (ike, now) => ike.handleDatagram(message, mirror(TO_RESPONDER), now));
      return pair.sent.at(-1)!.message;
    };
    const first = peekHeader(pair.sent[0].message)!;
    const cookie = Uint8Array.of(1, 2, 3);
    const second = refuse(notify(NotifyType.COOKIE, cookie));
    expect(findNotify(crypto.read(second), NotifyType.COOKIE)?.data).toEqual(cookie);
    const third = refuse(notify(NotifyType.INVALID_KE_PAYLOAD, Uint8Array.of(0, 14)));
    expect(payloadOf(crypto.read(third), 'KE').method).toBe(14);
    // The SPI of an error is nobody's: it is not taken over.
    for (const message of [second, third]) {
      const { spiI, spiR } = peekHeader(message)!;
      expect([spiI, spiR]).toEqual([first.spiI, new Uint8Array(8)]);
    }
    refuse(notify(NotifyType.NO_PROPOSAL_CHOSEN));
    pair.run(2100);
    expect(pair.initiator.ending).toMatchObject({ notify: NotifyType.NO_PROPOSAL_CHOSEN });
  });

  it.each([
    [withGroup(19), 31, 19],
    [withGroup(31), 19, 31],
  ])(
    'whose KE is of no group of its proposals gets one of them (rule 16) (bad input 2)',
    (offer, used, asked) => {
      const { pair, crypto } = accomplice(3, { initiator: { ikeProposals: offer } });
      pair.network = () => [];
      pair.run(10);
      const payloads = crypto
        .read(pair.sent[0].message)
        .map((payload) => (payload.kind === 'KE' ? { ...payload, method: used } : payload));
      pair.deliverToResponder(encodePlain(peekHeader(pair.sent[0].message)!, payloads));
      const answer = crypto.read(pair.sent.at(-1)!.message);
      expect(answer).toEqual([notify(NotifyType.INVALID_KE_PAYLOAD, Uint8Array.of(0, asked))]);
      expect(pair.responder.ike.closed).toBe(true);
    },
  );

  it('answered with an error is completed by a genuine answer until its time is over (rule 17)', () => {
    for (const type of [14, 7, 24, 43, 8190]) {
      const { pair } = accomplice(4);
      pair.network = ({ from }) => (from === 'initiator' ? [500] : [500]);
      pair.run(10);
      const { spiI, exchangeType } = peekHeader(pair.sent[0].message)!;
      const flags = { initiator: false, response: true };
      const fields = { spiI, spiR: new Uint8Array(8), exchangeType, flags, messageId: 0 };
      const message = encodePlain(fields, [notify(type)]);
      pair.call(pair.initiator, (ike, now) => ike.handleDatagram(message, mirror(TO_RESPONDER), now));
      expect(pair.initiator.ike.closed).toBe(false);
      pair.run(5000);
      expectEqualSas(pair);
    }
  });
});
