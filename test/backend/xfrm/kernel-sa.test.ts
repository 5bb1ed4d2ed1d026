import { describe, expect, it } from 'vitest';
import { continuation, type KernelSa, NOTHING } from '../../../src/backend/xfrm/kernel-sa.ts';

function sa(direction: KernelSa['direction'], extended: boolean): KernelSa {
  const replay = { extended, sent: 0, received: 0, window: 1024 };
  return { direction, before: NOTHING, state: { replay, limits: {} } } as unknown as KernelSa;
}

describe('an SA that goes on elsewhere', () => {
  const sentAfter = (direction: KernelSa['direction'], extended: boolean, sent: number) =>
    continuation(sa(direction, extended), { extended, sent, received: 0, window: 1024 }).replay.sent;

  it('leaves out the sequence numbers that may have been used meanwhile, of those that it sends', () => {
    expect(sentAfter('outbound', true, 1_000)).toBe(1_000 + 2 ** 16);
    expect(sentAfter('inbound', true, 1_000)).toBe(1_000);
  });

  it('never begins again at the first: short ones end with the last', () => {
    expect(sentAfter('outbound', false, 2 ** 32 - 10)).toBe(2 ** 32 - 1);
    expect(sentAfter('outbound', true, 2 ** 32 - 10)).toBe(2 ** 32 - 10 + 2 ** 16);
  });
});
