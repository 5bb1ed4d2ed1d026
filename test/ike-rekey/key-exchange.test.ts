import { describe, expect, it } from 'vitest';
import {
  EncryptionTransform,
  KeyExchangeMethod,
  PrfTransform,
  TransformType,
} from '../../src/crypto/transforms.ts';
import type { Proposal } from '../../src/ike/config.ts';
import type { KePayload } from '../../src/ike/payload/payload.ts';
import { Duel, type Side } from '../support/duel.ts';
import { draw, expectOneIkeSa, type Nonces, rekey } from './expectations.ts';

const { CURVE25519, ECP_256, MODP_2048 } = KeyExchangeMethod;

function withMethods(...methods: number[]): Proposal {
  return {
    transforms: [
      { type: TransformType.ENCR, id: EncryptionTransform.AES_GCM_16, keyLength: 256 },
      { type: TransformType.PRF, id: PrfTransform.HMAC_SHA2_256 },
      ...methods.map((id) => ({ type: TransformType.KE, id })),
    ],
  };
}

/** Two hosts whose IKE SA uses X25519, and that have other methods configured since. */
function reconfigured(a: readonly number[], b: readonly number[]): Duel {
  const ofA = [withMethods(CURVE25519)];
  const ofB = [withMethods(CURVE25519)];
  const duel = new Duel({ initiator: { ikeProposals: ofA }, responder: { ikeProposals: ofB } });
  ofA.splice(0, 1, withMethods(...a));
  ofB.splice(0, 1, withMethods(...b));
  return duel;
}

/** The method of the KE payload of the request that is on its way. */
function methodTo(duel: Duel, side: Side): number {
  const { payloads } = duel.read(duel.pending(side)[0]);
  return payloads.find((payload): payload is KePayload => payload.kind === 'KE')!.method;
}

