import type { Cell } from '../cells.ts';
import type { DaemonName } from './daemon.ts';

type Asked = Pick<Cell, 'authentication' | 'suites' | 'feature'>;

/** Why a daemon cannot do what a cell asks of it, in the daemon's own words; undefined: it can. @param role - ours */
export function lacks(daemon: DaemonName, _role: Cell['role'], asked: Asked): string | undefined {
  const { authentication, suites, feature } = asked;
  if (daemon.startsWith('strongswan')) {
    if (authentication.startsWith('NULL')) return 'invalid value for: auth';
    if (feature === 'extended sequence numbers') return 'kernel-libipsec: no ESN';
  }
  if (daemon === 'strongswan-5.9' && /ke1_/.test(suites.ike)) return 'no such algorithm';
  return undefined;
}
