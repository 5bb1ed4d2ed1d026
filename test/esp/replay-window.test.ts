import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { REPLAY_WINDOW, ReplayWindow } from '../../src/esp/replay-window.ts';

const SUBSPACE = 2 ** 32;

function receive(window: ReplayWindow, low: number): number | undefined {
  const sequence = window.check(low);
  if (sequence !== undefined) window.advance(sequence);
  return sequence;
}

describe('replay window', () => {
  it('takes each number once, in any order, and never 0', () => {
    const window = new ReplayWindow(false);
    expect([0, 1, 1, 3, 2, 3, 2, 0].map((low) => receive(window, low))).toEqual([
      undefined,
      1,
      undefined,
      3,
      2,
      undefined,
      undefined,
      undefined,
    ]);
  });

  it('has its left edge at the highest number less the window (rule 87)', () => {
    const window = new ReplayWindow(false);
    receive(window, 5000);
    expect(window.check(5000 - REPLAY_WINDOW)).toBeUndefined();
    expect(window.check(5000 - REPLAY_WINDOW + 1)).toBe(5000 - REPLAY_WINDOW + 1);
  });

  it('does not move before the ICV is verified (rule 87)', () => {
    const window = new ReplayWindow(false);
    expect(window.check(0xffffffff)).toBe(0xffffffff);
    expect(receive(window, 1)).toBe(1);
  });

  it('forgets numbers that it skipped over', () => {
    const window = new ReplayWindow(false);
    receive(window, 1);
    for (let low = 2; low <= 600; low++) receive(window, low);
    receive(window, 601 + REPLAY_WINDOW / 2);
    receive(window, 601 + REPLAY_WINDOW);
    for (let low = 602; low < 601 + REPLAY_WINDOW; low++) {
      expect(window.check(low)).toBe(low === 601 + REPLAY_WINDOW / 2 ? undefined : low);
    }
    receive(window, 1 + 5 * REPLAY_WINDOW);
    expect(window.check(1 + 5 * REPLAY_WINDOW - 1)).toBe(5 * REPLAY_WINDOW);
    expect(window.check(1 + 5 * REPLAY_WINDOW)).toBeUndefined();
  });

  it('ends at 2^32 - 1 without extended numbers', () => {
    const window = new ReplayWindow(false, 0xffffffff);
    expect(window.check(0xffffffff)).toBeUndefined();
    expect(window.check(0)).toBeUndefined();
    expect(window.check(1)).toBeUndefined();
    expect(window.check(0xfffffffe)).toBe(0xfffffffe);
  });

  it('infers the high half across 2^32 (RFC 4303 A2)', () => {
    const window = new ReplayWindow(true, SUBSPACE - 2);
    expect(window.check(3)).toBe(SUBSPACE + 3);
    expect(receive(window, 0xffffffff)).toBe(SUBSPACE - 1);
    expect(receive(window, 3)).toBe(SUBSPACE + 3);
    // Case B: the window spans both subspaces.
    expect(window.check(0xfffffffd)).toBe(SUBSPACE - 3);
    expect(window.check(0xffffffff)).toBeUndefined();
    expect(window.check(3)).toBeUndefined();
    expect(window.check(2)).toBe(SUBSPACE + 2);
    expect(window.check(0)).toBe(SUBSPACE);
    expect(window.check(SUBSPACE + 4 - REPLAY_WINDOW)).toBe(SUBSPACE + 4 - REPLAY_WINDOW);
    expect(window.check(SUBSPACE + 3 - REPLAY_WINDOW)).toBe(2 * SUBSPACE + 3 - REPLAY_WINDOW);
  });

  it('has nothing below the first subspace', () => {
    const window = new ReplayWindow(true);
    expect(window.check(0xffffffff)).toBeUndefined();
    expect(window.check(0)).toBeUndefined();
    expect(window.check(1)).toBe(1);
  });

  it('agrees with a set of all the numbers received', () => {
    const steps = fc.array(fc.integer({ min: -300, max: 300 }), { minLength: 50, maxLength: 200 });
    const starts = fc.constantFrom(1, 2000, SUBSPACE - 500, 3 * SUBSPACE + 100);
    fc.assert(
      fc.property(starts, steps, (start, steps) => {
        const window = new ReplayWindow(true, start);
        const received = new Set([start]);
        let top = start;
        for (const step of steps) {
          const sequence = top + step;
          // What is left of the window looks like the next subspace, whose ICV would not verify.
          if (sequence <= 0 || sequence <= top - REPLAY_WINDOW) continue;
          const expected = received.has(sequence) ? undefined : sequence;
          expect(receive(window, sequence % SUBSPACE)).toBe(expected);
          received.add(sequence);
          top = Math.max(top, sequence);
        }
      }),
    );
  });
});
