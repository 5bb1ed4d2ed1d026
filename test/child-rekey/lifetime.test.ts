import { describe, expect, it } from 'vitest';
import { SequenceNumbers, TransformType } from '../../src/crypto/transforms.ts';
import type { ChildLifetime } from '../../src/ike/config.ts';
import { Duel, type DuelOptions } from '../support/duel.ts';
import { close, expectClosed, expectKept, news, proposal, rekey, tell, tunnelId } from './steps.ts';

const HOUR = 3_600_000;
const LIFETIME: ChildLifetime = { soft: HOUR, hard: 2 * HOUR, jitter: HOUR / 2 };

/** Delivers what the hosts send while time passes. */
function live(duel: Duel, duration: number, step = 1_000): void {
  for (let passed = 0; passed < duration; passed += step) {
    duel.advance(step);
    duel.settle();
  }
}

describe('the lifetime of a Child SA in time', () => {
  it('has it rekeyed before its soft end, earlier by chance', () => {
    const at = new Set<number>();
    for (let i = 0; i < 10; i++) {
      const duel = new Duel({ initiator: { childLifetime: LIFETIME }, seed: i });
      const due = duel.a.ike.nextTimeout!;
      expect(due).toBeGreaterThan(HOUR / 2);
      expect(due).toBeLessThanOrEqual(HOUR);
      duel.advance(due - 1);
      expect(duel.pending('b')).toEqual([]);
      duel.advance(1);
      expect(duel.deliver('b').names[0]).toBe('N(REKEY_SA)');
      at.add(due);
    }
    expect(at.size).toBe(10);
  });

  it('starts anew with each successor, at both ends', () => {
    const duel = new Duel({
      initiator: { childLifetime: { soft: 60_000, hard: 120_000, jitter: 0 } },
      responder: { childLifetime: { soft: 70_000, hard: 120_000, jitter: 0 } },
    });
    live(duel, 10 * 60_000);
    // All by a: b's turn never comes, because its SA is as new as a's.
    expect(news(duel, 'a').filter((type) => type === 'child-rekeyed')).toHaveLength(10);
    expect(news(duel, 'b').filter((type) => type === 'child-rekeyed')).toHaveLength(10);
    expect(news(duel, 'a')).not.toContain('child-closed');
  });

  it('may be the same at both ends: they collide, and one SA is left', () => {
    const childLifetime = { soft: 60_000, hard: 120_000, jitter: 0 };
    const duel = new Duel({ initiator: { childLifetime }, responder: { childLifetime } });
    duel.advance(60_000);
    expect([duel.pending('a'), duel.pending('b')].map(({ length }) => length)).toEqual([1, 1]);
    duel.settle();
    duel.advance(5_000);
    expect(duel.a.installed).toHaveLength(2);
    expect(duel.a.installed).toEqual(duel.b.installed);
  });

  it('ends it, whatever the peer does, with nothing left installed', () => {
    const duel = new Duel({ initiator: { childLifetime: { soft: 60_000, hard: 65_000, jitter: 0 } } });
    duel.advance(64_999);
    expect(duel.a.installed).toEqual([1, 2]);
    duel.advance(1);
    expect(duel.a.store.isEmpty).toBe(false);
    expect(duel.a.installed).toEqual([]);
    expect(news(duel, 'a')).toEqual(['child-closed']);
    duel.advance(60_000);
    expect(duel.a.ike.closed).toBe(true);
    expect(duel.a.store.isEmpty).toBe(true);
  });

  it('that is over before the answer comes leaves nothing of the new one', () => {
    const duel = new Duel();
    rekey(duel, 'a');
    duel.deliver('b');
    tell(duel, 'a', 'hard', 1);
    expect(duel.a.installed).toEqual([]);
    duel.deliver('a');
    expect(duel.deliver('b').spis).toEqual([3]);
    duel.settle();
    expect(duel.a.store.isEmpty).toBe(true);
    expect(duel.b.ike.closed && duel.b.store.isEmpty).toBe(true);
  });

  it('that is over while the new one is being installed ends that as well', () => {
    const duel = new Duel();
    rekey(duel, 'a');
    duel.deliver('b');
    duel.a.isHeld = ({ kind }) => kind === 'inbound';
    duel.deliver('a');
    duel.a.isHeld = () => false;
    tell(duel, 'a', 'hard', 1);
    while (duel.a.held.length > 0) duel.release('a');
    expect(duel.deliver('b').spis).toEqual([3]);
    duel.settle();
    expect(news(duel, 'a')).toEqual(['child-closed', 'closed']);
    expectClosed(duel);
  });

  it('that is over after the peer has closed it is over once', () => {
    const duel = new Duel();
    rekey(duel, 'a');
    const request = duel.take('b');
    close(duel, 'b');
    duel.deliver('a');
    tell(duel, 'a', 'hard', 1);
    duel.deliver('b', request);
    duel.settle();
    expect(news(duel, 'a').filter((type) => type === 'child-closed')).toHaveLength(1);
    expectClosed(duel);
  });

  it('of an SA that the peer has replaced ends with the new one in use', () => {
    const childLifetime = { soft: 60_000, hard: 65_000, jitter: 0 };
    const duel = new Duel({ responder: { childLifetime } });
    duel.advance(59_000);
    rekey(duel, 'a');
    duel.deliver('b');
    duel.deliver('a');
    duel.advance(5_999);
    expect(duel.b.outbound).toEqual([1]);
    duel.advance(1);
    expect(duel.b.outbound).toEqual([3]);
    expect(duel.b.inbound).toEqual([4]);
  });
});

