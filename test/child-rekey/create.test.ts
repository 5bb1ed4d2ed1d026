import { describe, expect, it } from 'vitest';
import { KeyExchangeMethod } from '../../src/crypto/transforms.ts';
import type { SelectorPair } from '../../src/ike/child-sa.ts';
import { NotifyType } from '../../src/ike/constants.ts';
import { LocalError, RefusedError } from '../../src/ike/errors.ts';
import { notify } from '../../src/ike/payload/index.ts';
import { payloadOf } from '../../src/ike/payloads.ts';
import { parsePrefix } from '../../src/wire/address.ts';
import { addressSelector, anySelector, prefixSelector } from '../../src/wire/traffic-selector.ts';
import { Duel, type Side } from '../support/duel.ts';
import { pool } from '../support/ike-configs.ts';
import { close, EITHER, expectClosed, news, proposal, rekey, tell } from './steps.ts';

const ANY: SelectorPair = { tsI: [anySelector(4)], tsR: [anySelector(4)] };
const net = (text: string) => prefixSelector(parsePrefix(text));
const SOME: SelectorPair = { tsI: [net('10.1.0.0/16')], tsR: [net('10.2.0.0/16')] };

function create(duel: Duel, side: Side, selectors: SelectorPair): void {
  duel.call(side, (ike, now) => ike.createChild(selectors, now));
}

/** Why a host has no new Child SA. */
function failure(duel: Duel, side: Side): Error {
  const event = duel[side].events.at(-1);
  if (event?.type !== 'child-failed') throw new Error(`${side} said ${event?.type} last`);
  return event.error;
}

describe('a Child SA besides the first', () => {
  it.each(['a', 'b'] as const)('scenario: child create: duplicate (%s asks)', (side) => {
    const duel = new Duel();
    create(duel, side, ANY);
    expect([...duel.pending('a'), ...duel.pending('b')]).toEqual([]);
    expect(failure(duel, side)).toBeInstanceOf(LocalError);
    expect(duel[side].installed).toEqual([1, 2]);
  });

  it.each([
    ['without a key exchange', {}, ['SA', 'NONCE', 'TSi', 'TSr']],
    [
      'with one of its own (rule 25)',
      { childProposals: [proposal(KeyExchangeMethod.CURVE25519)] },
      ['SA', 'NONCE', 'KE', 'TSi', 'TSr'],
    ],
  ])('is made %s, and is independent of it', (_how, config, names) => {
    const duel = new Duel({ initiator: config, responder: config, profile: { maxChildren: 2 } });
    create(duel, 'a', SOME);
    expect(duel.deliver('b').names).toEqual(names);
    expect(duel.b.installed).toEqual([1, 2, 3, 4]);
    expect(duel.deliver('a').names).toEqual(names);
    expect(duel.a.installed).toEqual([1, 2, 3, 4]);
    const [a, b] = (['a', 'b'] as const).map((side) => {
      const event = duel[side].events.at(-1);
      return event?.type === 'child-established' ? event.child : undefined;
    });
    expect([a?.tunnel.local, a?.tunnel.remote]).toEqual([SOME.tsI, SOME.tsR]);
    expect([b?.tunnel.local, b?.tunnel.remote]).toEqual([SOME.tsR, SOME.tsI]);
    expect(duel.a.store.outbound.get(a!.spiOut)!.keys).toEqual(duel.b.store.inbound.get(b!.spiIn)!.keys);
    expect(duel.b.store.outbound.get(b!.spiOut)!.keys).toEqual(duel.a.store.inbound.get(a!.spiIn)!.keys);
    expect(duel.a.store.inbound.get(a!.spiIn)!.keys).not.toEqual([...duel.a.store.inbound.values()][0].keys);
    duel.call('b', (ike, now) => ike.rekeyChild(b!.tunnel.id, now));
    duel.settle();
    duel.advance(5_000);
    expect(duel.a.inbound).toEqual([1, 6]);
    close(duel, 'a');
    duel.settle();
    expect([duel.a.installed, duel.b.installed]).toEqual([
      [5, 6],
      [5, 6],
    ]);
    expect(duel.a.ike.established).toBe(true);
  });

  it('is refused beyond what the profile allows; what there is stays', () => {
    const duel = new Duel();
    create(duel, 'a', SOME);
    duel.deliver('b');
    expect(duel.deliver('a').names).toEqual(['N(NO_ADDITIONAL_SAS)']);
    expect(failure(duel, 'a')).toBeInstanceOf(RefusedError);
    for (const side of ['a', 'b'] as const) {
      expect(duel[side].installed).toEqual([1, 2]);
      expect(duel[side].reserved).toEqual([]);
    }
    rekey(duel, 'a');
    duel.settle();
    expect(news(duel, 'b')).toEqual(['child-rekeyed']);
  });

  it('is refused by who set up the IKE SA', () => {
    const duel = new Duel({ profile: { maxChildren: 5 } });
    create(duel, 'b', { tsI: SOME.tsR, tsR: SOME.tsI });
    duel.deliver('a');
    expect(duel.deliver('b').names).toEqual(['N(NO_ADDITIONAL_SAS)']);
    expect(duel.a.installed).toEqual([1, 2]);
  });

  it('is narrowed to what is allowed, in the order of the offer (rule 61)', () => {
    const allowed = [net('10.2.0.0/17'), net('10.3.0.0/16')];
    const duel = new Duel({ profile: { maxChildren: 2, tsLocal: allowed } });
    const offered = [net('10.3.1.0/24'), net('10.2.0.0/16'), net('10.9.0.0/16')];
    create(duel, 'a', { ...SOME, tsR: offered });
    duel.deliver('b');
    const { payloads } = duel.deliver('a');
    expect(payloadOf(payloads, 'TSr').selectors).toEqual([net('10.3.1.0/24'), net('10.2.0.0/17')]);
    expect(payloadOf(payloads, 'TSi').selectors).toEqual(SOME.tsI);
  });

  it('is deleted again if the peer has widened it (rule 61)', () => {
    const duel = new Duel({ profile: { maxChildren: 2 } });
    create(duel, 'a', SOME);
    duel.deliver('b');
    const response = duel.take('a');
    const payloads = duel
      .read(response)
      .payloads.map((payload) =>
        payload.kind === 'TSr' ? ({ kind: 'TSr', selectors: [net('10.2.0.0/15')] } as const) : payload,
      );
    duel.deliver('a', duel.rewrite(response, payloads));
    expect(duel.deliver('b').spis).toEqual([3]);
    duel.settle();
    expect(failure(duel, 'a').message).toContain('widened');
    expect([duel.a.installed, duel.b.installed]).toEqual([
      [1, 2],
      [1, 2],
    ]);
    expect(duel.a.reserved).toEqual([]);
  });

  it('is asked for again later if the peer is busy (rule 67)', () => {
    const duel = new Duel({ profile: { maxChildren: 2 } });
    create(duel, 'a', SOME);
    const request = duel.take('b');
    duel.call('b', (ike, now) => ike.rekey(now));
    duel.deliver('b', request);
    duel.take('a');
    expect(duel.deliver('a').names).toEqual(['N(TEMPORARY_FAILURE)']);
    duel.advance(4_999);
    expect(duel.pending('b')).toEqual([]);
    duel.advance(5_001);
    expect(duel.read(duel.take('b')).names).toEqual(['SA', 'NONCE', 'TSi', 'TSr']);
  });

  it('is given up if the peer is busy for minutes', () => {
    const duel = new Duel({ profile: { maxChildren: 2 } });
    create(duel, 'a', SOME);
    let asked = 0;
    for (; asked < 60 && duel.a.eventTypes.at(-1) !== 'child-failed'; duel.advance(10_000)) {
      const request = duel.take('b');
      while (duel.pending('b').length > 0) duel.take('b');
      duel.deliver('b', request);
      duel.deliver('a', duel.rewrite(duel.take('a'), [notify(NotifyType.TEMPORARY_FAILURE)]));
      asked++;
    }
    expect(asked).toBe(40);
    expect(failure(duel, 'a').message).toContain('TEMPORARY_FAILURE');
    duel.advance(600_000);
    expect(duel.pending('b')).toEqual([]);
    expect(duel.a.ike.established).toBe(true);
    expect(duel.a.reserved).toEqual([]);
  });

  it.each(EITHER)('gives back its SPI when the IKE SA ends ($one asks or answers)', ({ one }) => {
    const duel = new Duel({ profile: { maxChildren: 2 } });
    create(duel, 'a', SOME);
    duel.deliver('b');
    duel.call(one, (ike, now) => ike.abort(now));
    expect(duel[one].store.isEmpty).toBe(true);
  });
});

