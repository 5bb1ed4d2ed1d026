import { expect } from 'vitest';
import {
  EncryptionTransform,
  KeyExchangeMethod,
  SequenceNumbers,
  TransformType,
} from '../../src/crypto/transforms.ts';
import type { Proposal } from '../../src/ike/config.ts';
import type { SaUsed } from '../../src/link/sa-store.ts';
import { type Duel, type DuelOptions, type Side, spi } from '../support/duel.ts';

/** Who starts, who is asked, and the SPIs on which they receive. */
export const EITHER = [
  { one: 'a', other: 'b', spiOne: 1, spiOther: 2 },
  { one: 'b', other: 'a', spiOne: 2, spiOther: 1 },
] as const;

/** In what order the first octets of the nonces are drawn; which is the lowest. */
export const THREE_NONCES = [
  { lowest: 'N1', nonces: [0x00, 0xff, 0xff] },
  { lowest: 'N2', nonces: [0xff, 0x00, 0xff] },
  { lowest: 'N3', nonces: [0xff, 0xff, 0x00] },
] as const;

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

/** The backend of a host says something of the inbound SA with that SPI. */
export function tell(duel: Duel, side: Side, kind: SaUsed['kind'], counted: number): void {
  const event = { kind, direction: 'inbound', spi: spi(counted), tunnelId: tunnelId(duel, side) } as const;
  duel.call(side, (ike, now) => ike.handleSaEvent(event, now));
}

/** AES-GCM with these key exchange methods. */
export function proposal(...methods: readonly number[]): Proposal {
  return {
    transforms: [
      { type: TransformType.ENCR, id: EncryptionTransform.AES_GCM_16, keyLength: 256 },
      ...methods.map((id) => ({ type: TransformType.KE, id })),
      { type: TransformType.ESN, id: SequenceNumbers.EXTENDED },
    ],
  };
}

/** The same, with P-384 as an additional key exchange. */
export function withAdditional({ transforms }: Proposal): Proposal {
  return { transforms: [...transforms, { type: TransformType.ADDKE1, id: KeyExchangeMethod.ECP_384 }] };
}

/** Each prefers the key exchange method that is the other's second choice. */
export const KE_MISMATCH: DuelOptions = {
  initiator: { childProposals: [proposal(KeyExchangeMethod.CURVE25519, KeyExchangeMethod.ECP_256)] },
  responder: { childProposals: [proposal(KeyExchangeMethod.ECP_256, KeyExchangeMethod.CURVE25519)] },
};

/** What a host said after the Child SA was established. */
export function news(duel: Duel, side: Side): string[] {
  return duel[side].eventTypes.slice(2);
}

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
    expect(news(duel, side)).not.toContain('child-closed');
    const last = duel[side].events.at(-1);
    if (last?.type !== 'child-rekeyed') throw new Error(`${side} said ${last?.type} last`);
    expect(last.child.tunnel.id).toBe(tunnelId(duel, side));
    expect([last.child.spiIn, last.child.spiOut].map((wire) => wire - spi(0))).toEqual(
      side === 'a' ? [atA, atB] : [atB, atA],
    );
  }
  expectIdle(duel);
}

/** Nobody has anything left to do, and both still answer. */
function expectIdle(duel: Duel): void {
  duel.advance(600_000);
  expect([...duel.pending('a'), ...duel.pending('b')]).toEqual([]);
  for (const side of ['a', 'b'] as const) {
    const before = duel[side].ike.exchanges;
    duel.call(side, (ike, now) => ike.checkLiveness(now));
    duel.settle();
    expect(duel[side].ike.exchanges).toBe(before + 1);
  }
}

/** The tunnel is gone at both hosts, with all that there was, and so is the IKE SA, which was there for it. */
export function expectClosed(duel: Duel): void {
  duel.settle();
  duel.advance(5_000);
  for (const side of ['a', 'b'] as const) {
    expect(duel[side].store.isEmpty).toBe(true);
    expect(duel[side].ike.closed).toBe(true);
  }
}
