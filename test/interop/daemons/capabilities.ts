import type { Cell } from '../cells.ts';

type Asked = Pick<Cell, 'daemon' | 'role' | 'authentication' | 'suites' | 'feature'>;

/** What a daemon cannot do, and what it says to that, in its log or its answer. */
export interface Lack {
  readonly daemon: RegExp;
  readonly concerns: (asked: Asked) => boolean;
  readonly reply: RegExp;
  readonly because: string;
}

const LACKS: readonly Lack[] = [
  {
    daemon: /^strongswan/,
    concerns: ({ authentication }) => authentication.startsWith('NULL'),
    reply: /invalid value for: auth/,
    because: 'strongSwan does not have NULL authentication (RFC 7619), which nobody has to have',
  },
  {
    daemon: /^strongswan-5/,
    concerns: ({ suites, feature }) =>
      suites.ike.includes('ke1_') ||
      feature === 'several key exchanges' ||
      feature === 'ML-KEM-768 in IKE_INTERMEDIATE',
    reply: /algorithm 'ke1_\w+' not recognized/,
    because: 'several key exchanges (RFC 9370) came with strongSwan 6.0',
  },
  {
    daemon: /^strongswan-6.0/,
    concerns: ({ suites, feature }) =>
      suites.ike.includes('mlkem') || feature === 'ML-KEM-768 in IKE_INTERMEDIATE',
    reply: /key exchange method ML_KEM_\d+ not supported/,
    because:
      'Debian 13 has built it without ML-KEM; it accepts the proposal all the same (its fault, RFC 7296 2.7)',
  },
  {
    daemon: /^strongswan/,
    concerns: ({ feature }) => feature === 'extended sequence numbers',
    reply: /IPsec SA: ESN not supported/,
    because:
      'its ESP in user space has short sequence numbers, but it accepts the proposal (its fault, RFC 7296 3.3.6)',
  },
];

/** Why a daemon cannot do what a cell asks of it; undefined: it can. */
export function lackOf(asked: Asked): Lack | undefined {
  return LACKS.find(({ daemon, concerns }) => daemon.test(asked.daemon) && concerns(asked));
}
