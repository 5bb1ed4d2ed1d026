import { describe, expect, it } from 'vitest';
import { Duel, type Side } from '../support/duel.ts';
import { expectNothing, expectOneIkeSa, rekey } from './expectations.ts';

const EITHER: readonly { readonly rekeys: Side; readonly deletes: Side }[] = [
  { rekeys: 'a', deletes: 'b' },
  { rekeys: 'b', deletes: 'a' },
];

function close(duel: Duel, side: Side): void {
  duel.call(side, (ike, now) => ike.close(now));
}

describe('deleting an IKE SA', () => {
  it.each(['a', 'b'] as const)('scenario: ike delete: regular (%s deletes)', (side) => {
    const duel = new Duel();
    const peer = side === 'a' ? 'b' : 'a';
    close(duel, side);
    expect(duel.deliver(peer).names).toEqual(['DELETE']);
    expect(duel[peer].ike.closed).toBe(true);
    expect(duel.deliver(side)).toMatchObject({ response: true, names: [] });
    expectNothing(duel);
    for (const host of [duel.a, duel.b]) expect(host.events.at(-1)).toEqual({ type: 'closed' });
  });

  it('scenario: ike delete: collision', () => {
    const duel = new Duel();
    close(duel, 'a');
    close(duel, 'b');
    // RFC 7296 2.25.2: each replies as usual, and forgets about its own request.
    expect(duel.deliver('b').names).toEqual(['DELETE']);
    expect(duel.deliver('a').names).toEqual(['DELETE']);
    duel.settle();
    expectNothing(duel);
    for (const host of [duel.a, duel.b]) expect(host.events.at(-1)).toEqual({ type: 'closed' });
  });

  it.each(EITHER)(
    'scenario: ike rekey: collision delete ($deletes deletes) (rules 10, 67)',
    ({ rekeys, deletes }) => {
      const duel = new Duel();
      rekey(duel, rekeys);
      close(duel, deletes);
      duel.deliver(deletes);
      expect(duel.deliver(rekeys).names).toEqual(['DELETE']);
      expect(duel.read(duel.pending(rekeys)[0]).names).toEqual(['N(TEMPORARY_FAILURE)']);
      duel.settle();
      expectNothing(duel);
    },
  );

  it.each(EITHER)('scenario: ike rekey: delete drop delete ($deletes deletes)', ({ rekeys, deletes }) => {
    const duel = new Duel();
    rekey(duel, rekeys);
    close(duel, deletes);
    const late = duel.take(rekeys);
    duel.deliver(deletes);
    expect(duel.deliver(rekeys).names).toEqual(['N(TEMPORARY_FAILURE)']);
    expect(duel[rekeys].ike.established).toBe(true);
    duel.deliver(rekeys, late);
    duel.settle();
    expectNothing(duel);
  });

  it('is tried again 5 to 10 s after TEMPORARY_FAILURE, not before', () => {
    const duel = new Duel();
    // B is busy with closing its Child SA; its Delete is held up.
    duel.call('b', (ike, now) => ike.checkLiveness(now));
    duel.settle();
    close(duel, 'b');
    const held = duel.take('a');
    rekey(duel, 'a');
    duel.deliver('b');
    expect(duel.deliver('a').names).toEqual(['N(TEMPORARY_FAILURE)']);
    duel.advance(1_000);
    expect(duel.pending('b')).toEqual([]);
    const { nextTimeout } = duel.a.ike;
    expect(nextTimeout).toBeGreaterThanOrEqual(5_000);
    expect(nextTimeout).toBeLessThan(10_000);
    duel.deliver('a', held);
    expect(duel.a.ike.closed).toBe(true);
  });

  it('that was closed while its rekey was out is closed with the one that replaces it', () => {
    const duel = new Duel();
    rekey(duel, 'a');
    close(duel, 'a');
    duel.settle();
    expectNothing(duel);
  });

  it('with two rekeys under way leaves nothing', () => {
    const duel = new Duel();
    rekey(duel, 'a');
    rekey(duel, 'b');
    duel.deliver('a');
    close(duel, 'a');
    duel.settle();
    duel.advance(200_000);
    duel.settle();
    expectNothing(duel);
  });

  it('by the peer right after its rekey is understood, whichever message comes first', () => {
    const duel = new Duel();
    rekey(duel, 'a');
    duel.deliver('b');
    duel.deliver('a');
    close(duel, 'a');
    const [onOld, onNew] = [duel.take('b'), duel.take('b')];
    expect(duel.read(onNew).ike).toEqual([3, 4]);
    duel.deliver('b', onNew);
    duel.deliver('b', onOld);
    duel.settle();
    expectNothing(duel);
    expect(() => expectOneIkeSa(duel, 3, 4)).toThrow();
  });
});
