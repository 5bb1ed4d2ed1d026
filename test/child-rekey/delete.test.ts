import { describe, expect, it } from 'vitest';
import { Duel } from '../support/duel.ts';
import { close, EITHER, expectClosed, news, rekey } from './steps.ts';

describe('a Child SA is deleted', () => {
  it.each(EITHER)('scenario: child delete: regular ($one deletes)', ({ one, other, spiOne, spiOther }) => {
    const duel = new Duel();
    close(duel, one);
    expect(duel[one].installed).toEqual([1, 2]);
    expect(duel.deliver(other).spis).toEqual([spiOne]);
    expect(duel[other].installed).toEqual([]);
    expect(news(duel, other)).toEqual(['child-closed']);
    expect(duel.deliver(one).spis).toEqual([spiOther]);
    expect(duel[one].installed).toEqual([]);
    expectClosed(duel);
  });

  it('scenario: child delete: collision', () => {
    const duel = new Duel();
    close(duel, 'a');
    close(duel, 'b');
    expect(duel.deliver('b').spis).toEqual([1]);
    expect(duel.deliver('a').spis).toEqual([2]);
    // RFC 7296 1.4.1: the outbound SAs go with the request, the inbound ones with the response.
    expect([duel.a.installed, duel.b.installed]).toEqual([[1], [2]]);
    expect(duel.deliver('a')).toMatchObject({ response: true, names: [] });
    expect(duel.a.installed).toEqual([]);
    expect(duel.deliver('b')).toMatchObject({ response: true, names: [] });
    expect(duel.b.installed).toEqual([]);
    expectClosed(duel);
  });

  it('scenario: child delete: collision drop', () => {
    const duel = new Duel();
    close(duel, 'a');
    close(duel, 'b');
    duel.deliver('b');
    const late = duel.take('a');
    expect(duel.deliver('a')).toMatchObject({ response: true, names: [] });
    expect(duel.a.installed).toEqual([]);
    duel.deliver('a', late);
    expect(duel.read(duel.pending('b').at(-1)!)).toMatchObject({ response: true, names: [] });
    expectClosed(duel);
  });
});

describe('a Child SA is deleted while the peer rekeys it', () => {
  it.each(EITHER)(
    'scenario: child rekey: delete ($one rekeys) (rule 67)',
    ({ one, other, spiOne, spiOther }) => {
      const duel = new Duel();
      rekey(duel, one);
      close(duel, other);
      duel.deliver(other);
      expect(duel.deliver(one).spis).toEqual([spiOther]);
      // It may have been replaced: the answer is still to come.
      expect(duel[one].installed).toEqual([1, 2]);
      expect(duel.deliver(one).names).toEqual(['N(TEMPORARY_FAILURE)']);
      expect(duel[one].installed).toEqual([]);
      expect(news(duel, one)).toEqual(['child-closed']);
      expect(duel.deliver(other).spis).toEqual([spiOne]);
      expectClosed(duel);
    },
  );

  it.each(EITHER)(
    'scenario: child rekey: delete drop delete ($one rekeys)',
    ({ one, other, spiOne, spiOther }) => {
      const duel = new Duel();
      rekey(duel, one);
      close(duel, other);
      duel.deliver(other);
      const deletion = duel.take(one);
      expect(duel.deliver(one).names).toEqual(['N(TEMPORARY_FAILURE)']);
      expect(duel[one].installed).toEqual([1, 2]);
      expect(news(duel, one)).toEqual([]);
      expect(duel.deliver(one, deletion).spis).toEqual([spiOther]);
      expect(duel[one].installed).toEqual([]);
      expect(duel.deliver(other).spis).toEqual([spiOne]);
      expectClosed(duel);
    },
  );

  it.each(EITHER)(
    'scenario: child rekey: delete drop rekey ($one rekeys) (rule 67)',
    ({ one, other, spiOne, spiOther }) => {
      const duel = new Duel();
      rekey(duel, one);
      close(duel, other);
      const request = duel.take(other);
      expect(duel.deliver(one).spis).toEqual([spiOther]);
      expect(duel[one].installed).toEqual([1, 2]);
      expect(duel.deliver(other).spis).toEqual([spiOne]);
      expect(duel[other].installed).toEqual([]);
      duel.deliver(other, request);
      const refusal = duel.pending(one).map((flight) => duel.read(flight).names);
      expect(refusal).toContainEqual([other === 'b' ? 'N(CHILD_SA_NOT_FOUND)' : 'N(TEMPORARY_FAILURE)']);
      expectClosed(duel);
    },
  );

  it.each(EITHER)(
    'scenario: child rekey: delete delayed response ($one rekeys)',
    ({ one, other, spiOne, spiOther }) => {
      const duel = new Duel();
      rekey(duel, one);
      duel.deliver(other);
      const response = duel.take(one);
      close(duel, other);
      expect(duel.deliver(one).spis).toEqual([spiOther, 4]);
      expect(duel[one].installed).toEqual([1, 2]);
      expect(duel.deliver(other).spis).toEqual([spiOne]);
      expect(duel[other].installed).toEqual([]);
      duel.deliver(one, response);
      // It knows that the new one was deleted before it had it.
      expect(duel[one].installed).toEqual([]);
      expect(duel[one].store.log.filter(({ kind }) => kind === 'inbound')).toHaveLength(1);
      expectClosed(duel);
    },
  );
});
