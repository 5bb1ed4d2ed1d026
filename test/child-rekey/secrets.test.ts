import { expect, it } from 'vitest';
import { KeyExchangeMethod, TransformType } from '../../src/crypto/transforms.ts';
import { NotifyType } from '../../src/ike/constants.ts';
import { notify, type Payload } from '../../src/ike/payload/index.ts';
import { anySelector } from '../../src/wire/traffic-selector.ts';
import { Duel, type DuelOptions } from '../support/duel.ts';
import { areZero, sharedSecrets } from '../support/secrets.ts';
import { proposal, rekey, withAdditional } from './steps.ts';

const { CURVE25519, ECP_256 } = KeyExchangeMethod;
const SINGLE = proposal(CURVE25519);
const { transforms } = withAdditional(SINGLE);
const MULTIPLE = { transforms: [...transforms, { type: TransformType.ADDKE2, id: ECP_256 }] };

function both(...childProposals: readonly (typeof SINGLE)[]): DuelOptions {
  return { initiator: { childProposals }, responder: { childProposals } };
}

/** B's answer to A, with other payloads. */
function answer(duel: Duel, change: (payloads: readonly Payload[]) => readonly Payload[]): void {
  duel.deliver('b');
  const flight = duel.take('a');
  duel.deliver('a', duel.rewrite(flight, change(duel.read(flight).payloads)));
}

it.each<[string, (duel: Duel) => void]>([
  ['done', (duel) => void duel.settle()],
  ['refused', (duel) => answer(duel, () => [notify(NotifyType.TEMPORARY_FAILURE)])],
  ['answered without KE', (duel) => answer(duel, () => [])],
  ['ended with the IKE SA', (duel) => duel.call('a', (ike, now) => ike.abort(now))],
])('the shared secrets of a Child SA are overwritten when its last key exchange is %s', (_, end) => {
  const duel = new Duel(both(MULTIPLE));
  const secrets = sharedSecrets(duel.crypto.provider);
  rekey(duel, 'a');
  for (const side of ['b', 'a', 'b', 'a'] as const) duel.deliver(side);
  expect(secrets).toHaveLength(2);
  expect(areZero(secrets)).toBe(false);
  end(duel);
  expect(areZero(secrets)).toBe(true);
});

it('the shared secret of a Child SA is overwritten when what the peer made of it is not taken', () => {
  const duel = new Duel(both(SINGLE));
  const secrets = sharedSecrets(duel.crypto.provider);
  rekey(duel, 'a');
  answer(duel, (payloads) =>
    payloads.map((payload) =>
      payload.kind === 'TSr' ? { kind: 'TSr', selectors: [anySelector(6)] } : payload,
    ),
  );
  expect(duel.deliver('b').names).toEqual(['DELETE']);
  duel.settle();
  expect(secrets).toHaveLength(1);
  expect(areZero(secrets)).toBe(true);
});
