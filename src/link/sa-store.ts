import type { Address } from '../wire/address.ts';
import type { TrafficSelector } from '../wire/traffic-selector.ts';
import type { Millis } from './clock.ts';
import type { Origin } from './link.ts';
import type { Packet } from './packet.ts';

/** The algorithms of an ESP SA, by their IANA IKEv2 transform numbers. */
export interface EspSuite {
  /** Encryption transform (type 1). */
  readonly encryption: number;
  /** Key length in bits, for ciphers with a variable one; 256 for ChaCha20-Poly1305. */
  readonly keyLength: number;
  /** Integrity transform, 0 for AEAD ciphers. */
  readonly integrity: number;
  /** Extended (64-bit) sequence numbers, RFC 4303 2.2.1. */
  readonly esn: boolean;
}

/** What a tunnel may carry; it outlives the SAs that come and go under it as they are rekeyed. */
export interface TunnelPolicy {
  /** Unique in the process, the same for an SA and its successors. */
  readonly id: string;
  /** Inner addresses on our side (RFC 4301 4.4.1). */
  readonly local: readonly TrafficSelector[];
  /** Inner addresses on the peer's side. */
  readonly remote: readonly TrafficSelector[];
}

/** One direction of a Child SA. */
export interface SaParameters {
  /** Of an inbound SA one that was reserved; of an outbound SA the peer's choice. */
  readonly spi: number;
  /** Its algorithms. */
  readonly suite: EspSuite;
  /** From KEYMAT (RFC 7296 2.17). `encryption` ends with the salt of AEAD ciphers; `integrity` is empty for them. */
  readonly keys: { readonly encryption: Uint8Array; readonly integrity: Uint8Array };
  /** The peer: where inbound packets come from, where outbound ones go. */
  readonly path: Origin;
  /** The tunnel that it belongs to. */
  readonly tunnel: TunnelPolicy;
  /** What it may carry; absent: whatever its sequence numbers suffice for. */
  readonly limits?: SaLimits;
  /** Milliseconds until IKE has removed it for sure. Absent: it may stay for ever. */
  readonly lifetime?: Millis;
}

/** What one SA may carry: past a soft limit it is to be replaced, past a hard one it carries nothing. Inner packets. */
export interface SaLimits {
  /** Octets after which `SaUsed` says `soft`. */
  readonly softOctets?: number;
  /** Octets after which `SaUsed` says `hard`. */
  readonly hardOctets?: number;
  /** Packets after which `SaUsed` says `soft`. */
  readonly softPackets?: number;
  /** Packets after which `SaUsed` says `hard`. */
  readonly hardPackets?: number;
}

/** What became of an SA in use, told once each: its first packet was verified, or it has reached a limit. */
export interface SaUsed {
  /** Its first packet was verified, or it has reached that limit. */
  readonly kind: 'used' | 'soft' | 'hard';
  /** Whether the SA is one that we receive on. */
  readonly direction: 'inbound' | 'outbound';
  /** The SA's. */
  readonly spi: number;
  /** `TunnelPolicy.id` of its tunnel. */
  readonly tunnelId: string;
}

/**
 * The newest packet of an inbound SA, by its sequence number, came in UDP from another address or port than the one before it
 * did (RFC 7296 2.23).
 */
export interface SaMoved {
  readonly kind: 'moved';
  /** `TunnelPolicy.id` of its tunnel. */
  readonly tunnelId: string;
  /** Where the peer is now. */
  readonly path: Origin;
}

/** What a backend says of its SAs by itself. */
export type SaEvent = SaUsed | SaMoved;

/**
 * Changes to the SA database. SPIs are reserved before they appear on the wire; an inbound SA is installed before the
 * message that lets the peer use it (RFC 7296 2.8).
 */
export type SaOperation =
  | { readonly kind: 'reserve'; readonly path: Origin }
  | { readonly kind: 'inbound'; readonly sa: SaParameters }
  | { readonly kind: 'outbound'; readonly sa: SaParameters }
  /** Also gives back an SPI that was only reserved. Removing what is not there succeeds. */
  | {
      readonly kind: 'remove';
      readonly direction: 'inbound' | 'outbound';
      readonly spi: number;
      readonly path: Origin;
      /** The policy that it was installed under; absent for an SPI that was only reserved. */
      readonly tunnelId?: string;
    }
  /** The peer of an outbound SA is at another address now (RFC 7296 2.23). */
  | { readonly kind: 'move'; readonly spi: number; readonly tunnelId: string; readonly path: Origin };

/** `spi` answers a `reserve`. A failure carries the text for the operator. */
export type SaResult =
  | { readonly ok: true; readonly spi: number }
  | { readonly ok: false; readonly error: string };

/**
 * An SA database. Operations of one call are applied in order; a failed one has changed nothing. Keys are copied: the
 * caller overwrites the operation's when the result is there.
 */
export interface SaStore {
  /** A result for each operation, in order. */
  apply(operations: readonly SaOperation[]): Promise<readonly SaResult[]>;
}

/**
 * What a received packet's IP header must not be allowed to say, decided before the packet reaches a handler: the inner
 * source lies in the tunnel's remote selectors and the destination in its local ones (RFC 4301 5.2).
 */
export type TunnelHandler = (packets: readonly Packet[]) => void;

/** The data path under a policy. Packets are whole inner IP packets. */
export interface Tunnel {
  /** What it may carry. */
  readonly policy: TunnelPolicy;
  /** Seals and sends; a packet outside the policy, or without an SA, is dropped and counted, never sent in clear. */
  send(packets: readonly Packet[]): void;
  /** Where opened packets go; until it is set they are dropped. The slots are the handler's to rewrite. */
  onPackets(handler: TunnelHandler): void;
  /** Drops by reason, and packets and octets carried. */
  readonly counters: Readonly<Record<string, number>>;
  /** Removes the policy and every SA under it. */
  close(): Promise<void>;
}

/** A data plane: its SA database, and its tunnels, which exist from the first SA installed under a policy. */
export interface Backend extends SaStore {
  /** For people: in messages and benchmarks. */
  readonly name: string;
  /** ESP packets that a link delivered; a backend whose ESP is the kernel's gets none. */
  receive(packets: readonly Packet[], origin: Origin): void;
  /** The data path under a policy. @throws RangeError if no SA was ever installed under that policy id, or it was closed */
  tunnel(policyId: string): Tunnel;
  /** Removes every tunnel and SA. */
  close(): Promise<void>;
}

/** Builds a data plane over the sending side of a link. */
export type BackendFactory = (
  sendEsp: (packets: readonly Packet[], to: Origin) => void,
  /** Called for ESP of an SPI that has no SA (RFC 7296 1.5: a peer may have lost its state, or we ours). */
  onUnknownSpi: (spi: number, origin: Origin) => void,
  /** Called after the packets that brought it about have gone on. */
  onSaEvent: (event: SaEvent) => void,
) => Backend;

/** An assigned configuration as it reached the client (RFC 7296 3.15). */
export interface AssignedAddresses {
  /** INTERNAL_IP4_ADDRESS. */
  readonly ip4?: Address;
  /** INTERNAL_IP6_ADDRESS. */
  readonly ip6?: { readonly address: Address; readonly prefixLength: number };
  /** Name servers, of either family. */
  readonly dns: readonly Address[];
}
