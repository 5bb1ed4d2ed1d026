import type { Millis } from '../link/clock.ts';
import { hex } from '../wire/bytes.ts';
import { startLifetime } from './lifetime.ts';
import { abandonFollowUp } from './procedures/ike-followup-ke.ts';
import type { SaContext } from './sa-context.ts';

/**
 * How long an IKE SA that is not needed any more waits for the peer's Delete: longer than peers go on sending a request whose
 * response was lost, which only this IKE SA can repeat.
 */
const DELETE_PATIENCE: Millis = 180_000;

/** Moves the Child SAs, and all that goes with the peer, from the current IKE SA to `heir` (RFC 7296 2.8, 2.8.2). */
export function inherit(heir: SaContext): void {
  const { lineage } = heir;
  const { current } = lineage;
  for (const [spi, child] of current.children) heir.children.set(spi, child);
  current.children.clear();
  const isClosing = current.activity === 'closing';
  lineage.current = heir;
  lineage.candidate = undefined;
  abandonFollowUp(current);
  lineage.jobs.drop('rekey-ike');
  dismiss(current);
  startLifetime(heir);
  heir.emit({ type: 'rekeyed', spi: hex(heir.localSpi) });
  if (isClosing) heir.close();
}

/** An IKE SA was replaced, or has lost a collision, and it is for the peer to delete it (RFC 7296 2.8, 2.8.2). */
export function dismiss(sa: SaContext): void {
  if (sa.activity === 'closing') return;
  sa.activity = 'rekeyed';
  sa.agenda.clear();
  sa.agenda.set('dismissed', sa.now + DELETE_PATIENCE, () => sa.end());
}
