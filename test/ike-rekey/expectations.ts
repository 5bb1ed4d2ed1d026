import { expect } from 'vitest';
import type { Duel, Side } from '../support/duel.ts';

/** First octets of nonces, in the order in which they are drawn. */
export type Nonces = readonly number[];

/** Draws the next nonces with this first octet. */
export function draw(duel: Duel, nonce: number | undefined, action: () => void): void {
  duel.nonce = nonce ?? 0x80;
  action();
}

/** Has a host rekey its IKE SA. */
export function rekey(duel: Duel, side: Side): void {
  duel.call(side, (ike, now) => ike.rekey(now));
}

/** Each host has one IKE SA, of which these are the SPIs, and the Child SA as it was; nobody has noticed anything. */
export function expectOneIkeSa(duel: Duel, a: number, b: number): void {
  expect(duel.ikeSas('a')).toEqual({ all: [a], current: a });
  expect(duel.ikeSas('b')).toEqual({ all: [b], current: b });
  expect([...duel.pending('a'), ...duel.pending('b')]).toEqual([]);
  for (const host of [duel.a, duel.b]) {
    expect(host.eventTypes).not.toContain('closed');
    expect(host.eventTypes).not.toContain('child-closed');
    expect(host.reserved).toEqual([]);
  }
  expect([duel.a.inbound, duel.a.outbound]).toEqual([[1], [2]]);
  expect([duel.b.inbound, duel.b.outbound]).toEqual([[2], [1]]);
  expectAlive(duel, 'a');
  expectAlive(duel, 'b');
}

/** An exchange that this host starts gets through. */
function expectAlive(duel: Duel, side: Side): void {
  const { ike } = duel[side];
  const before = ike.exchanges;
  duel.call(side, (core, now) => core.checkLiveness(now));
  duel.settle();
  expect(ike.exchanges).toBe(before + 1);
}

/** Nothing is left at either host. */
export function expectNothing(duel: Duel): void {
  for (const host of [duel.a, duel.b]) {
    expect(host.ike.closed).toBe(true);
    expect(host.eventTypes.at(-1)).toBe('closed');
    expect(host.store.isEmpty).toBe(true);
  }
  expect([...duel.pending('a'), ...duel.pending('b')]).toEqual([]);
}
