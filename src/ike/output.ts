import type { Millis } from '../link/clock.ts';
import type { Origin } from '../link/link.ts';
import type { AssignedAddresses, EspSuite, SaOperation, TunnelPolicy } from '../link/sa-store.ts';
import type { Identity } from './config.ts';
import type { IkeError } from './errors.ts';

/** A Child SA as the user of the core sees it. */
export interface ChildSaInfo {
  /** The tunnel that its SAs are under. */
  readonly tunnel: TunnelPolicy;
  /** Our SPI: of the SA that we receive on. */
  readonly spiIn: number;
  /** The peer's SPI: of the SA that we send on. */
  readonly spiOut: number;
  /** The algorithms of both SAs. */
  readonly suite: EspSuite;
  /** Addresses assigned by CP: to us (initiator) or to the peer (responder). */
  readonly assigned?: AssignedAddresses;
}

/** The authenticated peer. */
export interface Peer {
  /** Its ID payload. */
  readonly identity: Identity;
  /** Of `AuthMethod`: how it proved itself. */
  readonly method: number;
  /** SPKI (DER) that it proved, for signatures. */
  readonly publicKey?: Uint8Array;
  /** The responder's profile that it matched; absent at an initiator. */
  readonly profile?: string;
}

/** What has happened to an IKE SA and its Child SAs. */
export type IkeEvent =
  | { readonly type: 'established'; readonly peer: Peer }
  /** Both SAs are installed; at the responder of the exchange this comes before the response is transmitted. */
  | {
      readonly type: 'child-established';
      readonly child: ChildSaInfo;
      /** Ours in the exchange that made it: the initiator has asked for it. */
      readonly role: 'initiator' | 'responder';
    }
  /** Another pair of SAs has replaced that of the same tunnel (RFC 7296 2.8); late packets are accepted for a while. */
  | { readonly type: 'child-rekeyed'; readonly child: ChildSaInfo }
  /** There is an IKE SA, but not the Child SA that was asked for (RFC 7296 1.2, 1.3.1). */
  | { readonly type: 'child-failed'; readonly error: IkeError }
  | { readonly type: 'child-closed'; readonly tunnelId: string }
  /** The responder will close the IKE SA so many milliseconds from now (RFC 4478); at initiators. */
  | { readonly type: 'auth-lifetime'; readonly remaining: Millis }
  /** An authenticated peer said INITIAL_CONTACT: other IKE SAs with this key are to be closed (RFC 7296 2.4). */
  | { readonly type: 'initial-contact'; readonly contactKey: string }
  /** A rekey has made a new IKE SA: messages with this SPI of ours are the lineage's as well from now on. */
  | { readonly type: 'successor'; readonly spi: string }
  /** The Child SAs have moved to the IKE SA with this SPI of ours (RFC 7296 2.8). */
  | { readonly type: 'rekeyed'; readonly spi: string }
  /** An IKE SA that was replaced, or that was not needed, is gone: its SPI is nobody's. */
  | { readonly type: 'retired'; readonly spi: string }
  /** The last IKE SA is gone, with its Child SAs; the last event. `error` is absent after an orderly delete. */
  | { readonly type: 'closed'; readonly error?: IkeError };

/**
 * What the core wants done, in order. An `operation` is applied and its result handed back with
 * `IkeLineage.handleCompleted(id, result, now)`; until then the exchange that asked for it is suspended.
 */
export type Output =
  | { readonly kind: 'transmit'; readonly message: Uint8Array; readonly to: Origin }
  | { readonly kind: 'operation'; readonly id: number; readonly operation: SaOperation }
  | { readonly kind: 'event'; readonly event: IkeEvent };
