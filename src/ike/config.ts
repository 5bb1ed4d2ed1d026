import type { AddressAssigner, AddressRequest } from '../cp/assigner.ts';
import type { CryptoProvider, SigningKey } from '../crypto/provider.ts';
import type { Millis } from '../link/clock.ts';
import type { Origin } from '../link/link.ts';
import type { AssignedAddresses } from '../link/sa-store.ts';
import type { TrafficSelector } from '../wire/traffic-selector.ts';
import type { KeyLog } from './key-log.ts';
import type { Transform } from './payload/payload.ts';

/** The transforms of one proposal that we offer or accept, in order of preference; numbers and SPIs come later. */
export interface Proposal {
  /** Those of one type are alternatives. */
  readonly transforms: readonly Transform[];
}

/** ID payload contents (RFC 7296 3.5). */
export interface Identity {
  /** Of `IdType`. */
  readonly type: number;
  /** Identification Data: an address, a name, a key id, as the type has it. */
  readonly data: Uint8Array;
}

/** How we prove ourselves. NULL always goes with ID_NULL (RFC 7619 2.2). */
export type LocalAuthentication =
  | { readonly kind: 'null' }
  | { readonly kind: 'shared-key'; readonly identity: Identity; readonly secret: Uint8Array }
  | {
      readonly kind: 'signature';
      readonly identity: Identity;
      readonly key: SigningKey;
      /** Sends CERT with the raw public key (RFC 7670); peers that pin the key do not need it. */
      readonly sendKey: boolean;
      /** Sends CERT with these X.509 certificates (DER): the key's own first, then those up to an authority. */
      readonly certificates?: readonly Uint8Array[];
      /** How RSA keys sign for peers that know Digital Signature (RFC 7427). Default: RSASSA-PSS (RFC 8247 3.2). */
      readonly rsaPadding?: 'pss' | 'pkcs1';
      /** Lets RSA keys sign with SHA-1 for peers that do not know it (method 1); default: that is refused. */
      readonly allowSha1?: boolean;
    };

/** What the peer's AUTH payload has to prove. `publicKey` is a pinned SPKI (DER): the identity is the key. */
export type ProvableAuthentication =
  | { readonly kind: 'null' }
  | { readonly kind: 'shared-key'; readonly secret: Uint8Array }
  | {
      readonly kind: 'signature';
      readonly publicKey: Uint8Array;
      /** Takes an RSA signature with SHA-1 from a peer that does not know Digital Signature; default: that is refused. */
      readonly allowSha1?: boolean;
    };

/** What the peer has to prove; with certificates, that it has the key of one. */
export type RemoteAuthentication =
  | ProvableAuthentication
  | {
      readonly kind: 'certificate';
      /** The X.509 certificates (DER) of those who are trusted to certify. */
      readonly authorities: readonly Uint8Array[];
      /** Milliseconds since 1970: when certificates have to be valid. */
      time(): number;
      /** Whom the certificate has to be for; default: whomever the peer claims to be in its ID payload. */
      readonly identity?: Identity;
      /** As with a pinned key. */
      readonly allowSha1?: boolean;
    };

/**
 * When requests are sent again: after `first`, then each time `factor` times later, at most `cap` apart, `tries` sends in
 * all; the answer is awaited for one more interval after the last. Milliseconds.
 */
export interface RetransmissionSchedule {
  /** From the first send to the second. */
  readonly first: Millis;
  /** What each interval is multiplied by for the next. */
  readonly factor: number;
  /** The longest interval. */
  readonly cap: Millis;
  /** Sends, the first included. */
  readonly tries: number;
}

/**
 * How long an SA is used: it is rekeyed at a random time of the `jitter` milliseconds before `soft`, and closed at `hard` if no
 * rekey has succeeded until then; milliseconds since it was made.
 */
export interface Lifetime {
  /** When it has been rekeyed at the latest, if all goes well. */
  readonly soft: Millis;
  /** When it is closed in any case. */
  readonly hard: Millis;
  /** How long before `soft` a rekey may begin. */
  readonly jitter: Millis;
}

