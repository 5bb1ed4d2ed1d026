import type { Cell } from '../cells.ts';

type Asked = Pick<Cell, 'daemon' | 'role' | 'authentication' | 'suites' | 'feature'>;

/** What a daemon cannot do, and what it says to that, in its log or its answer. */
interface Lack {
  readonly daemon: RegExp;
  readonly concerns: (asked: Asked) => boolean;
  readonly reply: RegExp;
}

const LACKS: readonly Lack[] = [
  // RFC 7619 is not in strongSwan.
  {
    daemon: /^strongswan/,
    concerns: ({ authentication }) => authentication.startsWith('NULL'),
    reply: /invalid value for: auth/,
  },
  // RFC 9370 came with 6.0.
  {
    daemon: /^strongswan-5/,
    concerns: ({ suites, feature }) =>
      suites.ike.includes('ke1_') ||
      feature === 'several key exchanges' ||
      feature === 'ML-KEM-768 in IKE_INTERMEDIATE',
    reply: /algorithm 'ke1_\w+' not recognized/,
  },
  // It knows the names, but its OpenSSL has no ML-KEM that it can use.
  {
    daemon: /^strongswan-6.0/,
    concerns: ({ suites, feature }) =>
      suites.ike.includes('mlkem') || feature === 'ML-KEM-768 in IKE_INTERMEDIATE',
    reply: /key exchange method ML_KEM_\d+ not supported/,
  },
  // Its user-space ESP has 32-bit sequence numbers.
  {
    daemon: /^strongswan/,
    concerns: ({ feature }) => feature === 'extended sequence numbers',
    reply: /IPsec SA: ESN not supported/,
  },
];

/** What a daemon says when a cell asks of it what it cannot do; undefined: it can. */
export function lacks(asked: Asked): RegExp | undefined {
  return LACKS.find(({ daemon, concerns }) => daemon.test(asked.daemon) && concerns(asked))?.reply;
}
