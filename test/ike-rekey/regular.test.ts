import { describe, expect, it } from 'vitest';
import type { SaPayload } from '../../src/ike/payload/payload.ts';
import { Duel, type Side } from '../support/duel.ts';
import { expectOneIkeSa, rekey } from './expectations.ts';

const OTHER = { a: 'b', b: 'a' } as const;
const EITHER: readonly { readonly rekeys: Side; readonly answers: Side }[] = [
  { rekeys: 'a', answers: 'b' },
  { rekeys: 'b', answers: 'a' },
];
const OLD = { a: 1, b: 2 } as const;

describe('rekeying an IKE SA', () => {
  it.each(EITHER)('scenario: ike rekey: regular ($rekeys rekeys) (rules 64, 70)', ({ rekeys, answers }) => {
    const duel = new Duel();
    rekey(duel, rekeys);
    const request = duel.deliver(answers);
    // RFC 7296 1.3.2: no traffic selectors, a key exchange in any case.
    expect([request.exchange, ...request.names]).toEqual(['CREATE_CHILD_SA', 'SA', 'NONCE', 'KE']);
    expect(duel.ikeSas(answers)).toEqual({ all: [OLD[answers], 4], current: 4 });
    expect(duel.deliver(rekeys).names).toEqual(['SA', 'NONCE', 'KE']);
    expect(duel.ikeSas(rekeys)).toEqual({ all: [OLD[rekeys], 3], current: 3 });
    // The Child SAs have moved at both ends before the old IKE SA is deleted.
    expect(duel.deliver(answers)).toMatchObject({ ike: [1, 2], names: ['DELETE'] });
    expect(duel.deliver(rekeys)).toMatchObject({ ike: [1, 2], response: true, names: [] });
    const spis = { [rekeys]: 3, [answers]: 4 } as Record<Side, number>;
    expectOneIkeSa(duel, spis.a, spis.b);
    for (const host of [duel.a, duel.b]) {
      expect(host.eventTypes.slice(2)).toEqual(['successor', 'rekeyed', 'retired']);
    }
  });

  it.each(EITHER)(
    'makes who rekeys it the original initiator, and counts messages from 0 (rules 6, 26, 64, 68) ($rekeys rekeys)',
    ({ rekeys, answers }) => {
      const duel = new Duel();
      for (const side of ['a', 'b', 'a', 'b'] as const) {
        duel.call(side, (ike, now) => ike.checkLiveness(now));
        duel.settle();
      }
      rekey(duel, rekeys);
      const offered = duel.read(duel.pending(answers)[0]).payloads[0] as SaPayload;
      expect(offered.proposals.map(({ spi }) => spi.length)).toEqual(offered.proposals.map(() => 8));
      duel.settle();
      for (const side of [rekeys, answers]) {
        duel.call(side, (ike, now) => ike.checkLiveness(now));
        duel.call(side, (ike, now) => ike.rekey(now));
        const { message } = duel.pending(OTHER[side])[0];
        // The I flag is that of the new role, and the other request waits: the window is of one.
        expect((message[19] & 0x08) !== 0).toBe(side === rekeys);
        expect([...message.subarray(20, 24)]).toEqual([0, 0, 0, 0]);
        expect(duel.pending(OTHER[side])).toHaveLength(1);
        duel.take(OTHER[side]);
        duel.call(side, (ike, now) => ike.abort(now));
      }
    },
  );

  it('can be done again and again, by either end', () => {
    const duel = new Duel();
    for (let round = 0; round < 10; round++) {
      rekey(duel, round % 3 === 0 ? 'a' : 'b');
      duel.settle();
    }
    const spis = [duel.ikeSas('a').current, duel.ikeSas('b').current].sort((x, y) => x - y);
    expect(spis).toEqual([21, 22]);
    expectOneIkeSa(duel, duel.ikeSas('a').current, duel.ikeSas('b').current);
  });

  it('answers on the old IKE SA until that is gone, and nothing but Deletes and liveness checks with success (rule 10)', () => {
    const duel = new Duel();
    rekey(duel, 'a');
    const request = duel.take('b');
    duel.deliver('b', request);
    const [first] = duel.pending('a');
    duel.take('a');
    // The response was lost: the request comes again, and is answered with the same octets.
    duel.advance(500);
    duel.deliver('b');
    expect(duel.pending('a').map(({ message }) => message)).toEqual([first.message]);
    duel.settle();
    expectOneIkeSa(duel, 3, 4);
  });

  it('removes the old IKE SA in the end if the peer never deletes it', () => {
    const duel = new Duel();
    rekey(duel, 'a');
    duel.deliver('b');
    expect(duel.ikeSas('b').all).toEqual([2, 4]);
    duel.call('a', (ike, now) => ike.abort(now));
    duel.take('a');
    duel.advance(179_999);
    expect(duel.ikeSas('b').all).toEqual([2, 4]);
    duel.advance(1);
    expect(duel.ikeSas('b')).toEqual({ all: [4], current: 4 });
    expect(duel.b.eventTypes).not.toContain('closed');
  });

  it('never keeps more than a few, however often the peer rekeys, and deletes nothing', () => {
    const duel = new Duel();
    for (let round = 0; round < 20; round++) {
      rekey(duel, 'a');
      for (const side of ['b', 'a'] as const) {
        while (duel.pending(side).length > 0) {
          const flight = duel.take(side);
          if (!duel.read(flight).names.includes('DELETE')) duel.deliver(side, flight);
        }
      }
    }
    const { all, current } = duel.ikeSas('b');
    expect(all.length).toBeLessThanOrEqual(8);
    expect(current).toBe(duel.ikeSas('a').current + 1);
  });
});
