import { compareBytes } from '../wire/bytes.ts';
import { NotifyType } from './constants.ts';

/** The nonces of one exchange: the request's and the response's. */
export interface NoncePair {
  readonly nonceI: Uint8Array;
  readonly nonceR: Uint8Array;
}

/**
 * Whether of two SAs that replace the same one it is `ours` that is redundant, and so ours to close: the one that was made
 * with the lowest of the four nonces, as octet strings, of which a prefix of another is the lower one (RFC 7296 2.8.1,
 * 2.8.2).
 */
export function losesCollision(ours: NoncePair, theirs: NoncePair): boolean {
  return compareBytes(lowest(ours), lowest(theirs)) < 0;
}

function lowest({ nonceI, nonceR }: NoncePair): Uint8Array {
  return compareBytes(nonceI, nonceR) < 0 ? nonceI : nonceR;
}

/**
 * What we are doing with an IKE SA as a whole; `replacing`: our rekey is the one that counts, and has additional key
 * exchanges still to do; `rekeyed`: another one has taken its place.
 */
export type IkeActivity = 'idle' | 'rekeying' | 'replacing' | 'rekeyed' | 'closing';

/** The same for a Child SA; `rekeyed`: another one has taken its place, and it is about to be closed. */
export type ChildActivity = IkeActivity;

/**
 * The error notify for a request to create a Child SA (RFC 7296 2.25.2); undefined if it is to be answered as usual.
 * @param ike - what we are doing with the IKE SA
 */
export function refusalToCreateChild(ike: IkeActivity): number | undefined {
  return ike === 'idle' ? undefined : NotifyType.TEMPORARY_FAILURE;
}

/**
 * The error notify for a request to rekey a Child SA (RFC 7296 2.25.1, 2.25.2); undefined if it is to be answered as usual,
 * which it is also when we are rekeying the same one.
 * @param child - what we are doing with that Child SA; undefined if there is none
 */
export function refusalToRekeyChild(ike: IkeActivity, child: ChildActivity | undefined): number | undefined {
  if (ike !== 'idle') return NotifyType.TEMPORARY_FAILURE;
  switch (child) {
    case undefined:
      return NotifyType.CHILD_SA_NOT_FOUND;
    case 'idle':
    case 'rekeying':
      return undefined;
    case 'replacing':
    case 'rekeyed':
    case 'closing':
      return NotifyType.TEMPORARY_FAILURE;
  }
}

/**
 * The error notify for a request to rekey the IKE SA (RFC 7296 2.25.1, 2.25.2); undefined if it is to be answered as usual,
 * which it is also when we are rekeying it.
 * @param isChangingChildren - a Child SA of it is being created, rekeyed or closed by us, or all are about to be moved
 */
export function refusalToRekeyIke(ike: IkeActivity, isChangingChildren: boolean): number | undefined {
  const isPossible = (ike === 'idle' || ike === 'rekeying') && !isChangingChildren;
  return isPossible ? undefined : NotifyType.TEMPORARY_FAILURE;
}
