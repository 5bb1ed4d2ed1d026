import { zero } from '../crypto/transforms.ts';
import { equalBytes } from '../wire/bytes.ts';
import type { InitiatorConfig, PostQuantumKey, ResponderProfile } from './config.ts';
import { NotifyType } from './constants.ts';
import { AuthenticationError, LocalError } from './errors.ts';
import { mixPpk } from './key-schedule.ts';
import { type NotifyPayload, notify, type Payload } from './payload/index.ts';
import { findNotify } from './payloads.ts';
import type { Negotiated, SaContext } from './sa-context.ts';

// RFC 8784 3:
//   HDR, SAi1, KEi, Ni, N(USE_PPK)  -->  <--  HDR, SAr1, KEr, Nr, N(USE_PPK)
//   HDR, SK {IDi, AUTH, ..., N(PPK_IDENTITY), [N(NO_PPK_AUTH)]}  -->  <--  HDR, SK {IDr, AUTH, ..., [N(PPK_IDENTITY)]}

/** N(USE_PPK), if one is to be used. */
export function usePpkNotify(usesPpk: boolean): NotifyPayload[] {
  return usesPpk ? [notify(NotifyType.USE_PPK)] : [];
}

/** Whether the peer's IKE_SA_INIT message has N(USE_PPK). */
export function wantsPpk(payloads: readonly Payload[]): boolean {
  return findNotify(payloads, NotifyType.USE_PPK) !== undefined;
}

/** RFC 8784 5.2.3. @throws LocalError for a configuration in which the key would be all that authenticates, and optional */
export function checkPpk({ ppk, local, alternatives = [], remote }: InitiatorConfig): void {
  if (ppk?.mandatory === false && [local, ...alternatives, remote].some(({ kind }) => kind === 'null'))
    throw new LocalError(
      'with NULL authentication a post-quantum preshared key has to be mandatory (RFC 8784 5.2.3)',
    );
}

/** What is negotiated, with the key mixed in. */
export function withPpk(sa: SaContext, { secret }: PostQuantumKey): Negotiated {
  const negotiated = sa.negotiated!;
  return { ...negotiated, keys: mixPpk(sa.crypto, negotiated.suite.prf, negotiated.keys, secret) };
}

/**
 * The initiator goes back to what was negotiated without the key if the responder does not use it.
 * @throws AuthenticationError if it has to
 */
export function settlePpk(
  sa: SaContext,
  plain: Negotiated,
  { mandatory }: { readonly mandatory: boolean },
  payloads: readonly Payload[],
): void {
  if (findNotify(payloads, NotifyType.PPK_IDENTITY) !== undefined) return;
  if (mandatory) throw new AuthenticationError('the responder does not use the post-quantum preshared key');
  const { skD, skPi, skPr } = sa.negotiated!.keys;
  zero(skD, skPi, skPr);
  sa.negotiated = plain;
}

/**
 * What the responder makes of an IKE_AUTH request (RFC 8784 3, table 1): the key to mix in; none, with the request as it is
 * to be verified then.
 * @throws AuthenticationError
 */
export function choosePpk(
  sa: SaContext,
  { ppk, remote }: ResponderProfile,
  payloads: readonly Payload[],
): { readonly ppk?: PostQuantumKey; readonly payloads: readonly Payload[] } {
  const isMandatory = ppk?.mandatory === true;
  if (!sa.negotiated!.usesPpk) {
    if (isMandatory) throw new AuthenticationError('the initiator uses no post-quantum preshared key');
    return { payloads };
  }
  const identity = findNotify(payloads, NotifyType.PPK_IDENTITY);
  if (identity === undefined)
    throw new AuthenticationError('the initiator names no post-quantum preshared key');
  const known = ppk?.keys.find(({ id }) => equalBytes(id, identity.data));
  if (known !== undefined) return { ppk: known, payloads };
  const proof = findNotify(payloads, NotifyType.NO_PPK_AUTH);
  // RFC 8784 5.2.3: with NULL authentication nothing else would be proved.
  if (isMandatory || remote.kind === 'null' || proof === undefined)
    throw new AuthenticationError('the initiator names a post-quantum preshared key that is not known here');
  return {
    payloads: payloads.map((payload) =>
      payload.kind === 'AUTH' ? { ...payload, data: proof.data } : payload,
    ),
  };
}
