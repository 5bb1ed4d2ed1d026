import type { Cell } from '../cells.ts';

type Asked = Pick<Cell, 'daemon' | 'role' | 'authentication' | 'suites' | 'feature'>;

/** What a daemon cannot do. A cell that it concerns has to fail, and just so. */
export interface Lack {
  readonly daemon: RegExp;
  readonly concerns: (asked: Asked) => boolean;
  /** What is wrong with the cell then. */
  readonly error: RegExp;
  /** What the daemon says to that, in its log or its answer. */
  readonly reply: RegExp;
  readonly because: string;
  /** By luck it can. */
  readonly sometimes?: true;
}

const CONFIGURATION = /^DaemonError: libreswan does not take its configuration: /;
/** What a redundant SA comes to that is kept, or that policies or Child SAs are deleted with, or that the daemon crashes of. */
const COLLISION = new RegExp(
  [
    '^NoAnswerError|^DaemonError: (libreswan has ended|whack --)',
    'waited in vain for (a new (IKE|Child) SA|both ends to have the same (IKE SA|SAs))',
    '\\d+ of \\d+ pieces of a file arrived (to|from) the daemon',
    'the daemon (does not answer|has seen too little)',
    'the answer to a liveness check is false',
    'the (IKE|Child) SA is',
    'our IKE SA is gone',
    '(connect|read|write) E(CONNREFUSED|CONNRESET|PIPE)',
  ].join('|^Error: '),
);

