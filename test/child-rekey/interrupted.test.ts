import { describe, expect, it } from 'vitest';
import { NotifyType } from '../../src/ike/constants.ts';
import { notify } from '../../src/ike/payload/index.ts';
import type { SaOperation } from '../../src/link/sa-store.ts';
import { Duel, type Side } from '../support/duel.ts';
import { close, EITHER, expectClosed, expectKept, news, rekey, tell } from './steps.ts';

const STEPS = ['reserve', 'inbound', 'outbound'] as const;
type Step = (typeof STEPS)[number];

/** `one` rekeys, and its own operation of that kind, or that of the one who is asked, is held back. */
function held(one: Side, at: Side, step: Step): Duel {
  const duel = new Duel();
  duel[at].isHeld = ({ kind }: SaOperation) => kind === step;
  rekey(duel, one);
  duel.settle();
  expect(duel[at].held).not.toEqual([]);
  duel[at].isHeld = () => false;
  return duel;
}

function releaseAll(duel: Duel, side: Side): void {
  while (duel[side].held.length > 0) duel.release(side);
}

const CASES = EITHER.flatMap(({ one, other }) => [
  ...STEPS.map((step) => ({ one, other, at: one, step })),
  ...STEPS.map((step) => ({ one, other, at: other, step })),
]);

describe('a rekey that is interrupted', () => {
  it.each(CASES)(
    'by the end of the IKE SA, while $at waits for "$step" ($one rekeys)',
    ({ one, at, step }) => {
      const duel = held(one, at, step);
      duel.call(at, (ike, now) => ike.abort(now));
      releaseAll(duel, at);
      expect(duel[at].store.isEmpty).toBe(true);
      expect(duel[at].eventTypes.at(-1)).toBe('closed');
      const other = at === 'a' ? 'b' : 'a';
      duel.call(other, (ike, now) => ike.abort(now));
      expect(duel[other].store.isEmpty).toBe(true);
    },
  );

  it.each(CASES)(
    'by the deletion of the tunnel, while $at waits for "$step" ($one rekeys)',
    ({ one, at, step }) => {
      const duel = held(one, at, step);
      close(duel, at);
      releaseAll(duel, at);
      expectClosed(duel);
    },
  );

  it.each(CASES)(
    'by the peer, who deletes the tunnel, while $at waits for "$step" ($one rekeys)',
    ({ one, at, step }) => {
      const duel = held(one, at, step);
      const peer = at === 'a' ? 'b' : 'a';
      close(duel, peer);
      duel.settle();
      releaseAll(duel, at);
      duel.settle();
      duel.advance(30_000);
      expectClosed(duel);
    },
  );

  it.each(CASES)('by a backend that fails at "$step" of $at ($one rekeys)', ({ one, other, at, step }) => {
    const duel = new Duel();
    let failures = 1;
    duel[at].store.failure = ({ kind }) => (kind === step && failures-- > 0 ? 'no memory' : undefined);
    rekey(duel, one);
    duel.settle();
    duel.advance(5_000);
    if (at === other && step === 'outbound') {
      // It has taken over, and cannot send: the tunnel is closed.
      expectClosed(duel);
      return;
    }
    expect(duel[one].installed).toEqual([1, 2]);
    expect(duel[other].installed).toEqual([1, 2]);
    expect([...duel.a.reserved, ...duel.b.reserved]).toEqual([]);
    expect([...news(duel, 'a'), ...news(duel, 'b')]).toEqual([]);
    rekey(duel, one);
    duel.settle();
    duel.advance(5_000);
    expect(duel[one].installed).toEqual(duel[other].installed);
    expect(duel[one].installed).not.toContain(1);
    expect([...duel.a.reserved, ...duel.b.reserved]).toEqual([]);
  });

  it('by a collision with one that fails: the other counts', () => {
    const duel = new Duel();
    duel.nonce = 0xff;
    rekey(duel, 'a');
    duel.nonce = 0x00;
    rekey(duel, 'b');
    duel.deliver('b');
    duel.deliver('a');
    // A's own would have won, but B refuses it.
    duel.deliver('a', duel.rewrite(duel.take('a'), [notify(NotifyType.NO_ADDITIONAL_SAS)]));
    duel.settle();
    expect(duel.a.outbound).toHaveLength(1);
  });

  it('by a rekey of the new SA, which is not installed yet, has the peer wait (rule 67)', () => {
    const duel = new Duel();
    rekey(duel, 'a');
    duel.deliver('b');
    duel.a.isHeld = ({ kind }) => kind === 'inbound';
    duel.deliver('a');
    duel.a.isHeld = () => false;
    tell(duel, 'b', 'used', 4);
    rekey(duel, 'b');
    expect(duel.deliver('a').rekeyed).toEqual({ protocol: 3, spi: 4 });
    expect(duel.deliver('b').names).toEqual(['N(TEMPORARY_FAILURE)']);
    releaseAll(duel, 'a');
    duel.settle();
    expect([duel.a.outbound, duel.b.outbound]).toEqual([[4], [3]]);
    duel.advance(10_000);
    duel.settle();
    expectKept(duel, 7, 6);
  });

  it('by an answer that comes while the peer’s own rekey is being installed', () => {
    const duel = new Duel();
    duel.nonce = 0xff;
    rekey(duel, 'a');
    duel.nonce = 0x00;
    rekey(duel, 'b');
    duel.nonce = 0x80;
    duel.a.isHeld = ({ kind }) => kind === 'reserve';
    duel.deliver('a');
    duel.a.isHeld = () => false;
    duel.deliver('b');
    // A has B's answer before it has answered B.
    duel.deliver('a');
    releaseAll(duel, 'a');
    duel.settle();
    const [atA] = duel.a.outbound;
    duel.advance(5_000);
    expect(duel.b.inbound).toEqual([atA]);
    expectKept(duel, duel.a.inbound[0], duel.b.inbound[0]);
  });
});
