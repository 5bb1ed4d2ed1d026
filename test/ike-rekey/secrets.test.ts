import { expect, it } from 'vitest';
import { KeyExchangeMethod } from '../../src/crypto/transforms.ts';
import { NotifyType } from '../../src/ike/constants.ts';
import { notify } from '../../src/ike/payload/index.ts';
import { Duel, type DuelOptions } from '../support/duel.ts';
import { areZero, sharedSecrets } from '../support/secrets.ts';
import { transforms } from '../support/transforms-text.ts';
import { rekey } from './expectations.ts';

const { CURVE25519, ECP_256, ECP_384 } = KeyExchangeMethod;
const ikeProposals = [
  { transforms: transforms(`ENCR 20/256, PRF 5, KE ${CURVE25519}, ADDKE1 ${ECP_384}, 7 ${ECP_256}`) },
];
const MULTI_KE: DuelOptions = { initiator: { ikeProposals }, responder: { ikeProposals } };

it.each<[string, (duel: Duel) => void]>([
  ['done', (duel) => void duel.settle()],
  ['refused', (duel) => answer(duel, [notify(NotifyType.TEMPORARY_FAILURE)])],
  ['answered without KE', (duel) => answer(duel, [])],
  ['ended with the IKE SA', (duel) => duel.call('a', (ike, now) => ike.abort(now))],
])('the shared secrets of an IKE SA are overwritten when its last key exchange is %s', (_, end) => {
  const duel = new Duel(MULTI_KE);
  const secrets = sharedSecrets(duel.crypto.provider);
  rekey(duel, 'a');
  for (const side of ['b', 'a', 'b', 'a'] as const) duel.deliver(side);
  expect(secrets).toHaveLength(2);
  expect(areZero(secrets)).toBe(false);
  end(duel);
  expect(areZero(secrets)).toBe(true);
});

/** B's answer to the last IKE_FOLLOWUP_KE, with other payloads. */
function answer(duel: Duel, payloads: Parameters<Duel['rewrite']>[1]): void {
  duel.deliver('b');
  duel.deliver('a', duel.rewrite(duel.take('a'), payloads));
}
