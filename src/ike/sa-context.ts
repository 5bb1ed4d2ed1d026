import type { CryptoProvider } from '../crypto/provider.ts';
import type { Millis } from '../link/clock.ts';
import type { Origin } from '../link/link.ts';
import type { AssignedAddresses, SaOperation, SaResult } from '../link/sa-store.ts';
import { Writer } from '../wire/writer.ts';
import type { Announcement } from './announced-methods.ts';
import type { AuthInputs } from './auth.ts';
import type { Alarm, ChildSa } from './child-sa.ts';
import type { IkeActivity } from './collision.ts';
import type { CommonConfig, ResponderProfile } from './config.ts';
import type { IkeError } from './errors.ts';
import type { HeaderFields } from './header.ts';
import type { Job, JobQueue, Urgency } from './job-queue.ts';
import type { IkeKeys } from './key-schedule.ts';
import { startLifetime } from './lifetime.ts';
import type { NatLocation } from './nat-detection.ts';
import type { Outbox } from './outbox.ts';
import type { IkeEvent, Peer } from './output.ts';
import type { PendingFollowUp } from './procedures/ike-followup-ke.ts';
import type { IkeSuite } from './proposal.ts';
import type { Protection } from './protection.ts';
import type { PuzzleSolver } from './puzzle.ts';
import type { PuzzleLock } from './puzzle-lock.ts';
import type { RateLimit } from './rate-limit.ts';
import { Agenda } from './timers.ts';

/** The original roles of an IKE SA (RFC 7296 2.2). */
export type Role = 'initiator' | 'responder';

/** What IKE_SA_INIT leaves behind for everything after it. */
export interface Negotiated {
  readonly spiI: Uint8Array;
  readonly spiR: Uint8Array;
  readonly nonceI: Uint8Array;
  readonly nonceR: Uint8Array;
  readonly suite: IkeSuite;
  readonly keys: IkeKeys;
  readonly protection: Protection;
  /** Both do IKE fragmentation (RFC 7383). An IKE SA that replaces this one inherits it. */
  readonly fragmentation: boolean;
  /** Methods of additional key exchanges, in order, that IKE_INTERMEDIATE has still to do (RFC 9370 2.2.2). */
  readonly pendingMethods: readonly number[];
  /** What the messages of IKE_INTERMEDIATE come to; absent: there were none. */
  readonly intAuth?: IntAuth;
  /** The last IKE_SA_INIT request and its response, whole: AUTH covers them (RFC 7296 2.15). Gone once it is established. */
  firstMessages: { readonly request: Uint8Array; readonly response: Uint8Array } | undefined;
  /** The peer's SIGNATURE_HASH_ALGORITHMS; undefined if it sent none. */
  readonly peerHashes: ReadonlySet<number> | undefined;
  /** The responder's SUPPORTED_AUTH_METHODS; undefined if it sent none, and at the responder. */
  readonly peerMethods: readonly Announcement[] | undefined;
  /** A post-quantum preshared key is to be mixed in, if both ends know it (RFC 8784). */
  readonly usesPpk: boolean;
  /** The responder lets IKE_AUTH do without a Child SA (RFC 6023). */
  readonly childless: boolean;
}

/** IntAuth of both ends, and how many exchanges it covers (RFC 9242 3.3.2). */
export interface IntAuth {
  readonly initiator: Uint8Array;
  readonly responder: Uint8Array;
  readonly exchanges: number;
}

/** What MOBIKE needs. */
interface Mobility {
  /** Whether the initiator may be there; for the responder. */
  accepts(origin: Origin): boolean;
  /** An exchange about addresses waits for its turn. */
  isQueued: boolean;
  /** How the responder saw the initiator last: NAT_DETECTION_DESTINATION_IP of an IKE SA. */
  seen?: { readonly by: SaContext; readonly as: Uint8Array | undefined };
}

/**
 * What an IKE SA that IKE_SA_INIT has made shares with those that replace it, one after the other (RFC 7296 2.8): one peer
 * and its Child SAs. Address leases are keyed on it (RFC 7296 2.19).
 */
export interface Lineage {
  /** Our role in IKE_SA_INIT, which no rekey changes: who is at the relay, and who may be behind a NAT. */
  readonly role: Role;
  /** What is ours to choose in exchanges after IKE_AUTH, which either end may start. */
  readonly config: CommonConfig;
  readonly outbox: Outbox;
  /** Exchanges of ours that wait for the window of the current IKE SA. */
  readonly jobs: JobQueue;
  /** What is due on the current IKE SA, whichever that is then: what concerns Child SAs. */
  readonly agenda: Agenda;
  /** The time of the call under way. */
  now: Millis;
  /** The IKE SA that has the Child SAs. */
  current: SaContext;
  /** One that the peer has made while a request of ours to rekey is out: one of the two will not be needed (RFC 7296 2.8.2). */
  candidate: SaContext | undefined;
  /** The responder's profile, once the peer matches it. */
  profile: ResponderProfile | undefined;
  /** How many Child SAs there have been: the next one's number. */
  childCount: number;
  /** Why the last Child SA is gone, unless we gave it up. */
  childLoss: IkeError | undefined;
  /** What IKE_AUTH assigned, to the peer or to us. */
  assigned: AssignedAddresses | undefined;
  /** While a CREATE_CHILD_SA request of ours is outstanding: SPIs of Child SAs that the peer closed before we knew them. */
  strayDeletes: Set<number> | undefined;
  /** CREATE_CHILD_SA requests of the peer that are gone into: a token buys all the key exchanges of one. */
  readonly exchangeBudget: RateLimit;
  /** Where NATs are, if both do NAT traversal. */
  nat: NatLocation | undefined;
  /** IKE was on port 4500 from the start: ESP is to be in UDP whether there is a NAT or not (RFC 7296 2.23). */
  readonly startedInUdp: boolean;
  /** Both do MOBIKE (RFC 4555). */
  mobility: Mobility | undefined;
  /** Makes the IKE SA that a rekey of `by` has negotiated; `by` is not the one that has to make room for it. */
  found(founding: Founding, by: SaContext): SaContext;
  /** An IKE SA is over, because of `error` or in good order; if it is the current one, all are. */
  ended(sa: SaContext, error: IkeError | undefined): void;
}

