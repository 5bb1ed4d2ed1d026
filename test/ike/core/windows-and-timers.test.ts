import { describe, expect, it } from 'vitest';
import { nodeProvider } from '../../../src/crypto/node.ts';
import { LocalError } from '../../../src/ike/errors.ts';
import { JobQueue } from '../../../src/ike/job-queue.ts';
import { checkLiveness } from '../../../src/ike/procedures/liveness.ts';
import { Agenda, RetransmissionTimer } from '../../../src/ike/timers.ts';
import { IncomingWindow, OutgoingWindow } from '../../../src/ike/window.ts';
import { utf8 } from '../../../src/wire/bytes.ts';
import { SCHEDULE } from '../../support/ike-configs.ts';
import { idleContext } from '../../support/sa-context.ts';

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

const SA = idleContext();

describe('an agenda', () => {
  it('tells when the first work is due, and does each once', () => {
    const done: string[] = [];
    const agenda = new Agenda();
    expect(agenda.earliest).toBeUndefined();
    agenda.set('a', 20, () => done.push('a'));
    agenda.start('a', 10, () => done.push('not started: there is one'));
    agenda.start('b', 15, () => done.push('b'));
    expect(agenda.earliest).toBe(15);
    agenda.runDue(14, SA);
    expect(done).toEqual([]);
    agenda.runDue(15, SA);
    agenda.runDue(15, SA);
    expect(done).toEqual(['b']);
    agenda.delete('a');
    agenda.runDue(20, SA);
    expect(done).toEqual(['b']);
    expect(agenda.earliest).toBeUndefined();
  });

  it('does what its own work adds, and nothing once it is cleared', () => {
    const done: string[] = [];
    const agenda = new Agenda();
    agenda.set('first', 1, () => {
      done.push('first');
      agenda.set('second', 2, () => {
        done.push('second');
        agenda.clear();
      });
      agenda.set('third', 2, () => done.push('third'));
    });
    agenda.runDue(2, SA);
    expect(done).toEqual(['first', 'second']);
  });
});

describe('the queue of jobs', () => {
  it('gives the most urgent, then the oldest', () => {
    const queue = new JobQueue();
    const job = () => checkLiveness(SA);
    const jobs = { liveness: () => job(), rekey: () => job(), again: () => job(), delete: () => job() };
    queue.add('liveness', jobs.liveness);
    queue.add('rekey', jobs.rekey);
    queue.add('rekey', jobs.again);
    queue.add('delete', jobs.delete);
    expect([queue.take(), queue.take()]).toEqual([
      { urgency: 'delete', job: jobs.delete },
      { urgency: 'rekey', job: jobs.rekey },
    ]);
    queue.drop('rekey');
    expect(queue.take()).toEqual({ urgency: 'liveness', job: jobs.liveness });
    queue.add('rekey', jobs.again);
    queue.clear();
    expect(queue.take()).toBeUndefined();
  });
});

describe('the outgoing window', () => {
  it('numbers requests from 0, keeps the number of one that is made anew, and never wraps', () => {
    const window = new OutgoingWindow(SCHEDULE);
    expect(window.messageId).toBe(0);
    window.send(34, [utf8('one')], 0);
    window.send(34, [utf8('again')], 10);
    expect(window.messageId).toBe(0);
    expect(window.outstanding?.datagrams).toEqual([utf8('again')]);
    window.complete();
    expect(window.outstanding).toBeUndefined();
    expect(window.messageId).toBe(1);
  });

  it('refuses to wrap (rule 8)', () => {
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
    window.answer([utf8('answer')]);
    expect(window.classify(0, first)).toEqual({ kind: 'repeated', response: [utf8('answer')] });
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
