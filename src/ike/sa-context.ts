import type { CryptoProvider } from '../crypto/provider.ts';
import type { Millis } from '../link/clock.ts';
import type { Origin } from '../link/link.ts';
import type { SaOperation } from '../link/sa-store.ts';
import type { AuthInputs } from './auth.ts';
import type { ChildSa } from './child-sa.ts';
import type { IkeActivity } from './collision.ts';
import type { CommonConfig, ResponderProfile } from './config.ts';
import type { IkeError } from './errors.ts';
import type { HeaderFields } from './header.ts';
import type { Job, Urgency } from './job-queue.ts';
import type { IkeKeys } from './key-schedule.ts';
import type { IkeEvent, Peer } from './output.ts';
import type { IkeSuite } from './proposal.ts';
import type { Protection } from './protection.ts';
import type { Agenda } from './timers.ts';

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
  /** The last IKE_SA_INIT request and its response, whole: AUTH covers them (RFC 7296 2.15). Gone once it is established. */
  firstMessages: { readonly request: Uint8Array; readonly response: Uint8Array } | undefined;
  /** The peer's SIGNATURE_HASH_ALGORITHMS; undefined if it sent none. */
  readonly peerHashes: ReadonlySet<number> | undefined;
}

/** Where what the procedures bring about goes. */
interface SaSinks {
  /** What is due at a time of its own; an entry of a Child SA has its SPI in its name. */
  readonly agenda: Agenda;
  emit(event: IkeEvent): void;
  /** An operation whose result nobody waits for. */
  submit(operation: SaOperation): void;
  /** An exchange of ours, for when the window is free. */
  enqueue(urgency: Urgency, job: Job): void;
}

/** What the procedures of one IKE SA share; the IKE SA itself runs them and owns the message stream. */
export interface SaContext extends SaSinks {
  readonly role: Role;
  readonly crypto: CryptoProvider;
  /** What is ours to choose in exchanges after IKE_AUTH, which either end may start. */
  readonly config: CommonConfig;
  /** Our own SPI, and the peer's: zeros while the initiator does not know it. */
  readonly localSpi: Uint8Array;
  /** The time of the call under way. */
  now: Millis;
  negotiated: Negotiated | undefined;
  /** Where requests and ESP go. */
  origin: Origin;
  /** The peer is authenticated, and accepted. */
  established: boolean;
  /** What we are doing with it as a whole: much is refused meanwhile (RFC 7296 2.25.2). */
  activity: IkeActivity;
  /** The responder's profile, once the peer matches it. */
  profile: ResponderProfile | undefined;
  /** What address leases are keyed on (RFC 7296 2.19). */
  readonly owner: object;
  /** By our SPI. */
  readonly children: Map<number, ChildSa>;
  /** How many Child SAs there have been: the next one's number. */
  childCount: number;
  /** The peer deleted a Child SA that we had not given up. */
  childLoss: IkeError | undefined;
}

/** The context of an IKE SA that is about to be set up. */
export function newContext(
  role: Role,
  config: CommonConfig,
  localSpi: Uint8Array,
  origin: Origin,
  now: Millis,
  sinks: SaSinks,
): SaContext {
  return {
    role,
    crypto: config.crypto,
    config,
    localSpi,
    origin,
    now,
    negotiated: undefined,
    established: false,
    activity: 'idle',
    profile: undefined,
    owner: {},
    children: new Map(),
    childCount: 0,
    childLoss: undefined,
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

/** What the AUTH payload of `side` covers; `idBody` is its ID payload's (RFC 7296 2.15). */
export function authInputs(sa: SaContext, side: Role, idBody: Uint8Array): AuthInputs {
  const { suite, keys, firstMessages, nonceI, nonceR } = sa.negotiated!;
  const { request, response } = firstMessages!;
  const common = { crypto: sa.crypto, prf: suite.prf, idBody };
  return side === 'initiator'
    ? { ...common, message: request, nonce: nonceR, skP: keys.skPi }
    : { ...common, message: response, nonce: nonceI, skP: keys.skPr };
}

/** Both ends are authenticated: from now on the peer's requests count. */
export function establish(sa: SaContext, peer: Peer): void {
  sa.negotiated!.firstMessages = undefined;
  sa.established = true;
  sa.emit({ type: 'established', peer });
}
