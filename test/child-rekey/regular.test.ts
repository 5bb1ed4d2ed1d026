import { describe, expect, it } from 'vitest';
import { Duel } from '../support/duel.ts';
import { close, EITHER, expectClosed, expectKept, KE_MISMATCH, news, rekey, tell } from './steps.ts';

/** The request and its answer are through; the Delete of the old SA is on its way. */
function replaced(): Duel {
  const duel = new Duel();
  rekey(duel, 'a');
  duel.deliver('b');
  duel.deliver('a');
  expect(duel.a.installed).toEqual([1, 3, 4]);
  expect(duel.b.installed).toEqual([1, 2, 4]);
  return duel;
}

describe('a rekey of a Child SA', () => {
  it.each(EITHER)(
    'scenario: child rekey: regular ($one rekeys) (rules 63, 69)',
    ({ one, other, spiOne, spiOther }) => {
      const duel = new Duel();
      rekey(duel, one);
      expect(duel[one].installed).toEqual([1, 2]);
      const request = duel.deliver(other);
      expect(request.names).toEqual(['N(REKEY_SA)', 'SA', 'NONCE', 'TSi', 'TSr']);
      expect(request.rekeyed).toEqual({ protocol: 3, spi: spiOne });
      // It receives on the new SA, and sends on the old one until the other is ready.
      expect(duel[other].installed).toEqual([1, 2, 4]);
      expect(news(duel, other)).toEqual([]);
      expect(duel.deliver(one).names).toEqual(['SA', 'NONCE', 'TSi', 'TSr']);
      expect(duel[one].installed).toEqual([spiOne, 3, 4]);
      expect(duel[one].outbound).toEqual([4]);
      expect(news(duel, one)).toEqual(['child-rekeyed']);
      expect(duel.deliver(other)).toMatchObject({ names: ['DELETE'], spis: [spiOne] });
      expect(duel[other].installed).toEqual([spiOther, 3, 4]);
      expect(news(duel, other)).toEqual(['child-rekeyed']);
      expect(duel.deliver(one)).toMatchObject({ names: ['DELETE'], spis: [spiOther] });
      // Late packets are still accepted.
      duel.advance(4_999);
      expect(duel[one].installed).toEqual([spiOne, 3, 4]);
      expect(duel[other].installed).toEqual([spiOther, 3, 4]);
      if (one === 'a') expectKept(duel, 3, 4);
      else expectKept(duel, 4, 3);
    },
  );

  it.each(EITHER)(
    'scenario: child rekey: regular ke invalid ($one rekeys) (rule 15)',
    ({ one, other, spiOne, spiOther }) => {
      const duel = new Duel(KE_MISMATCH);
      rekey(duel, one);
      const first = duel.deliver(other);
      expect(first.names).toEqual(['N(REKEY_SA)', 'SA', 'NONCE', 'KE', 'TSi', 'TSr']);
      expect(duel[other].installed).toEqual([1, 2]);
      expect(duel.deliver(one).names).toEqual(['N(INVALID_KE_PAYLOAD)']);
      expect(duel[one].installed).toEqual([1, 2]);
      const second = duel.deliver(other);
      expect(second.transforms).toEqual(first.transforms);
      expect([first.method, second.method]).toEqual(one === 'a' ? [31, 19] : [19, 31]);
      expect(duel[other].installed).toEqual([1, 2, 5]);
      expect(duel.deliver(one).method).toBe(second.method);
      expect(duel[one].installed).toEqual([spiOne, 4, 5]);
      expect(duel.deliver(other).spis).toEqual([spiOne]);
      expect(duel[other].installed).toEqual([spiOther, 4, 5]);
      duel.deliver(one);
      if (one === 'a') expectKept(duel, 4, 5);
      else expectKept(duel, 5, 4);
      // The method that the peer wanted is known now.
      rekey(duel, one);
      expect(duel.deliver(other).method).toBe(second.method);
      duel.settle();
      if (one === 'a') expectKept(duel, 6, 7);
      else expectKept(duel, 7, 6);
    },
  );

  it('scenario: child rekey: responder ignore soft expire', () => {
    const duel = replaced();
    tell(duel, 'b', 'soft', 2);
    expect(duel.pending('a')).toEqual([]);
    expect(duel.deliver('b').spis).toEqual([1]);
    expect(duel.b.installed).toEqual([2, 3, 4]);
    duel.deliver('a');
    expectKept(duel, 3, 4);
  });

  it('scenario: child rekey: responder handle hard expire', () => {
    const duel = replaced();
    tell(duel, 'b', 'hard', 2);
    expect(duel.b.installed).toEqual([3, 4]);
    expect(news(duel, 'b')).toEqual(['child-rekeyed']);
    // The peer is the one to delete it.
    expect(duel.pending('a')).toEqual([]);
    expect(duel.deliver('b').spis).toEqual([1]);
    expect(duel.b.installed).toEqual([3, 4]);
    expect(duel.deliver('a')).toMatchObject({ response: true, names: [] });
    expect(duel.a.installed).toEqual([1, 3, 4]);
    expectKept(duel, 3, 4);
  });

  it('scenario: child rekey: responder delete', () => {
    const duel = replaced();
    close(duel, 'b');
    expect(duel.read(duel.pending('a')[0]).spis).toEqual([2, 4]);
    expect(duel.deliver('b').spis).toEqual([1]);
    expect(duel.deliver('a').spis).toEqual([2, 4]);
    // What the Deletes have in common is not repeated (RFC 7296 1.4.1).
    expect(duel.deliver('a')).toMatchObject({ response: true, names: [] });
    expect(duel.deliver('b')).toMatchObject({ response: true, spis: [3] });
    expectClosed(duel);
  });

  it('scenario: child rekey: responder lost sa', () => {
    const duel = new Duel();
    tell(duel, 'b', 'hard', 2);
    duel.take('a');
    expect(duel.b.installed).toEqual([]);
    rekey(duel, 'a');
    duel.deliver('b');
    const refusal = duel.deliver('a');
    expect(refusal.names).toEqual(['N(CHILD_SA_NOT_FOUND)']);
    expect(duel.a.installed).toEqual([]);
    expect(news(duel, 'a')).toEqual(['child-closed']);
  });

  it('scenario: child rekey: responder incorrect delete', () => {
    const duel = new Duel();
    rekey(duel, 'a');
    duel.deliver('b');
    const response = duel.take('a');
    // b deletes the old SA, which is for a to do.
    duel.forge('b', [2]);
    expect(duel.deliver('a').spis).toEqual([2]);
    expect(duel.a.installed).toEqual([1, 2]);
    duel.deliver('a', response);
    expect(duel.a.installed).toEqual([1, 3, 4]);
    expect(news(duel, 'a')).toEqual(['child-rekeyed']);
    expect(duel.deliver('b')).toMatchObject({ response: true, spis: [1] });
    expect(duel.pending('b')).toEqual([]);
    tell(duel, 'b', 'hard', 2);
    expect(duel.b.installed).toEqual([3, 4]);
    expectKept(duel, 3, 4);
  });

  it('scenario: child rekey: delete timeout', () => {
    const duel = replaced();
    // b answers a message that deletes nothing: it never hears of the Delete.
    duel.deliver('b', duel.rewrite(duel.take('b'), []));
    duel.deliver('a');
    expect(duel.b.installed).toEqual([1, 2, 4]);
    duel.advance(179_999);
    expect(duel.b.installed).toEqual([1, 2, 4]);
    duel.advance(1);
    expect(duel.b.installed).toEqual([3, 4]);
    expectKept(duel, 3, 4);
  });

  it('lets the one who is asked send on the new SA once it is used', () => {
    const duel = replaced();
    tell(duel, 'b', 'used', 2);
    expect(duel.b.outbound).toEqual([1]);
    tell(duel, 'b', 'used', 4);
    expect(duel.b.outbound).toEqual([3]);
    expect(duel.b.inbound).toEqual([2, 4]);
    expect(news(duel, 'b')).toEqual(['child-rekeyed']);
    duel.settle();
    expectKept(duel, 3, 4);
    expect(news(duel, 'b')).toEqual(['child-rekeyed']);
  });
});
