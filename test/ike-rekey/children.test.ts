import { describe, expect, it } from 'vitest';
import { anySelector } from '../../src/wire/traffic-selector.ts';
import { close as closeChild, EITHER, rekey as rekeyChild } from '../child-rekey/steps.ts';
import { Duel, type Side } from '../support/duel.ts';
import { expectNothing, rekey } from './expectations.ts';

const UDP = { ...anySelector(4), protocol: 17 };
const SELECTORS = { tsI: [UDP], tsR: [UDP] };

function createChild(duel: Duel, side: Side): void {
  duel.call(side, (ike, now) => ike.createChild(SELECTORS, now));
}

function closeIke(duel: Duel, side: Side): void {
  duel.call(side, (ike, now) => ike.close(now));
}

/** Two hosts that may have a second Child SA, so that the IKE SA has a reason to stay when the first is gone. */
function duelOfTwo(): Duel {
  return new Duel({ profile: { maxChildren: 2 } });
}

/** Half a minute in which everything arrives at once. */
function passTime(duel: Duel): void {
  for (let second = 0; second < 30; second++) {
    duel.advance(1_000);
    duel.settle();
  }
}

/** Both have the same Child SAs, on one new IKE SA, and say so to each other. */
function expectAgreement(duel: Duel, children: number): void {
  passTime(duel);
  const { a, b } = duel;
  expect([a.inbound.length, b.inbound.length]).toEqual([children, children]);
  expect([...a.outbound].sort()).toEqual([...b.inbound].sort());
  expect([...b.outbound].sort()).toEqual([...a.inbound].sort());
  expect([...a.reserved, ...b.reserved]).toEqual([]);
  expect([duel.ikeSas('a').all.length, duel.ikeSas('b').all.length]).toEqual([1, 1]);
  expect(duel.ikeSas('a').current).toBeGreaterThan(2);
  for (const side of ['a', 'b'] as const) {
    const before = duel[side].ike.exchanges;
    duel.call(side, (ike, now) => ike.checkLiveness(now));
    duel.settle();
    expect(duel[side].ike.exchanges).toBe(before + 1);
  }
}

// RFC 7296 2.25: whoever changes a Child SA puts the rekey of the IKE SA off, and who rekeys that puts off new Child SAs.
describe('rekeying the IKE SA while the peer changes a Child SA', () => {
  it('scenario: child create: collision ike rekey (rule 67)', () => {
    const duel = duelOfTwo();
    createChild(duel, 'a');
    rekey(duel, 'b');
    duel.deliver('b');
    duel.deliver('a');
    expect(duel.deliver('a').names).toEqual(['N(TEMPORARY_FAILURE)']);
    expect(duel.deliver('b').names).toEqual(['N(TEMPORARY_FAILURE)']);
    expect([...duel.pending('a'), ...duel.pending('b')]).toEqual([]);
    expectAgreement(duel, 2);
  });

  it.each(EITHER)(
    'scenario: child rekey: ike rekey ($one rekeys the Child SA) (rule 67)',
    ({ one, other }) => {
      const duel = new Duel();
      rekeyChild(duel, one);
      rekey(duel, other);
      duel.deliver(other);
      duel.deliver(one);
      expect(duel.deliver(one).names).toEqual(['N(TEMPORARY_FAILURE)']);
      expect(duel.deliver(other).names).toEqual(['N(TEMPORARY_FAILURE)']);
      expect(duel[one].inbound).toHaveLength(1);
      expectAgreement(duel, 1);
      expect(duel.a.eventTypes).toContain('child-rekeyed');
    },
  );

  it.each(EITHER)(
    'scenario: child delete: collision ike rekey ($one deletes the Child SA) (rule 67)',
    ({ one, other }) => {
      const duel = duelOfTwo();
      createChild(duel, 'a');
      duel.settle();
      closeChild(duel, one);
      rekey(duel, other);
      // The Delete is answered as usual.
      duel.deliver(other);
      expect(duel.read(duel.pending(one).at(-1)!).names).toEqual(['DELETE']);
      duel.deliver(one);
      expect(duel.deliver(one).names).toEqual(['DELETE']);
      expect(duel.deliver(other).names).toEqual(['N(TEMPORARY_FAILURE)']);
      expectAgreement(duel, 1);
    },
  );
});