/** Octets and packets are those of one SA, in one direction; what is absent has no limit. */
export interface ChildLifetime extends Lifetime {
  /** Octets of inner packets from which on it is to be rekeyed. */
  readonly softOctets?: number;
  /** Octets of inner packets after which it carries nothing. */
  readonly hardOctets?: number;
  /** Packets from which on it is to be rekeyed. */
  readonly softPackets?: number;
  /** Packets after which it carries nothing. */
  readonly hardPackets?: number;
}

/** A post-quantum preshared key (RFC 8784): who breaks the key exchange still does not have the keys. */
export interface PostQuantumKey {
  /** PPK_ID: its type, 1 or 2, and what both ends call the key (RFC 8784 5.1). */
  readonly id: Uint8Array;
  /** PPK: at least 256 bits of entropy. */
  readonly secret: Uint8Array;
}

/** What both roles need. */
export interface CommonConfig {
  /** The algorithms, and all that is random. */
  readonly crypto: CryptoProvider;
  /** IKE SA proposals (encryption, [integrity,] PRF, key exchange). */
  readonly ikeProposals: readonly Proposal[];
  /**
   * ESP proposals (encryption, [integrity,] [key exchange,] ESN). Methods of key exchange are for CREATE_CHILD_SA, where one
   * of them takes place, unless NONE is among them; in IKE_AUTH there is none (RFC 7296 1.2).
   */
  readonly childProposals: readonly Proposal[];
  /** When requests are sent again until the IKE SA is established. */
  readonly retransmission: RetransmissionSchedule;
  /** Once the IKE SA is established: how soon a peer that is gone is given up. Default: the same. */
  readonly establishedRetransmission?: RetransmissionSchedule;
  /**
   * The largest IP packet that the path to the peer is known to carry, in octets: fragments of IKE messages are made to fit.
   * Default: unknown, which makes them small (RFC 7383 2.5.1).
   */
  readonly pathMtu?: number;
  /** When we rekey the IKE SA by ourselves, and how long it lives without; absent: for ever. */
  readonly ikeLifetime?: Lifetime;
  /** When we rekey Child SAs; absent: only when their sequence numbers run out. */
  readonly childLifetime?: ChildLifetime;
  /** Is told every key. Default: nobody is. */
  readonly keyLog?: KeyLog;
}

/** The Child SA that an initiator asks for in IKE_AUTH. */
export interface ChildRequest {
  /** Inner addresses on our side. */
  readonly tsI: readonly TrafficSelector[];
  /** Inner addresses on the responder's side. */
  readonly tsR: readonly TrafficSelector[];
  /** Sends a CFG_REQUEST for these; absent: no Configuration Payload. */
  readonly addresses?: AddressRequest;
}

/** What the responder made of it. */
export interface ChildAnswer {
  /** Inner addresses on our side, as narrowed. */
  readonly tsI: readonly TrafficSelector[];
  /** Inner addresses on the responder's side, as narrowed. */
  readonly tsR: readonly TrafficSelector[];
  /** The CFG_REPLY; absent if there was none. */
  readonly assigned?: AssignedAddresses;
}

/** Everything the initiator of an IKE SA needs. */
export interface InitiatorConfig extends CommonConfig {
  /** How we prove ourselves. */
  readonly local: LocalAuthentication;
  /** What the responder has to prove. */
  readonly remote: RemoteAuthentication;
  /** Instead of `local`, the first of these that the responder announces, if it does not announce that (RFC 9593). */
  readonly alternatives?: readonly LocalAuthentication[];
  /** Announces how `remote` is verified, to a responder that announces its own methods. Default: false. */
  readonly announceMethods?: boolean;
  /** Absent: none, which the responder has to support (RFC 6023); they can be made later, without addresses. */
  readonly child?: ChildRequest;
  /**
   * Judges the answer (K26: TSi must be exactly the assigned address) before anything of it is installed. A text refuses
   * it: the IKE SA is deleted and the text becomes the error's message.
   */
  acceptChild(answer: ChildAnswer): string | undefined;
  /** INITIAL_CONTACT in IKE_AUTH: between authenticated relays only. */
  readonly initialContact: boolean;
  /** NAT_DETECTION notifies in IKE_SA_INIT: at the first hop only (K28). A NAT found moves the SA to port 4500. */
  readonly natDetection: boolean;
  /**
   * Mixes this key in, which tells the responder its id. If it is mandatory there is no IKE SA without, as there must not be
   * with NULL authentication of either end (RFC 8784 5.2.3); otherwise a responder that does not know it gets a second AUTH.
   */
  readonly ppk?: PostQuantumKey & { readonly mandatory: boolean };
  /** Where the peer is on its port 4500, as the link has it. Default: that port at both ends. */
  readonly traversal?: Origin;
  /** Offers MOBIKE (RFC 4555): at the first hop only, whose address may change. Default: false. */
  readonly mobike?: boolean;
  /** Offers IKE fragmentation (RFC 7383), which responders always accept. Default: false. */
  readonly fragmentation?: boolean;
  /**
   * Zero bits of the hardest puzzle that is solved for a responder under load, 8 to 28 (RFC 8019); each bit doubles the work.
   * Default: 18.
   */
  readonly maxPuzzleDifficulty?: number;
}