const LACKS: readonly Lack[] = [
  {
    daemon: /^strongswan/,
    concerns: ({ authentication }) => authentication.startsWith('NULL'),
    error: /^DaemonError: load-conn: invalid value for: auth/,
    reply: /invalid value for: auth/,
    because: 'strongSwan does not have NULL authentication (RFC 7619), which nobody has to have',
  },
  {
    daemon: /^strongswan-5/,
    concerns: ({ suites, feature }) =>
      suites.ike.includes('ke1_') ||
      feature === 'several key exchanges' ||
      feature === 'ML-KEM-768 in IKE_INTERMEDIATE',
    error: /^DaemonError: load-conn: invalid value for: proposals/,
    reply: /algorithm 'ke1_\w+' not recognized/,
    because: 'several key exchanges (RFC 9370) came with strongSwan 6.0',
  },
  {
    daemon: /^strongswan-6.0/,
    concerns: ({ suites, feature }) =>
      suites.ike.includes('mlkem') || feature === 'ML-KEM-768 in IKE_INTERMEDIATE',
    error:
      /^RefusedError: the peer refused IKE_INTERMEDIATE: INVALID_SYNTAX|^DaemonError: initiate: establishing CHILD_SA 'interop' failed/,
    reply: /key exchange method ML_KEM_\d+ not supported/,
    because:
      'Debian 13 has built it without ML-KEM; it accepts the proposal all the same (its fault, RFC 7296 2.7)',
  },
  {
    daemon: /^strongswan/,
    concerns: ({ feature }) => feature === 'extended sequence numbers',
    error:
      /^RefusedError: the peer refused (the Child SA|IKE_AUTH): NO_PROPOSAL_CHOSEN|^DaemonError: initiate: establishing CHILD_SA 'interop' failed/,
    reply: /IPsec SA: ESN not supported/,
    because:
      'its ESP in user space has short sequence numbers, but it accepts the proposal (its fault, RFC 7296 3.3.6)',
  },
  {
    daemon: /^libreswan-4/,
    concerns: ({ feature, role }) =>
      (feature === 'virtual address IPv6' || feature === 'IPv6 name servers') && role === 'initiator',
    error: CONFIGURATION,
    reply: /host protocol IPv4 conflicts with client protocol IPv6/,
    because: 'libreswan 4 assigns addresses of the family that the IKE SA has',
  },
  {
    daemon: /^libreswan-5/,
    concerns: ({ feature, role }) => feature === 'IPv6 name servers' && role === 'initiator',
    error: /^ProtocolError: configuration attribute 10 has 17 octets/,
    reply: /responder established Child SA using #1/,
    because:
      'libreswan 5 sends a prefix length with INTERNAL_IP6_DNS, which is an address of 16 octets (its fault, RFC 7296 3.15.1)',
  },
  {
    daemon: /^libreswan/,
    concerns: ({ feature, role }) => feature === 'another address of the initiator' && role === 'responder',
    error: /^ProtocolError: the peer answered with another COOKIE2/,
    reply: /success MOBIKE update local address/,
    because:
      'libreswan does not return the COOKIE2 with which we make sure of its new address (its fault, RFC 4555 3.7)',
  },
  {
    daemon: /^libreswan/,
    concerns: ({ feature }) => feature === 'postquantum preshared key without authentication',
    error: /^RefusedError: the peer refused IKE_AUTH: AUTHENTICATION_FAILED|^DaemonError: whack --initiate/,
    reply: /computed hash does not match|AUTHENTICATION_FAILED/,
    because:
      'libreswan proves NULL authentication with SK_pi and SK_pr as they were before the preshared key was mixed in (its fault, RFC 8784 3, RFC 7619 2.1)',
  },
  {
    daemon: /^libreswan-4/,
    concerns: ({ feature }) => feature === 'virtual addresses of both families',
    error: CONFIGURATION,
    reply: /bad subnet leftsubnet=\S+/,
    because: 'several traffic selectors in a Child SA (RFC 7296 2.9) came with libreswan 5',
  },
  {
    daemon: /^libreswan-4/,
    concerns: ({ authentication, role }) =>
      authentication === 'public PSK, ECDSA P-384' && role === 'responder',
    error: /^DaemonError: libreswan has ended \(SIGSEGV\)/,
    reply: /libreswan has ended \(SIGSEGV\)/,
    because: 'it crashes when it reads a raw public key of another curve than P-256 in its configuration',
  },
  {
    daemon: /^libreswan/,
    concerns: ({ authentication }) => authentication.includes('Ed25519'),
    error: /^DaemonError: (pk12util |libreswan has ended \(1\)|libreswan does not take its configuration: )/,
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
    error: CONFIGURATION,
    reply: /IKE DH algorithm 'ke1_\w+' is not recognized/,
    because: 'libreswan does not have several key exchanges (RFC 9370)',
  },
  {
    daemon: /^libreswan/,
    concerns: ({ suites }) => suites.ike.includes('ccm'),
    error: CONFIGURATION,
    reply: /IKE encryption algorithm 'aes_ccm_\w+' is not supported/,
    because: 'libreswan has AES-CCM for ESP only',
  },
  {
    daemon: /^libreswan/,
    concerns: ({ suites }) => suites.ike.includes('prfaescmac'),
    error: CONFIGURATION,
    reply: /IKE PRF algorithm 'aes_cmac' is not recognized/,
    because: 'libreswan does not have PRF_AES128_CMAC (RFC 4615)',
  },
  {
    daemon: /^libreswan/,
    concerns: ({ suites }) => suites.ike.includes('sha256-prfaesxcbc'),
    error: CONFIGURATION,
    reply: /IKE DH algorithm 'aes_xcbc' is not recognized/,
    because: 'libreswan takes the PRF of the integrity algorithm, and no other',
  },
  {
    daemon: /^libreswan/,
    concerns: ({ feature, role }) => feature === 'childless' && role === 'responder',
    error: /^DaemonError: whack --initiate /,
    reply: /IKE SA authentication request rejected by peer: INVALID_SYNTAX/,
    because: 'libreswan initiates no IKE SA without a Child SA (RFC 6023), but accepts one',
  },
  {
    daemon: /^libreswan/,
    concerns: ({ feature }) => feature.endsWith('rekeys that collide'),
    error: COLLISION,
    reply: /responder rekeyed (IKE|Child) SA #\d+/,
    because:
      'libreswan compares no nonces when rekeys cross (its fault, RFC 7296 2.8.1, 2.8.2): it keeps the redundant SA, loses policies or Child SAs with it, or crashes',
    sometimes: true,
  },
];

/** Why a daemon cannot do what a cell asks of it; undefined: it can. */
export function lackOf(asked: Asked): Lack | undefined {
  return LACKS.find(({ daemon, concerns }) => daemon.test(asked.daemon) && concerns(asked));
}
