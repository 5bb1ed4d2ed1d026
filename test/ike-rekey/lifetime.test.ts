import { afterEach, describe, expect, it, vi } from 'vitest';
import type { InitiatorConfig, ResponderConfig } from '../../src/ike/config.ts';
import { defaultIkeProposals } from '../../src/ike/proposal.ts';
import { OutgoingWindow } from '../../src/ike/window.ts';
import type { Millis } from '../../src/link/clock.ts';
import { anonymousProfile, initiatorConfig, responderConfig, sharedKey } from '../support/ike-configs.ts';
import { type End, Pair, testCrypto } from '../support/pair.ts';
import { expectEqualSas, expectNothingLeft } from '../support/pair-assertions.ts';

const RELAY = sharedKey('relay');
const LIFETIME = { soft: 60_000, hard: 90_000, jitter: 20_000 };

interface Changes {
  readonly initiator?: Partial<InitiatorConfig>;
  readonly responder?: Partial<ResponderConfig>;
}

function pairOf(seed: number, { initiator, responder }: Changes = {}): Pair {
  const { provider } = testCrypto(seed);
  return new Pair({
    initiator: { ...initiatorConfig(provider, RELAY), ...initiator },
    responder: { ...responderConfig(provider, anonymousProfile(RELAY)), ...responder },
  });
}

/** When an end's Child SAs moved to another IKE SA. */
function watchRekeys(pair: Pair, end: () => End): Millis[] {
  const times: Millis[] = [];
  pair.afterStep = () => {
    const seen = end().eventTypes.filter((type) => type === 'rekeyed').length;
    while (times.length < seen) times.push(pair.now);
  };
  return times;
}

afterEach(() => {
  vi.restoreAllMocks();
});

describe('the lifetime of an IKE SA', () => {
  it.each(['initiator', 'responder'] as const)(
    'has the %s rekey it at a random time before it is over',
    (side) => {
      const pair = pairOf(81, { [side]: { ikeLifetime: LIFETIME } });
      const times = watchRekeys(pair, () => pair.initiator);
      pair.run(600_000);
      expect(times.length).toBeGreaterThan(9);
      const gaps = times.map((at, index) => at - (times[index - 1] ?? 0));
      for (const gap of gaps) {
        expect(gap).toBeGreaterThan(LIFETIME.soft - LIFETIME.jitter - 1_000);
        expect(gap).toBeLessThan(LIFETIME.soft + 1_000);
      }
      expect(Math.max(...gaps) - Math.min(...gaps)).toBeGreaterThan(5_000);
      expectEqualSas(pair);
      expect(pair.initiator.ike.localSpis).toHaveLength(1);
    },
  );

  it('is for ever if none is configured', () => {
    const pair = pairOf(82);
    pair.run(86_400_000);
    expect(pair.initiator.eventTypes).toEqual(['established', 'child-established']);
    expect(pair.initiator.ike.nextTimeout).toBeUndefined();
  });

  it('ends it with an error if no rekey gets through', () => {
    const pair = pairOf(83, { initiator: { ikeLifetime: LIFETIME } });
    pair.run(1_000);
    pair.network = ({ message }) => (message[18] === 36 ? [] : [20]);
    pair.run(LIFETIME.hard + 5_000);
    expect(pair.initiator.ike.closed).toBe(true);
    expect(pair.initiator.ending?.message).toMatch(/did not answer CREATE_CHILD_SA/);
  });

  it('ends it when the peer refuses to rekey it; it is asked once, and told of the end', () => {
    const acceptable = [...defaultIkeProposals];
    const pair = pairOf(84, {
      initiator: { ikeLifetime: LIFETIME },
      responder: { ikeProposals: acceptable },
    });
    pair.run(1_000);
    acceptable.length = 0;
    pair.run(LIFETIME.hard - 2_000);
    expect(pair.sent.filter(({ message }) => message[18] === 36)).toHaveLength(2);
    expect(pair.initiator.ike.established).toBe(true);
    pair.run();
    expect(pair.initiator.ending?.message).toMatch(/end of its lifetime/);
    expect(pair.responder.ending).toBeUndefined();
    expectNothingLeft(pair);
  });
});

describe('message IDs', () => {
  it('that grow too large have the IKE SA rekeyed, long before they run out (rule 8)', () => {
    const window = new OutgoingWindow(
      initiatorConfig(testCrypto(1).provider, RELAY).retransmission,
      2 ** 31 - 1,
    );
    expect(window.isWornOut).toBe(false);
    window.complete();
    expect(window.isWornOut).toBe(true);
    expect(window.messageId).toBe(2 ** 31);

    const pair = pairOf(85);
    pair.run(1_000);
    const [before] = pair.initiator.ike.localSpis;
    const wornOut = vi.spyOn(OutgoingWindow.prototype, 'isWornOut', 'get').mockReturnValue(true);
    pair.call(pair.initiator, (ike, now) => ike.checkLiveness(now));
    wornOut.mockReturnValue(false);
    pair.run(1_000);
    expect(pair.initiator.eventTypes.filter((type) => type === 'rekeyed')).toHaveLength(1);
    expect(pair.initiator.ike.localSpis).not.toContain(before);
    expectEqualSas(pair);
  });
});
