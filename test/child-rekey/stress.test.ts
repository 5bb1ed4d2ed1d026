import { describe, expect, it } from 'vitest';
import { Duel, type DuelOptions, type InFlight, type Side } from '../support/duel.ts';
import { seededUniform } from '../support/seeded-random.ts';
import { transforms } from '../support/transforms-text.ts';
import { KE_MISMATCH, rekey } from './steps.ts';

/** Nobody gives up: that is tested elsewhere. */
const PATIENT = { retransmission: { first: 500, factor: 2, cap: 2_000, tries: 1_000 } };

const SIDES: readonly Side[] = ['a', 'b'];

const MULTI_KE = {
  ikeProposals: [{ transforms: transforms('ENCR 20/256, PRF 5, KE 31, ADDKE1 19') }],
  childProposals: [{ transforms: transforms('ENCR 20/256, KE 31, ADDKE1 19, ESN 1') }],
};
const KEY_EXCHANGES: readonly DuelOptions[] = [KE_MISMATCH, { initiator: MULTI_KE, responder: MULTI_KE }, {}];

/**
 * Both rekey as often as they like, with an even seed the IKE SA as well, over a network that loses, repeats, delays and
 * reorders, with backends that dawdle.
 */
function quarrel(seed: number, steps: number): Duel {
  const uniform = seededUniform(seed);
  const pick = <T>(items: readonly T[]): T => items[Math.floor(uniform() * items.length)];
  const { initiator, responder } = KEY_EXCHANGES[seed % 3];
  const duel = new Duel({
    initiator: { ...initiator, ...PATIENT },
    responder: { ...responder, ...PATIENT },
    seed,
  });
  const late: InFlight[] = [];
  for (const side of SIDES) duel[side].isHeld = () => uniform() < 0.2;
  for (let step = 0; step < steps; step++) {
    const side = pick(SIDES);
    duel.nonce = Math.floor(uniform() * 4);
    const chance = uniform();
    if (chance < 0.07) rekey(duel, side);
    else if (chance < 0.1 && seed % 2 === 0) duel.call(side, (ike, now) => ike.rekey(now));
    else if (chance < 0.7 && duel.pending(side).length > 0) {
      const flight = duel.take(side);
      if (uniform() < 0.2) late.push(flight);
      if (uniform() < 0.8) duel.deliver(side, flight);
    } else if (chance < 0.72 && late.length > 0) {
      const flight = pick(late);
      duel.deliver(flight.to, flight);
    } else if (chance < 0.85) duel.advance(uniform() * 1_500);
    else if (duel[side].held.length > 0) duel.release(side);
  }
  return duel;
}

/** The network and the backends do what they should from now on. */
function reconcile(duel: Duel): void {
  for (const side of SIDES) {
    duel[side].isHeld = () => false;
    while (duel[side].held.length > 0) duel.release(side);
  }
  // Longer than a Delete is waited for.
  for (let i = 0; i < 400; i++) {
    duel.settle();
    duel.advance(500);
  }
  duel.settle();
}

describe('two hosts that both rekey one Child SA all the time', () => {
  it.each(Array.from({ length: 60 }, (_, seed) => seed + 1))('end with one, the same (seed %i)', (seed) => {
    const duel = quarrel(seed, 150);
    reconcile(duel);
    const [a, b] = [duel.a, duel.b];
    expect(a.ike.established && b.ike.established).toBe(true);
    expect([a.inbound.length, a.outbound.length]).toEqual([1, 1]);
    expect(a.inbound).toEqual(b.outbound);
    expect(b.inbound).toEqual(a.outbound);
    expect([...a.reserved, ...b.reserved]).toEqual([]);
    for (const side of SIDES) {
      const types = duel[side].eventTypes.filter((type) => type.startsWith('child'));
      expect(new Set(types)).toEqual(new Set(['child-established', 'child-rekeyed']));
      const last = duel[side].events.filter(({ type }) => type.startsWith('child')).at(-1);
      const { child } = last as { child: { spiIn: number; spiOut: number } };
      expect([...duel[side].store.inbound.keys()]).toEqual([child.spiIn]);
      expect([...duel[side].store.outbound.keys()]).toEqual([child.spiOut]);
    }
    const sent = [...a.store.outbound.values()][0];
    expect(sent.keys).toEqual(b.store.inbound.get(sent.spi)!.keys);
  });

  it('leave nothing behind when one of them goes in the middle of it', () => {
    for (let seed = 1; seed <= 20; seed++) {
      const duel = quarrel(seed, 40 + seed);
      for (const side of SIDES) {
        duel.call(side, (ike, now) => ike.abort(now));
        while (duel[side].held.length > 0) duel.release(side);
        expect(duel[side].store.isEmpty).toBe(true);
        expect(duel[side].ike.nextTimeout).toBeUndefined();
      }
    }
  });
});