describe('the key exchange of a rekey', () => {
  it('is the one in use, also if others are preferred meanwhile', () => {
    const duel = reconfigured([ECP_256, CURVE25519], [ECP_256, CURVE25519]);
    rekey(duel, 'a');
    expect(methodTo(duel, 'b')).toBe(CURVE25519);
    duel.settle();
    expectOneIkeSa(duel, 3, 4);
  });

  it.each<{ rekeys: Side; answers: Side; a: number[]; b: number[]; kept: [number, number] }>([
    { rekeys: 'a', answers: 'b', a: [CURVE25519, ECP_256], b: [ECP_256], kept: [3, 4] },
    { rekeys: 'b', answers: 'a', a: [ECP_256], b: [CURVE25519, ECP_256], kept: [4, 3] },
  ])('scenario: ike rekey: ke invalid ($rekeys rekeys) (rule 15)', ({ rekeys, answers, a, b, kept }) => {
    const duel = reconfigured(a, b);
    rekey(duel, rekeys);
    expect(methodTo(duel, answers)).toBe(CURVE25519);
    const first = duel.deliver(answers);
    const refusal = duel.deliver(rekeys);
    expect(refusal.names).toEqual(['N(INVALID_KE_PAYLOAD)']);
    expect(refusal.payloads).toMatchObject([{ data: Uint8Array.of(0, ECP_256) }]);
    expect(duel.ikeSas(answers).all).toHaveLength(1);
    expect(methodTo(duel, answers)).toBe(ECP_256);
    // All the proposals again, and the same SPI.
    expect(duel.deliver(answers).payloads[0]).toEqual(first.payloads[0]);
    duel.settle();
    expectOneIkeSa(duel, ...kept);
  });

  it('is not tried a third time, and the IKE SA stays as it was', () => {
    const ofA = [withMethods(CURVE25519)];
    const ofB = [withMethods(CURVE25519)];
    const duel = new Duel({ initiator: { ikeProposals: ofA }, responder: { ikeProposals: ofB } });
    ofA.splice(0, 1, withMethods(CURVE25519, ECP_256, MODP_2048));
    ofB.splice(0, 1, withMethods(ECP_256));
    rekey(duel, 'a');
    duel.deliver('b');
    duel.deliver('a');
    expect(methodTo(duel, 'b')).toBe(ECP_256);
    ofB.splice(0, 1, withMethods(MODP_2048));
    duel.deliver('b');
    expect(duel.deliver('a').names).toEqual(['N(INVALID_KE_PAYLOAD)']);
    duel.advance(60_000);
    expectOneIkeSa(duel, 1, 2);
  });

  // Each refuses the other's method; the retries cross as the first requests did.
  it.each<{ lowest: string; nonces: Nonces; keptAtA: number; keptAtB: number; deletedByA: number[] }>([
    { lowest: 'N1', nonces: [0x00, 0xff, 0xff, 0xff], keptAtA: 6, keptAtB: 4, deletedByA: [3, 5] },
    { lowest: 'N2', nonces: [0xff, 0x00, 0xff, 0xff], keptAtA: 3, keptAtB: 5, deletedByA: [1, 2] },
    { lowest: 'N5', nonces: [0xff, 0xff, 0x00, 0xff], keptAtA: 6, keptAtB: 4, deletedByA: [3, 5] },
    { lowest: 'N6', nonces: [0xff, 0xff, 0xff, 0x00], keptAtA: 3, keptAtB: 5, deletedByA: [1, 2] },
  ])('scenario: ike rekey: collision ke invalid ($lowest is the lowest nonce)', ({ nonces, ...row }) => {
    const duel = refusedBoth(nonces);
    draw(duel, nonces[2], () => duel.deliver('b'));
    draw(duel, nonces[3], () => duel.deliver('a'));
    expect(duel.deliver('a').names).toEqual(['SA', 'NONCE', 'KE']);
    expect(duel.deliver('b').names).toEqual(['SA', 'NONCE', 'KE']);
    expect(duel.deliver('b')).toMatchObject({ ike: row.deletedByA, names: ['DELETE'] });
    duel.settle();
    expectOneIkeSa(duel, row.keptAtA, row.keptAtB);
  });

  it.each<{ lowest: string; nonces: Nonces }>([
    { lowest: 'N1', nonces: [0x00, 0xff, 0xff] },
    { lowest: 'N2', nonces: [0xff, 0x00, 0xff] },
    { lowest: 'N5', nonces: [0xff, 0xff, 0x00] },
  ])('scenario: ike rekey: ke invalid delayed retry ($lowest is the lowest nonce)', ({ nonces }) => {
    const duel = refusedBoth(nonces);
    const delayed = duel.take('b');
    draw(duel, nonces[2], () => duel.deliver('a'));
    duel.deliver('b');
    expect(duel.ikeSas('b')).toEqual({ all: [2, 4], current: 4 });
    duel.deliver('b', delayed);
    expect(duel.deliver('a')).toMatchObject({ ike: [1, 2], names: ['DELETE'] });
    expect(duel.deliver('a').names).toEqual(['N(TEMPORARY_FAILURE)']);
    duel.deliver('b');
    expectOneIkeSa(duel, 5, 4);
  });

  /** Both have been told to use P-256, and have asked again. */
  function refusedBoth(nonces: Nonces): Duel {
    const duel = reconfigured([CURVE25519, ECP_256], [MODP_2048, ECP_256]);
    draw(duel, nonces[0], () => rekey(duel, 'a'));
    draw(duel, nonces[1], () => rekey(duel, 'b'));
    duel.deliver('b');
    duel.deliver('a');
    draw(duel, nonces[0], () => expect(duel.deliver('a').names).toEqual(['N(INVALID_KE_PAYLOAD)']));
    draw(duel, nonces[1], () => expect(duel.deliver('b').names).toEqual(['N(INVALID_KE_PAYLOAD)']));
    return duel;
  }
});
