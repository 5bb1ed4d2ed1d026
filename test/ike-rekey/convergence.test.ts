import { expect, it } from 'vitest';
import { anySelector } from '../../src/wire/traffic-selector.ts';
import { Duel, type InFlight, type Side } from '../support/duel.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { transforms } from '../support/transforms-text.ts';
import { rekey } from './expectations.ts';

const RETRANSMISSION = { first: 500, factor: 2, cap: 4_000, tries: 40 };
const UDP = { ...anySelector(4), protocol: 17 };
const SEEDS = Array.from({ length: 8 }, (_, seed) => seed);

const IKE = 'ENCR 20/256, PRF 5, KE 31';
const ESP = 'ENCR 20/256, ESN 1';
const SINGLE = {
  ikeProposals: [{ transforms: transforms(IKE) }],
  childProposals: [{ transforms: transforms(ESP) }],
};
const MULTIPLE = {
  ikeProposals: [{ transforms: transforms(`${IKE}, ADDKE1 19`) }],
  childProposals: [{ transforms: transforms(`${ESP}, KE 31, ADDKE1 19`) }],
};
/** Each takes the other's offer as it likes it best: one rekey has an additional key exchange, the other none. */
const MIXED = [
  [MULTIPLE, SINGLE],
  [SINGLE, MULTIPLE],
].map((order) => ({
  ikeProposals: order.flatMap(({ ikeProposals }) => ikeProposals),
  childProposals: order.flatMap(({ childProposals }) => childProposals),
}));

const KINDS = [
  { kind: 'one key exchange', a: SINGLE, b: SINGLE },
  { kind: 'several key exchanges', a: MULTIPLE, b: MULTIPLE },
  { kind: 'several key exchanges at one end', a: MIXED[0], b: MIXED[1] },
];
const CASES = KINDS.flatMap((kind) => SEEDS.map((seed) => ({ ...kind, seed })));

/** Two hosts that do whatever they can at any time, over a network that loses, delays and repeats whatever it likes. */
class Turmoil {
  readonly duel: Duel;
  readonly #random: (length: number) => Uint8Array;
  readonly #late: { readonly side: Side; readonly flight: InFlight }[] = [];

  constructor({ a, b, seed }: (typeof CASES)[number]) {
    this.duel = new Duel({
      initiator: { ...a, retransmission: RETRANSMISSION },
      responder: { ...b, retransmission: RETRANSMISSION },
      profile: { maxChildren: 3 },
    });
    this.#random = seededRandom(seed * 7 + 1);
  }

  #chance(): number {
    return (this.#random(1)[0] * 256 + this.#random(1)[0]) / 65_536;
  }

  step(): void {
    const { duel } = this;
    duel.nonce = Math.floor(256 * this.#chance());
    const side: Side = this.#chance() < 0.5 ? 'a' : 'b';
    const what = this.#chance();
    if (what < 0.04) rekey(duel, side);
    else if (what < 0.08) this.#rekeyChildren(side);
    else if (what < 0.09) duel.call('a', (ike, now) => ike.createChild({ tsI: [UDP], tsR: [UDP] }, now));
    else if (what < 0.11) duel.call(side, (ike, now) => ike.checkLiveness(now));
    else if (what < 0.4) duel.advance(Math.floor(1_500 * this.#chance()));
    else if (duel.pending(side).length > 0) this.#decideFate(side, duel.take(side));
    if (this.#late.length > 0 && this.#chance() < 0.1) {
      const [{ side: to, flight }] = this.#late.splice(Math.floor(this.#chance() * this.#late.length), 1);
      duel.deliver(to, flight);
    }
  }

  #rekeyChildren(side: Side): void {
    for (const event of this.duel[side].events) {
      if (event.type !== 'child-established') continue;
      this.duel.call(side, (ike, now) => ike.rekeyChild(event.child.tunnel.id, now));
    }
  }

  #decideFate(side: Side, flight: InFlight): void {
    const fate = this.#chance();
    if (fate >= 0.25 && fate < 0.5) this.#late.push({ side, flight });
    if (fate >= 0.4) this.duel.deliver(side, flight);
  }
}

/** Tunnels that came up less those that were closed. */
function tunnels({ eventTypes }: Duel['a']): number {
  const count = (wanted: string) => eventTypes.filter((type) => type === wanted).length;
  return count('child-established') - count('child-closed');
}

it.each(CASES)(
  'whatever both rekey, and whatever is lost, they end with the same SAs ($kind, seed $seed)',
  (one) => {
    const turmoil = new Turmoil(one);
    for (let step = 0; step < 300; step++) turmoil.step();
    const { duel } = turmoil;
    for (let step = 0; step < 200; step++) {
      duel.advance(3_000);
      duel.settle();
    }
    const { a, b } = duel;
    expect([a.ike.established, b.ike.established]).toEqual([true, true]);
    expect([a.ike.localSpis.length, b.ike.localSpis.length]).toEqual([1, 1]);
    expect([...a.outbound].sort()).toEqual([...b.inbound].sort());
    expect([...b.outbound].sort()).toEqual([...a.inbound].sort());
    expect([...a.reserved, ...b.reserved]).toEqual([]);
    expect(a.eventTypes).toContain('rekeyed');
    expect(tunnels(a)).toBeGreaterThan(0);
    expect([tunnels(a), tunnels(b)]).toEqual([a.inbound.length, a.inbound.length]);
    for (const side of ['a', 'b'] as const) {
      const before = duel[side].ike.exchanges;
      duel.call(side, (ike, now) => ike.checkLiveness(now));
      duel.settle();
      expect(duel[side].ike.exchanges).toBe(before + 1);
    }
  },
);
