import { describe, expect, it } from 'vitest';
import { nodeProvider } from '../../../src/crypto/node.ts';
import { LocalError } from '../../../src/ike/errors.ts';
import { Deadlines, RetransmissionTimer } from '../../../src/ike/timers.ts';
import { IncomingWindow, OutgoingWindow } from '../../../src/ike/window.ts';
import { utf8 } from '../../../src/wire/bytes.ts';
import { SCHEDULE } from '../../support/ike-configs.ts';

describe('the retransmission timer', () => {
  it('follows its schedule and waits one more interval', () => {
    const timer = new RetransmissionTimer({ first: 100, factor: 3, cap: 1000, tries: 4 }, 50);
    const at: number[] = [];
    for (;;) {
      at.push(timer.deadline);
      if (timer.expire(timer.deadline) === 'give-up') break;
    }
    expect(at).toEqual([150, 450, 1350, 2350]);
    expect(timer.sends).toBe(4);
  });
});

describe('deadlines', () => {
  it('give the earliest, and each that is due once', () => {
    const deadlines = new Deadlines<'a' | 'b'>();
    expect(deadlines.earliest).toBeUndefined();
    deadlines.set('a', 20);
    deadlines.start('a', 10);
    deadlines.start('b', 15);
    expect(deadlines.earliest).toBe(15);
    expect(deadlines.takeDue(14)).toBeUndefined();
    expect(deadlines.takeDue(15)).toBe('b');
    expect(deadlines.takeDue(15)).toBeUndefined();
    deadlines.clear('a');
    expect(deadlines.earliest).toBeUndefined();
  });
});

describe('the outgoing window', () => {
  it('numbers requests from 0, keeps the number of one that is made anew, and never wraps', () => {
    const window = new OutgoingWindow(SCHEDULE);
    expect(window.messageId).toBe(0);
    window.send(34, utf8('one'), 0);
    window.send(34, utf8('again'), 10);
    expect(window.messageId).toBe(0);
    expect(window.outstanding?.message).toEqual(utf8('again'));
    window.complete();
    expect(window.outstanding).toBeUndefined();
    expect(window.messageId).toBe(1);
  });

  it('refuses to wrap', () => {
    const window = new OutgoingWindow(SCHEDULE, 0xffff_ffff);
    expect(window.messageId).toBe(0xffff_ffff);
    window.complete();
    expect(() => window.messageId).toThrow(LocalError);
  });
});

describe('the incoming window', () => {
  it('takes one request after the other, and knows the last one by its octets', () => {
    const window = new IncomingWindow(nodeProvider());
    const first = utf8('first');
    const second = utf8('second');
    expect(window.classify(1, first).kind).toBe('outside');
    expect(window.classify(0, first).kind).toBe('new');
    window.accept(first);
    // Not answered yet: repetitions are absorbed, and the next request is early.
    expect(window.classify(0, first)).toEqual({ kind: 'repeated', response: undefined });
    expect(window.classify(0, second).kind).toBe('outside');
    expect(window.classify(1, second).kind).toBe('outside');
    window.answer(utf8('answer'));
    expect(window.classify(0, first)).toEqual({ kind: 'repeated', response: utf8('answer') });
    expect(window.classify(0, second).kind).toBe('outside');
    expect(window.classify(1, second).kind).toBe('new');
    window.accept(second);
    expect(window.classify(0, first).kind).toBe('outside');
    expect(window.classify(0xffff_ffff, first).kind).toBe('outside');
  });

  it('does not keep the request itself', () => {
    const window = new IncomingWindow(nodeProvider());
    const request = utf8('request');
    window.accept(request);
    request.fill(0);
    expect(window.classify(0, utf8('request')).kind).toBe('repeated');
    expect(window.classify(0, request).kind).toBe('outside');
  });
});
