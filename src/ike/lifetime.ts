import type { CryptoProvider } from '../crypto/provider.ts';
import type { Millis } from '../link/clock.ts';
import { LocalError } from './errors.ts';
import type { SaContext } from './sa-context.ts';

const RETRY_DELAY: Millis = 5_000;

/** A random time below `limit`, so that what peers do by themselves does not coincide (RFC 7296 2.8.1). */
export function randomDelay(crypto: CryptoProvider, limit: Millis): Millis {
  const octets = crypto.random(4);
  return (limit * new DataView(octets.buffer, octets.byteOffset, 4).getUint32(0)) / 2 ** 32;
}

/** How long to wait after TEMPORARY_FAILURE: long enough for the peer to finish what it is doing (RFC 7296 2.25). */
export function retryDelay(crypto: CryptoProvider): Millis {
  return RETRY_DELAY + randomDelay(crypto, RETRY_DELAY);
}

/** Times the rekey of an IKE SA that has become the current one, and its end if no rekey succeeds (RFC 7296 2.8). */
export function startLifetime(sa: SaContext): void {
  const { ikeLifetime } = sa.config;
  if (ikeLifetime === undefined) return;
  const { soft, hard, jitter } = ikeLifetime;
  sa.agenda.set('rekey', sa.now + soft - randomDelay(sa.crypto, jitter), () => sa.rekey());
  sa.agenda.set('expire', sa.now + hard, () =>
    sa.close(new LocalError('the IKE SA has reached the end of its lifetime and could not be rekeyed')),
  );
}
