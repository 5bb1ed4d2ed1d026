import { describe, expect, it } from 'vitest';
import { NotifyType } from '../../src/ike/constants.ts';
import { peekHeader } from '../../src/ike/message.ts';
import { notify } from '../../src/ike/payload/index.ts';
import { findNotify } from '../../src/ike/payloads.ts';
import { hex } from '../../src/wire/bytes.ts';
import { accomplice } from '../support/accomplice.ts';
import { names } from '../support/pair.ts';
import { expectEqualSas } from '../support/pair-assertions.ts';

const INFORMATIONAL = 37;

/** Established, and the count of what was sent until then. */
function established(seed: number) {
  const made = accomplice(seed);
  made.pair.run(1000);
  expectEqualSas(made.pair);
  return { ...made, before: made.pair.sent.length };
}

describe('message IDs', () => {
  it('are counted in each direction on its own, and a response has that of its request (rule 2)', () => {
    const { pair, before } = established(1);
    const check = (side: 'initiator' | 'responder') => {
      pair.call(pair[side], (ike, now) => ike.checkLiveness(now));
      pair.run(1000);
    };
    for (const side of ['initiator', 'initiator', 'responder', 'initiator', 'responder'] as const)
      check(side);
    const headers = pair.sent.slice(before).map(({ from, message }) => {
      const { messageId, flags } = peekHeader(message)!;
      return `${from} ${flags.response ? 'answers' : 'asks'} ${messageId}`;
    });
    expect(headers).toEqual([
      'initiator asks 2',
      'responder answers 2',
      'initiator asks 3',
      'responder answers 3',
      'responder asks 0',
      'initiator answers 0',
      'initiator asks 4',
      'responder answers 4',
      'responder asks 1',
      'initiator answers 1',
    ]);
  });

  it('of a response other than the outstanding request’s make it nothing (rule 2)', () => {
    const { pair, answer } = established(2);
    pair.network = () => [];
    pair.call(pair.initiator, (ike, now) => ike.checkLiveness(now));
    const { exchanges } = pair.initiator.ike;
    for (const messageId of [0, 1, 3, 0xffffffff]) answer(INFORMATIONAL, messageId, []);
    expect(pair.initiator.ike.exchanges).toBe(exchanges);
    answer(INFORMATIONAL, 2, []);
    expect(pair.initiator.ike.exchanges).toBe(exchanges + 1);
  });

  it('outside of the window get no answer, and INVALID_MESSAGE_ID is not among what is sent (rule 7)', () => {
    const { pair, send, crypto } = established(3);
    send(INFORMATIONAL, 2, []);
    const answered = pair.sent.length;
    for (const messageId of [0, 1, 4, 5, 1000, 0xffffffff]) send(INFORMATIONAL, messageId, []);
    pair.run(60_000);
    expect(pair.sent).toHaveLength(answered);
    send(INFORMATIONAL, 3, []);
    expect(pair.sent).toHaveLength(answered + 1);
    for (const { message } of pair.sent) {
      expect(findNotify(crypto.read(message), NotifyType.INVALID_MESSAGE_ID)).toBeUndefined();
    }
  });

  it('of both ends have a window of one, whatever window the peer has (rule 6)', () => {
    const { pair, send, lastAnswer } = established(8);
    const windowSize = notify(NotifyType.SET_WINDOW_SIZE, Uint8Array.of(0, 0, 0, 9));
    send(INFORMATIONAL, 2, [windowSize]);
    expect(lastAnswer()).toEqual([]);
    const before = pair.sent.length;
    for (const messageId of [4, 5, 11]) send(INFORMATIONAL, messageId, []);
    expect(pair.sent).toHaveLength(before);
    pair.network = () => [];
    pair.call(pair.responder, (ike, now) => {
      ike.checkLiveness(now);
      ike.closeChild(pair.responder.tunnelId, now);
      ike.close(now);
    });
    expect(pair.sent).toHaveLength(before + 1);
  });

  it('that the peer finds invalid are its own affair: the notify is answered with nothing (rule 7)', () => {
    const { pair, send, lastAnswer } = established(4);
    send(INFORMATIONAL, 2, [notify(NotifyType.INVALID_MESSAGE_ID, new Uint8Array(4))]);
    expect(lastAnswer()).toEqual([]);
    expectEqualSas(pair);
  });
});

describe('a responder', () => {
  it('never sends a response again of its own accord (rule 4)', () => {
    const { pair, send, before } = established(5);
    pair.network = () => [];
    send(INFORMATIONAL, 2, []);
    pair.run(3_600_000);
    expect(pair.sent.slice(before)).toHaveLength(1);
    expect(pair.responder.ike.nextTimeout).toBeUndefined();
  });

  it('repeats a response with the same IV and octets, and not one that it has forgotten (rules 3, 4)', () => {
    const { pair, before } = established(6);
    const check = () => {
      pair.call(pair.initiator, (ike, now) => ike.checkLiveness(now));
      pair.run(1000);
    };
    check();
    const [request, response] = pair.sent.slice(before).map(({ message }) => message);
    for (let i = 0; i < 3; i++) pair.deliverToResponder(request);
    const repeated = pair.sent.slice(before + 2).map(({ message }) => hex(message));
    expect(repeated).toEqual(Array(3).fill(hex(response)));
    check();
    const later = pair.sent.length;
    pair.deliverToResponder(request);
    expect(pair.sent).toHaveLength(later);
  });

  it('ignores another IKE_AUTH with message ID 1, though its ICV is good (bad input 4)', () => {
    const { pair, send, crypto, before } = established(7);
    const [, , request, response] = pair.sent.map(({ message }) => message);
    send(35, 1, crypto.read(request));
    send(35, 1, []);
    expect(pair.sent).toHaveLength(before);
    expect(pair.responder.eventTypes).toEqual(['established', 'child-established']);
    pair.deliverToResponder(request);
    expect(pair.sent.slice(before).map(({ message }) => hex(message))).toEqual([hex(response)]);
    expect(names(crypto.read(response))).toContain('AUTH');
    expectEqualSas(pair);
  });
});
