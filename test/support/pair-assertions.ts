import { expect } from 'vitest';
import { equalSelectors } from '../../src/wire/traffic-selector.ts';
import type { End, Pair } from './pair.ts';

/** Both ends have the same single Child SA installed, each seen from its own side. */
export function expectEqualSas(pair: Pair, responder: End = pair.responder): void {
  const { child } = pair.initiator.event('child-established');
  const answer = responder.event('child-established').child;
  expect(answer.spiIn).toBe(child.spiOut);
  expect(answer.spiOut).toBe(child.spiIn);
  expect(answer.suite).toEqual(child.suite);
  expect(answer.assigned).toEqual(child.assigned);
  const there = [
    [pair.initiator.store.inbound.get(child.spiIn), responder.store.outbound.get(child.spiIn)],
    [responder.store.inbound.get(child.spiOut), pair.initiator.store.outbound.get(child.spiOut)],
  ] as const;
  for (const [inbound, outbound] of there) {
    expect(inbound).toBeDefined();
    expect(outbound!.keys).toEqual(inbound!.keys);
    expect(outbound!.suite).toEqual(inbound!.suite);
    const { encryption, integrity } = inbound!.keys;
    expect([...encryption, ...integrity].some((octet) => octet !== 0)).toBe(true);
  }
  expect(there[0][0]!.keys).not.toEqual(there[1][0]!.keys);
  const same = (a: typeof child.tunnel.local, b: typeof child.tunnel.local) =>
    a.length === b.length && a.every((selector, i) => equalSelectors(selector, b[i]));
  expect(same(child.tunnel.local, answer.tunnel.remote)).toBe(true);
  expect(same(child.tunnel.remote, answer.tunnel.local)).toBe(true);
}

/** Every IKE SA is closed and no backend holds an SA or an SPI. */
export function expectNothingLeft(pair: Pair): void {
  for (const end of [pair.initiator, ...pair.responders]) {
    expect(end.ike.closed).toBe(true);
    expect(end.eventTypes.filter((type) => type === 'closed')).toHaveLength(1);
    expect(end.eventTypes.at(-1)).toBe('closed');
    expect(end.ike.nextTimeout).toBeUndefined();
    expect(end.store.isEmpty).toBe(true);
  }
}