describe('what a Child SA may carry', () => {
  it.each(['a', 'b'] as const)('has it rekeyed when the backend of %s says so', (side) => {
    const duel = new Duel();
    tell(duel, side, 'soft', side === 'a' ? 1 : 2);
    duel.settle();
    if (side === 'a') expectKept(duel, 3, 4);
    else expectKept(duel, 4, 3);
  });

  it('has it rekeyed once, when both directions reach it', () => {
    const duel = new Duel();
    for (const direction of ['inbound', 'outbound'] as const) {
      const event = { kind: 'soft', direction, spi: direction === 'inbound' ? 0x1001 : 0x1002 } as const;
      duel.call('a', (ike, now) => ike.handleSaEvent({ ...event, tunnelId: tunnelId(duel, 'a') }, now));
    }
    duel.settle();
    expectKept(duel, 3, 4);
  });

  it('of an SA that is not there means nothing', () => {
    const duel = new Duel();
    tell(duel, 'a', 'soft', 7);
    tell(duel, 'a', 'hard', 7);
    expect(duel.pending('b')).toEqual([]);
    expect(duel.a.installed).toEqual([1, 2]);
  });

  it('is what is configured, for each SA', () => {
    const limits = { softOctets: 1e9, hardOctets: 2e9, softPackets: 1e6, hardPackets: 2e6 };
    const duel = new Duel({ initiator: { childLifetime: { ...LIFETIME, ...limits } } });
    for (const sa of [...duel.a.store.inbound.values(), ...duel.a.store.outbound.values()])
      expect(sa.limits).toEqual(limits);
  });

  describe('with sequence numbers of 32 bits', () => {
    const { transforms } = proposal();
    const short = {
      childProposals: [
        {
          transforms: transforms.map((t) =>
            t.type === TransformType.ESN ? { ...t, id: SequenceNumbers.SHORT } : t,
          ),
        },
      ],
    };

    it.each([
      ['none', {}, 3 * 2 ** 30, 2 ** 32 - 1],
      [
        'other',
        { childLifetime: { ...LIFETIME, softPackets: 1e12, hardPackets: 1e12 } },
        3 * 2 ** 30,
        2 ** 32 - 1,
      ],
      ['smaller', { childLifetime: { ...LIFETIME, softPackets: 1e6, hardPackets: 2e6 } }, 1e6, 2e6],
    ] satisfies [string, NonNullable<DuelOptions['initiator']>, number, number][])(
      'ends before they come round, if %s limits are configured (rule 83)',
      (_what, config, softPackets, hardPackets) => {
        const duel = new Duel({ initiator: { ...short, ...config }, responder: short });
        const sas = [...duel.a.store.inbound.values(), ...duel.a.store.outbound.values()];
        expect(sas.map(({ limits }) => limits)).toEqual([
          { softPackets, hardPackets },
          { softPackets, hardPackets },
        ]);
      },
    );

    it('does not, with those of 64', () => {
      const duel = new Duel();
      expect([...duel.a.store.outbound.values()][0].limits).toBeUndefined();
    });
  });
});
