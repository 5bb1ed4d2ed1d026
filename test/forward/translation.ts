import { expect } from 'vitest';
import { keyOfAddress } from '../../src/forward/address-key.ts';
import { Napt } from '../../src/forward/napt.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { packet, type View, view } from './packets.ts';

export const EXIT = '203.0.113.7';
export const EXIT6 = '2001:db8:e::7';
export const S1 = '10.1.0.1';
export const S2 = '10.1.0.2';
export const D = '198.51.100.80';
export const E = '198.51.100.81';

export function napt(exit = EXIT): Napt {
  return new Napt(exit, seededRandom(1));
}

/** Sends a packet through and returns what left, or why nothing did. */
export function out(nat: Napt, bytes: Uint8Array, now = 0): View | string {
  const slot = packet(bytes);
  return nat.outbound(slot, keyOfAddress(view(bytes).source), now) ?? view(slot);
}

export function back(nat: Napt, bytes: Uint8Array, now = 0): View | string {
  const slot = packet(bytes);
  const result = nat.inbound(slot, now);
  if ('drop' in result) return result.drop;
  const seen = view(slot);
  expect(result.client).toBe(keyOfAddress(seen.destination));
  return seen;
}

export function sent(nat: Napt, bytes: Uint8Array, now = 0): View {
  const result = out(nat, bytes, now);
  if (typeof result === 'string') throw new Error(`dropped: ${result}`);
  expect(result.sound).toBe(true);
  return result;
}

export function received(nat: Napt, bytes: Uint8Array, now = 0): View {
  const result = back(nat, bytes, now);
  if (typeof result === 'string') throw new Error(`dropped: ${result}`);
  expect(result.sound).toBe(true);
  return result;
}