/** What an initiator claims in IKE_AUTH, before its AUTH payload is verified. */
export interface PeerClaim {
  /** Its ID payload. */
  readonly identity: Identity;
  /** Of `AuthMethod`: that of its AUTH payload. */
  readonly method: number;
  /** SPKI (DER) of a raw public key CERT payload. */
  readonly publicKey?: Uint8Array;
  /** Where its request came from. */
  readonly origin: Origin;
}

/** How one class of initiators is treated; there is no way from one profile to another. */
export interface ResponderProfile {
  /** Told as `Peer.profile`. */
  readonly name: string;
  /** How we prove ourselves to them. */
  readonly local: LocalAuthentication;
  /** What they have to prove. */
  readonly remote: RemoteAuthentication;
  /** What TSr may be narrowed to: our side of the tunnel. */
  readonly tsLocal: readonly TrafficSelector[];
  /** What TSi may be narrowed to; ignored when `assigner` is set: then it is exactly the assigned address (4.5). */
  readonly tsRemote: readonly TrafficSelector[];
  /** Present: a CFG_REQUEST is required and answered; without one the Child SA fails with FAILED_CP_REQUIRED. */
  readonly assigner?: AddressAssigner;
  /** Does MOBIKE (RFC 4555), and says which new addresses of the initiator's are acceptable. Absent: it does not. */
  mobike?(origin: Origin): boolean;
  /** The name under which an authenticated INITIAL_CONTACT closes older IKE SAs; absent: INITIAL_CONTACT is ignored. */
  readonly contactKey?: string;
  /** Keys of which an initiator can mix one in, and whether it has to (RFC 8784 3). */
  readonly ppk?: { readonly keys: readonly PostQuantumKey[]; readonly mandatory: boolean };
  /** How many Child SAs the initiator may have at a time; their successors do not count. Default: 1. */
  readonly maxChildren?: number;
  /** An established IKE SA without a Child SA is closed after this long. */
  readonly childlessTimeout?: Millis;
  /** The IKE SA is closed after this long, and the initiator told of it beforehand, in seconds (RFC 4478). */
  readonly authLifetime?: Millis;
}

/** Everything a responder needs; shared by all the IKE SAs that it answers. */
export interface ResponderConfig extends CommonConfig {
  /** The profile of a claim; undefined answers AUTHENTICATION_FAILED. Must not throw. */
  profile(claim: PeerClaim): ResponderProfile | undefined;
  /** An IKE SA that is not established is dropped when its initiator has been silent for this long. */
  readonly halfOpenTimeout: Millis;
  /**
   * Zero bits of a puzzle that the initiator has to solve before its IKE_AUTH request is looked at; only for one that has solved
   * a puzzle in IKE_SA_INIT (RFC 8019 7.2). Default: none.
   */
  readonly authPuzzleDifficulty?: number;
  /** Sends CERTREQ in IKE_SA_INIT: that certificates (DER) of these authorities are wanted (RFC 7296 3.7). */
  readonly certificateAuthorities?: readonly Uint8Array[];
  /** Announces in IKE_SA_INIT that initiators can prove themselves in these ways (RFC 9593); absent: says nothing. */
  readonly announcedMethods?: readonly RemoteAuthentication['kind'][];
  /** Agrees to mix in a post-quantum preshared key with initiators that want to: profiles have some. Default: false. */
  readonly usesPpk?: boolean;
  /** Whether an initiator can, or has to, do without a Child SA in IKE_AUTH (RFC 6023). Absent: it cannot. */
  readonly childless?: 'allowed' | 'required';
}
