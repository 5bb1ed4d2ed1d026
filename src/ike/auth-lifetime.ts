import type { ResponderProfile } from './config.ts';
import { NotifyType } from './constants.ts';
import { type NotifyPayload, notify, type Payload } from './payload/index.ts';
import { findNotify } from './payloads.ts';
import type { SaContext } from './sa-context.ts';

// RFC 4478: for how long the responder takes the initiator for authenticated. Nobody authenticates again on the same IKE SA:
// the responder deletes it, and who wants another sets one up.

const SECOND = 1000;

/** N(AUTH_LIFETIME), if the profile has one; from now on the IKE SA and its successors are closed when it has passed. */
export function limitAuthentication(sa: SaContext, { authLifetime }: ResponderProfile): NotifyPayload[] {
  if (authLifetime === undefined) return [];
  sa.lineage.agenda.set('auth-lifetime', sa.now + authLifetime, (current) => current.close());
  const data = new Uint8Array(4);
  new DataView(data.buffer).setUint32(0, Math.floor(authLifetime / SECOND));
  return [notify(NotifyType.AUTH_LIFETIME, data)];
}

/** Tells the initiator's user of the lifetime in a message of the responder's; one that is malformed is ignored. */
export function takeAuthLifetime(sa: SaContext, payloads: readonly Payload[]): void {
  const data = findNotify(payloads, NotifyType.AUTH_LIFETIME)?.data;
  if (data?.length !== 4 || sa.lineage.role !== 'initiator') return;
  const seconds = new DataView(data.buffer, data.byteOffset).getUint32(0);
  sa.emit({ type: 'auth-lifetime', remaining: seconds * SECOND });
}
