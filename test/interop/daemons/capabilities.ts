import type { Cell } from '../cells.ts';

type Asked = Pick<Cell, 'daemon' | 'role' | 'authentication' | 'suites' | 'feature'>;

/** What a daemon cannot do, and what it says to that, in its log or its answer. */
export interface Lack {
  readonly daemon: RegExp;
  readonly concerns: (asked: Asked) => boolean;
  readonly reply: RegExp;
  readonly because: string;
  /** By luck it can. */
  readonly sometimes?: true;
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
  {
    daemon: /^libreswan-4/,
    concerns: ({ feature, role }) => feature === 'virtual address IPv6' && role === 'initiator',
    reply: /host protocol IPv4 conflicts with client protocol IPv6/,
    because: 'libreswan 4 assigns addresses of the family that the IKE SA has',
  },
  {
    daemon: /^libreswan-4/,
    concerns: ({ feature }) => feature === 'virtual addresses of both families',
    reply: /bad subnet leftsubnet=\S+/,
    because: 'several traffic selectors in a Child SA (RFC 7296 2.9) came with libreswan 5',
  },
  {
    daemon: /^libreswan-4/,
    concerns: ({ authentication, role }) =>
      authentication === 'public PSK, ECDSA P-384' && role === 'responder',
    reply: /libreswan has ended \(SIGSEGV\)/,
    because: 'it crashes when it reads a raw public key of another curve than P-256 in its configuration',
  },
  {
    daemon: /^libreswan/,
    concerns: ({ authentication }) => authentication.includes('Ed25519'),
    reply:
      /SEC_ERROR_PKCS12_UNABLE_TO_IMPORT_KEY|invalid value: ed25519|keyword ignored: (left|right)auth=ed25519/,
    because: 'libreswan does not have Ed25519 (RFC 8420)',
  },
  {
    daemon: /^libreswan/,
    concerns: ({ suites, feature }) =>
      suites.ike.includes('ke1_') ||
      feature === 'several key exchanges' ||
      feature === 'ML-KEM-768 in IKE_INTERMEDIATE',
    reply: /IKE DH algorithm 'ke1_\w+' is not recognized/,
    because: 'libreswan does not have several key exchanges (RFC 9370)',
  },
  {
    daemon: /^libreswan/,
    concerns: ({ suites }) => suites.ike.includes('ccm'),
    reply: /IKE encryption algorithm 'aes_ccm_\w+' is not supported/,
    because: 'libreswan has AES-CCM for ESP only',
  },
  {
    daemon: /^libreswan/,
    concerns: ({ suites }) => suites.ike.includes('prfaescmac'),
    reply: /IKE PRF algorithm 'aes_cmac' is not recognized/,
    because: 'libreswan does not have PRF_AES128_CMAC (RFC 4615)',
  },
  {
    daemon: /^libreswan/,
    concerns: ({ suites }) => suites.ike.includes('sha256-prfaesxcbc'),
    reply: /IKE DH algorithm 'aes_xcbc' is not recognized/,
    because: 'libreswan takes the PRF of the integrity algorithm, and no other',
  },
  {
    daemon: /^libreswan/,
    concerns: ({ feature, role }) => feature === 'childless' && role === 'responder',
    reply: /IKE SA authentication request rejected by peer: \w+/,
    because: 'libreswan initiates no IKE SA without a Child SA (RFC 6023), but accepts one',
  },
  {
    daemon: /^libreswan/,
    concerns: ({ feature }) => feature.endsWith('rekeys that collide'),
    reply: /responder rekeyed (IKE|Child) SA #\d+/,
    because:
      'libreswan compares no nonces when rekeys cross (its fault, RFC 7296 2.8.1, 2.8.2): it keeps the redundant SA, or loses policies or Child SAs with it',
    sometimes: true,
  },
];

/** Why a daemon cannot do what a cell asks of it; undefined: it can. */
export function lackOf(asked: Asked): Lack | undefined {
  return LACKS.find(({ daemon, concerns }) => daemon.test(asked.daemon) && concerns(asked));
}