/** What a rekey makes a new IKE SA of (RFC 7296 1.3.2). */
export interface Founding {
  /** That of the one who asked for it. */
  readonly role: Role;
  readonly localSpi: Uint8Array;
  readonly origin: Origin;
  readonly negotiated: Negotiated;
}

/** What procedures bring about. */
interface SaSinks {
  emit(event: IkeEvent): void;
  /** An operation whose result no procedure waits for. */
  submit(operation: SaOperation, onResult?: (result: SaResult) => void): void;
  /** An exchange of ours, for when the window is free. */
  enqueue(urgency: Urgency, job: Job): void;
  /** Rekeys it as soon as the window is free. */
  rekey(): void;
  /** Deletes it as soon as the window is free; `reason` is why, unless that was asked for. */
  close(reason?: IkeError): void;
  /** Ends it without a message. */
  end(): void;
  /** An alarm of a Child SA goes off. */
  wake(child: ChildSa, alarm: Alarm): void;
}

/** What the procedures of one IKE SA share; the IKE SA itself runs them and owns the message stream. */
export interface SaContext extends SaSinks {
  readonly lineage: Lineage;
  /** Our original role (RFC 7296 2.2). */
  readonly role: Role;
  readonly crypto: CryptoProvider;
  readonly config: CommonConfig;
  /** Our own SPI, and the peer's: zeros while the initiator does not know it. */
  readonly localSpi: Uint8Array;
  /** What is due at a time of its own, and gone with this IKE SA. */
  readonly agenda: Agenda;
  /** The time of the call under way. */
  readonly now: Millis;
  negotiated: Negotiated | undefined;
  /** The puzzle that the responder wants solved in IKE_AUTH (RFC 8019 7.2). */
  puzzle: PuzzleSolver | undefined;
  /** Of a responder that has demanded one: in place of `negotiated` until it is solved. */
  lock: PuzzleLock | undefined;
  /** Where requests and ESP go. */
  origin: Origin;
  /** The peer is authenticated, and accepted. */
  established: boolean;
  /** What we are doing with it as a whole: much is refused meanwhile (RFC 7296 2.25.2). */
  activity: IkeActivity;
  /** The exchange of ours that is under way. */
  underWay: Urgency | undefined;
  /** What the peer has begun with CREATE_CHILD_SA and has to end with IKE_FOLLOWUP_KE (RFC 9370 2.2.4). */
  followUp: PendingFollowUp | undefined;
  /** By our SPI; those that only receive late packets are among them. */
  readonly children: Map<number, ChildSa>;
}

/** The context of an IKE SA that is about to be set up, or has been made by a rekey. */
export function newContext(
  lineage: Lineage,
  { role, localSpi, origin, negotiated }: Omit<Founding, 'negotiated'> & Partial<Founding>,
  sinks: SaSinks,
): SaContext {
  return {
    lineage,
    role,
    crypto: lineage.config.crypto,
    config: lineage.config,
    localSpi,
    agenda: new Agenda(),
    get now() {
      return lineage.now;
    },
    negotiated,
    puzzle: undefined,
    lock: undefined,
    origin,
    established: negotiated !== undefined,
    activity: 'idle',
    underWay: undefined,
    followUp: undefined,
    children: new Map(),
    ...sinks,
  };
}

/** The header of an IKE_SA_INIT message from us; SPIr is still zero in a request. */
export function headerFields(
  sa: SaContext,
  spis: { readonly spiI: Uint8Array; readonly spiR: Uint8Array },
  exchangeType: number,
  messageId: number,
  response: boolean,
): HeaderFields {
  const { spiI, spiR } = spis;
  return { spiI, spiR, exchangeType, messageId, flags: { initiator: sa.role === 'initiator', response } };
}

/** What the AUTH payload of `side` covers; `idBody` is its ID payload's (RFC 7296 2.15, RFC 9242 3.3.2). */
export function authInputs(sa: SaContext, side: Role, idBody: Uint8Array): AuthInputs {
  const { suite, keys, firstMessages, nonceI, nonceR, intAuth } = sa.negotiated!;
  const { request, response } = firstMessages!;
  const common = { crypto: sa.crypto, prf: suite.prf, idBody, intAuth: intAuth && encodeIntAuth(intAuth) };
  return side === 'initiator'
    ? { ...common, message: request, nonce: nonceR, skP: keys.skPi }
    : { ...common, message: response, nonce: nonceI, skP: keys.skPr };
}

/** IntAuth_iN | IntAuth_rN | IKE_AUTH_MID: IKE_AUTH comes after IKE_SA_INIT, with message ID 0, and the others. */
function encodeIntAuth({ initiator, responder, exchanges }: IntAuth): Uint8Array {
  return new Writer()
    .bytes(initiator)
    .bytes(responder)
    .u32(exchanges + 1)
    .finish();
}

/** Both ends are authenticated: from now on the peer's requests count. */
export function establish(sa: SaContext, peer: Peer): void {
  sa.negotiated!.firstMessages = undefined;
  sa.established = true;
  startLifetime(sa);
  sa.emit({ type: 'established', peer });
}
