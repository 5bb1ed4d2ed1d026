import type { NetworkNamespace } from '../../../src/host/namespace.ts';
import type { Address } from '../../../src/wire/address.ts';

/** The daemons that we are tested against, by what their packages are called here. */
export const DAEMONS = [
  'strongswan-5.9',
  'strongswan-6.0',
  'strongswan-6.1',
  'libreswan-4.10',
  'libreswan-5.2',
] as const;
export type DaemonName = (typeof DAEMONS)[number];

/** How one end proves itself. */
export type Proof =
  | { readonly kind: 'psk'; readonly identity: string; readonly secret: string }
  /** A raw public key that the other end has pinned. */
  | { readonly kind: 'raw'; readonly identity: string; readonly key: KeyFiles }
  /** An X.509 certificate that chains up to the authority which both ends know. */
  | { readonly kind: 'certificate'; readonly identity: string; readonly key: KeyFiles }
  /** RFC 7619, with ID_NULL. */
  | { readonly kind: 'null' };

/** PEM files of an end that proves itself by signature. */
export interface KeyFiles {
  readonly type: 'rsa' | 'ecdsa-p256' | 'ecdsa-p384' | 'ed25519';
  /** PKCS #8. */
  readonly privateKey: string;
  /** SubjectPublicKeyInfo. */
  readonly publicKey: string;
  /** Its own and those up to the authority, which is the last. */
  readonly certificates?: readonly string[];
}

/** What a daemon is to agree to, in strongSwan's proposal keywords ("aes128gcm16-prfsha256-x25519", "aes128gcm16-esn"). */
export interface Suites {
  readonly ike: string;
  readonly esp: string;
}

/** One connection, as its daemon sees it: `here` and `local` are the daemon's, `there` and `remote` ours. */
export interface Connection {
  /** The daemon's. */
  readonly role: 'initiator' | 'responder';
  readonly here: Address;
  readonly there: Address;
  readonly local: Proof;
  readonly remote: Proof;
  readonly suites: Suites;
  /** What the Child SA carries, prefixes: the daemon's side; ours. 'dynamic': what is assigned by Configuration Payload. */
  readonly localTs: readonly string[] | 'dynamic';
  readonly remoteTs: readonly string[] | 'dynamic';
  /** A responder's pools that it assigns addresses from, prefixes, and name servers that it assigns with them. */
  readonly pools?: readonly string[];
  readonly dns?: readonly Address[];
  /** The address families that an initiator asks to be assigned an address of. */
  readonly requests?: readonly (4 | 6)[];
  /** RFC 4555: the initiator's address may change. Default: no. */
  readonly mobike?: boolean;
  /** Forces IKE fragments of so many octets. Default: the daemon's own. */
  readonly fragmentSize?: number;
  /** Seconds between liveness checks. Default: none. */
  readonly dpdDelay?: number;
  /** A responder demands cookies of everybody. */
  readonly cookies?: boolean;
  /** RFC 6023: IKE_AUTH is to be without a Child SA. */
  readonly childless?: boolean;
  /** RFC 8784. */
  readonly ppk?: { readonly id: string; readonly secret: Uint8Array; readonly required: boolean };
  /** libreswan's own faults: "NAME" or "NAME:VALUE" of its impair option. */
  readonly impair?: readonly string[];
}

/** An SA of a daemon as it reports it. */
export interface DaemonSas {
  /** 16 hex digits each. */
  readonly ike: { readonly spiI: string; readonly spiR: string; readonly suite: string } | undefined;
  readonly children: readonly {
    /** 8 hex digits each. */
    readonly spiIn: string;
    readonly spiOut: string;
    readonly suite: string;
    readonly bytesIn: number;
    readonly bytesOut: number;
  }[];
}

/** A program that is installed, in its own root folder. */
export interface Installation {
  readonly name: DaemonName;
  /** As the program reports it: "strongSwan 5.9.8". */
  readonly version: string;
  /** Runs it in a namespace with one connection; it listens when this resolves, and has no SA yet. @throws DaemonError */
  start(namespace: NetworkNamespace, connection: Connection): Promise<Daemon>;
}

/** A running daemon. Its calls end within 20 seconds. */
export interface Daemon {
  /** An initiator sets up the IKE SA and its Child SA. @throws DaemonError with what it said if it does not come up */
  initiate(): Promise<void>;
  /** Rekeys; resolves once it has begun to. */
  rekey(what: 'ike' | 'child'): Promise<void>;
  /** Sets up another IKE SA in place of its own, as its initiator (RFC 7296 2.8.3); resolves once it has begun to. */
  reauthenticate(): Promise<void>;
  /** Deletes its IKE SA (with everything) or its Child SA. */
  terminate(what: 'ike' | 'child'): Promise<void>;
  /** What it has now; IKE SAs and Child SAs that it is about to delete are not among them. */
  sas(): Promise<DaemonSas>;
  /** What it has logged since it was started. */
  log(): Promise<string>;
  /** Ends the process and all it has started, and removes its files. */
  close(): Promise<void>;
}

/** A daemon does not start, does not come up, or does not answer; `message` has the last lines of what it said. */
export class DaemonError extends Error {
  override readonly name = 'DaemonError';
}
