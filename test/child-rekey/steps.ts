import { expect } from 'vitest';
import {
  EncryptionTransform,
  KeyExchangeMethod,
  SequenceNumbers,
  TransformType,
} from '../../src/crypto/transforms.ts';
import type { Proposal } from '../../src/ike/config.ts';
import type { Duel, DuelOptions, Side } from '../support/duel.ts';

/** The tunnel of the duel's first Child SA. */
export function tunnelId(duel: Duel, side: Side): string {
  const event = duel[side].events.find(({ type }) => type === 'child-established');
  if (event?.type !== 'child-established') throw new Error(`${side} has no Child SA`);
  return event.child.tunnel.id;
}

/** A host starts to rekey it. */
export function rekey(duel: Duel, side: Side): void {
  duel.call(side, (ike, now) => ike.rekeyChild(tunnelId(duel, side), now));
}

/** A host starts to delete it. */
export function close(duel: Duel, side: Side): void {
  duel.call(side, (ike, now) => ike.closeChild(tunnelId(duel, side), now));
}

/** AES-GCM with these key exchange methods. */
export function proposal(...methods: number[]): Proposal {
  return {
    transforms: [
      { type: TransformType.ENCR, id: EncryptionTransform.AES_GCM_16, keyLength: 256 },
      ...methods.map((id) => ({ type: TransformType.KE, id })),
      { type: TransformType.ESN, id: SequenceNumbers.EXTENDED },
    ],
  };
}

/** Each prefers a key exchange method that is the other's second choice. */
export const KE_MISMATCH: DuelOptions = {
  initiator: { childProposals: [proposal(KeyExchangeMethod.CURVE25519, KeyExchangeMethod.ECP_256)] },
  responder: { childProposals: [proposal(KeyExchangeMethod.ECP_256, KeyExchangeMethod.CURVE25519)] },
};

/** Once late packets have had their time: a receives on one SPI and b on the other, and nothing else is left. */
export function expectKept(duel: Duel, atA: number, atB: number): void {
  expect([...duel.pending('a'), ...duel.pending('b')]).toEqual([]);
  duel.advance(5_000);
  expect([duel.a.inbound, duel.a.outbound, duel.a.reserved]).toEqual([[atA], [atB], []]);
  expect([duel.b.inbound, duel.b.outbound, duel.b.reserved]).toEqual([[atB], [atA], []]);
  const [a, b] = [duel.a.store, duel.b.store];
  for (const [inbound, outbound] of [
    [[...a.inbound.values()][0], [...b.outbound.values()][0]],
    [[...b.inbound.values()][0], [...a.outbound.values()][0]],
  ]) {
    expect(outbound.keys).toEqual(inbound.keys);
    expect(inbound.keys.encryption.some((octet) => octet !== 0)).toBe(true);
  }
  for (const side of ['a', 'b'] as const) {
    expect(duel[side].eventTypes).toEqual(['established', 'child-established', 'child-rekeyed']);
    const { child } = duel[side].events.at(-1) as { child: { tunnel: { id: string } } };
    expect(child.tunnel.id).toBe(tunnelId(duel, side));
  }
  expect(duel.a.ike.established && duel.b.ike.established).toBe(true);
}