describe('deleting the IKE SA while the peer changes a Child SA', () => {
  it.each(EITHER)('scenario: child rekey: ike delete ($one rekeys the Child SA)', ({ one, other }) => {
    const duel = new Duel();
    rekeyChild(duel, one);
    closeIke(duel, other);
    duel.deliver(other);
    expect(duel.deliver(one).names).toEqual(['DELETE']);
    expect(duel.read(duel.pending(one)[0]).names).toEqual(['N(TEMPORARY_FAILURE)']);
    duel.settle();
    expectNothing(duel);
  });

  it.each(EITHER)(
    'scenario: child delete: collision ike delete ($one deletes the Child SA)',
    ({ one, other }) => {
      const duel = duelOfTwo();
      createChild(duel, 'a');
      duel.settle();
      closeChild(duel, one);
      closeIke(duel, other);
      duel.deliver(other);
      expect(duel.deliver(one).names).toEqual(['DELETE']);
      expect(duel.read(duel.pending(one)[0]).names).toEqual(['DELETE']);
      duel.settle();
      expectNothing(duel);
    },
  );
});

describe('Child SAs of an IKE SA that is rekeyed', () => {
  it.each(EITHER)(
    'are rekeyed, deleted and made on the new one, whoever rekeyed it ($one did)',
    ({ one, other }) => {
      const duel = duelOfTwo();
      rekey(duel, one);
      duel.settle();
      createChild(duel, 'a');
      duel.settle();
      rekeyChild(duel, other);
      duel.settle();
      expectAgreement(duel, 2);
      closeChild(duel, one);
      duel.settle();
      expectAgreement(duel, 1);
    },
  );

  it.each(EITHER)(
    'have what was to be done on the old one done on the new one ($one has it to do)',
    ({ one }) => {
      const duel = new Duel();
      rekey(duel, one);
      rekeyChild(duel, one);
      duel.settle();
      expectAgreement(duel, 1);
      for (const host of [duel.a, duel.b]) {
        expect(host.eventTypes.slice(2)).toEqual(['successor', 'rekeyed', 'retired', 'child-rekeyed']);
      }
    },
  );

  it('belong to the one that the peer uses for them, before we have decided', () => {
    const duel = duelOfTwo();
    duel.nonce = 0xff;
    rekey(duel, 'a');
    const lost = duel.take('b');
    rekey(duel, 'b');
    duel.deliver('a');
    duel.deliver('b');
    // B has rekeyed, and its Delete of the old IKE SA is late; what it does next is on the new one.
    const late = duel.take('a');
    rekeyChild(duel, 'b');
    duel.deliver('a');
    expect(duel.ikeSas('a')).toEqual({ all: [1, 5], current: 5 });
    duel.deliver('a', late);
    duel.deliver('b', lost);
    duel.settle();
    expectAgreement(duel, 1);
  });

  it('stay there when the answer to our own request comes only then', () => {
    const duel = duelOfTwo();
    duel.nonce = 0x00;
    rekey(duel, 'a');
    duel.nonce = 0xff;
    rekey(duel, 'b');
    duel.deliver('b');
    duel.deliver('a');
    const late = duel.take('a');
    duel.deliver('b');
    const lateDelete = duel.take('a');
    rekeyChild(duel, 'b');
    duel.deliver('a');
    expect(duel.ikeSas('a').current).toBe(6);
    duel.deliver('a', late);
    expect(duel.ikeSas('a')).toEqual({ all: [1, 6, 3], current: 6 });
    duel.deliver('a', lateDelete);
    duel.settle();
    expectAgreement(duel, 1);
    expect(duel.ikeSas('a').current).toBe(6);
  });
});
