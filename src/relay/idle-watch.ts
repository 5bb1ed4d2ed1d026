import type { IkeConnection } from '../endpoint/connection.ts';
import type { Clock, Millis } from '../link/clock.ts';

/**
 * Checks that a silent peer is alive (RFC 7296 2.4): after each `interval` without a packet of its Child SA. A peer that
 * does not answer loses its IKE SA.
 * @param interval - drawn anew each time
 */
export function watchIdle(connection: IkeConnection, clock: Clock, interval: () => Millis): void {
  let cancel = () => {};
  let over = false;
  const received = () => connection.child?.tunnel.counters.packetsIn ?? 0;
  const schedule = () => {
    if (over) return;
    const before = received();
    cancel = clock.at(clock.now() + interval(), async () => {
      if (received() === before) await connection.checkLiveness();
      schedule();
    });
  };
  schedule();
  void connection.closed.then(() => {
    over = true;
    cancel();
  });
}