describe('an anonymous client', () => {
  const assigning = (): Duel =>
    new Duel({
      initiator: {
        child: { ...ANY, addresses: { ip4: true, ip6: false, ip4Dns: false, ip6Dns: false } },
        childProposals: [proposal(0)],
      },
      responder: { childProposals: [proposal(0)] },
      profile: { assigner: pool() },
    });

  it('may have its Child SA rekeyed, with the address that it has', () => {
    const duel = assigning();
    const event = duel.a.events.find(({ type }) => type === 'child-established');
    const child = event?.type === 'child-established' ? event.child : undefined;
    rekey(duel, 'a');
    duel.settle();
    const rekeyed = duel.b.events.at(-1);
    if (rekeyed?.type !== 'child-rekeyed') throw new Error('not rekeyed');
    expect(rekeyed.child.assigned).toEqual(child?.assigned);
    expect(rekeyed.child.tunnel.remote).toEqual([addressSelector(child!.assigned!.ip4!)]);
  });

  it('gets no second Child SA', () => {
    const duel = assigning();
    create(duel, 'a', { ...ANY, tsR: SOME.tsR });
    duel.deliver('b');
    expect(duel.deliver('a').names).toEqual(['N(NO_ADDITIONAL_SAS)']);
  });

  it('may make one anew when it has lost it, for the same address only', () => {
    const duel = assigning();
    const event = duel.b.events.find(({ type }) => type === 'child-established');
    const { assigned } = event?.type === 'child-established' ? event.child : {};
    // A does not hear of the end of the first one.
    tell(duel, 'b', 'hard', 2);
    duel.take('a');
    expect(duel.b.installed).toEqual([]);
    create(duel, 'a', { ...ANY, tsR: SOME.tsR });
    duel.deliver('b');
    const again = duel.b.events.at(-1);
    if (again?.type !== 'child-established') throw new Error('not made anew');
    expect(again.child.tunnel.remote).toEqual([addressSelector(assigned!.ip4!)]);
    expect(again.child.assigned).toEqual(assigned);
  });
});

describe('after the last Child SA', () => {
  it('ends the IKE SA', () => {
    const duel = new Duel();
    close(duel, 'a');
    expectClosed(duel);
  });
});
