import { describe, expect, it } from 'vitest';
import { NotifyType } from '../../src/ike/constants.ts';
import { LocalError, NoAnswerError, RefusedError } from '../../src/ike/errors.ts';
import { anonymousProfile, initiatorConfig, responderConfig, sharedKey } from '../support/ike-configs.ts';
import { Pair, testCrypto } from '../support/pair.ts';
import { expectNothingLeft } from '../support/pair-assertions.ts';

const relay = sharedKey('relay');

function make(seed: number): Pair {
  const { provider } = testCrypto(seed);
  return new Pair({
    initiator: initiatorConfig(provider, relay),
    responder: responderConfig(provider, anonymousProfile(relay)),
  });
}

const OPERATIONS = ['reserve', 'inbound', 'outbound'] as const;

describe('a backend that fails', () => {
  it.each(OPERATIONS)('at the initiator, at %s: nothing is left', (kind) => {
    const pair = make(1);
    pair.initiator.store.failure = (operation) => (operation.kind === kind ? 'no memory' : undefined);
    pair.run(120_000);
    expect(pair.initiator.ending).toBeInstanceOf(LocalError);
    expect(pair.initiator.ending?.message).toContain('no memory');
    expect(pair.initiator.eventTypes).not.toContain('child-established');
    expectNothingLeft(pair);
  });

  it.each(OPERATIONS)('at the responder, at %s: the initiator is told, and nothing is left', (kind) => {
    const pair = make(2);
    pair.responderStore.failure = (operation) => (operation.kind === kind ? 'no memory' : undefined);
    pair.run(5000);
    expect(pair.responder.event('child-failed').error).toBeInstanceOf(LocalError);
    const { error } = pair.initiator.event('child-failed');
    expect(error).toBeInstanceOf(RefusedError);
    expect(error).toMatchObject({ notify: NotifyType.TEMPORARY_FAILURE });
    expect(pair.responderStore.isEmpty && pair.initiator.store.isEmpty).toBe(true);
    pair.run(60_000);
    expectNothingLeft(pair);
  });

  it.each(['inbound', 'outbound'] as const)('at %s is told what to remove of which tunnel', (kind) => {
    const pair = make(4);
    pair.responderStore.failure = (operation) => (operation.kind === kind ? 'no memory' : undefined);
    pair.run(5000);
    const tunnelId = `${pair.responder.ike.localSpi}/1`;
    const removals = pair.responderStore.log.filter((operation) => operation.kind === 'remove');
    expect(removals).toMatchObject([
      ...(kind === 'outbound' ? [{ direction: 'outbound', tunnelId }] : []),
      { direction: 'inbound', spi: 0x2000, tunnelId },
    ]);
  });

  it('is not asked for more than is needed', () => {
    const pair = make(3).run(5000);
    expect(pair.initiator.store.log.map(({ kind }) => kind)).toEqual([...OPERATIONS]);
    expect(pair.responderStore.log.map(({ kind }) => kind)).toEqual([...OPERATIONS]);
  });
});

describe('an end that is aborted', () => {
  // Every step of a whole life is a place to be aborted at; completions come late.
  const steps = (
    side: 'initiator' | 'responder',
    stopAt: number,
  ): { readonly pair: Pair; readonly steps: number } => {
    const pair = make(7);
    pair.initiator.store.delay = () => 50;
    pair.responderStore.delay = () => 50;
    let count = 0;
    pair.afterStep = (end) => {
      const isInitiator = end === pair.initiator;
      if (isInitiator !== (side === 'initiator') || count++ !== stopAt || end.ike.closed) return;
      pair.call(end, (ike, now) => ike.abort(now));
    };
    pair.run(2000);
    return { pair, steps: count };
  };

  it.each(['initiator', 'responder'] as const)('as %s, at each step, leaves nothing installed', (side) => {
    const { steps: total } = steps(side, Number.POSITIVE_INFINITY);
    expect(total).toBeGreaterThan(4);
    for (let stopAt = 0; stopAt < total; stopAt++) {
      const { pair } = steps(side, stopAt);
      const end = pair[side];
      expect(end.ending).toBeUndefined();
      expect(end.store.isEmpty).toBe(true);
      // The other end finds out by itself.
      pair.run(60_000);
      for (const other of [pair.initiator, ...pair.responders]) {
        pair.call(other, (ike, now) => ike.checkLiveness(now));
        pair.run(60_000);
        if (!other.ike.closed) throw new Error(`stopped at ${stopAt}: ${other.eventTypes.join()}`);
      }
      expectNothingLeft(pair);
    }
  });

  it('with a half-open peer gives up with NoAnswerError', () => {
    const pair = make(8);
    pair.network = ({ message }) => (message[18] === 35 ? [] : [20]);
    pair.run();
    expect(pair.initiator.ending).toBeInstanceOf(NoAnswerError);
    expect(pair.initiator.ending?.message).toContain('IKE_AUTH');
    expectNothingLeft(pair);
  });
});

describe('close()', () => {
  it('before there is anything to delete sends nothing', () => {
    const pair = make(9);
    pair.run(10);
    pair.call(pair.initiator, (ike, now) => ike.close(now));
    expect(pair.initiator.eventTypes).toEqual(['closed']);
    expect(pair.sent).toHaveLength(1);
  });

  it('during IKE_AUTH waits for its end, then deletes', () => {
    const pair = make(10);
    pair.run(50);
    expect(pair.sent.at(-1)?.message[18]).toBe(35);
    pair.call(pair.initiator, (ike, now) => ike.close(now));
    expect(pair.initiator.ike.closed).toBe(false);
    pair.run(5000);
    expect(pair.initiator.ending).toBeUndefined();
    expect(pair.responder.ending).toBeUndefined();
    expectNothingLeft(pair);
  });
});
