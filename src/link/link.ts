import type { Address } from '../wire/address.ts';
import type { Packet } from './packet.ts';

/**
 * Where a datagram came from, and so where its answer goes. At a relay an address alone does not identify a peer:
 * two overlay peers may both carry a client at 10.0.0.5:500, so the overlay that it came through is part of it.
 */
export interface Origin {
  /** `Link.id` of the link that it arrived on. */
  readonly linkId: string;
  /** Key id of the relay whose overlay tunnel carried it, at a relay; absent when it came from the host's network. */
  readonly overlayPeer?: string;
  /** The peer's address. */
  readonly address: Address;
  /** The peer's UDP port; 0 for plain ESP. */
  readonly port: number;
  /** Our address that it was sent to. */
  readonly localAddress: Address;
  /** Our UDP port; 0 for plain ESP. */
  readonly localPort: number;
  /** RFC 3948: IKE with the non-ESP marker and ESP in UDP (port 4500), rather than IKE on 500 and IP protocol 50. */
  readonly encapsulated: boolean;
}

/** What a link delivers. Handlers never throw and never wait. */
export interface LinkHandlers {
  /** One IKE message, without non-ESP marker. `message` is the handler's to keep. */
  ike(message: Uint8Array, origin: Origin): void;
  /** ESP packets, from the SPI to the ICV (no IP or UDP header). The slots may be rewritten in place. */
  esp(packets: readonly Packet[], origin: Origin): void;
}

/**
 * Carries IKE messages and ESP packets between an address of ours and peers. The host is a Link; a tunnel that a client
 * has built is a Link: `extend()` is the same code on either.
 */
export interface Link {
  /** Tells the links of a process apart: `Origin.linkId`. */
  readonly id: string;
  /** The largest IP packet that it carries, in octets. */
  readonly mtu: number;
  /**
   * The origin that a message from `address` would have: the way to address a peer first. Our ports are known once the link
   * is attached. @throws LinkError if the address cannot be reached over it
   */
  origin(address: Address, encapsulated: boolean): Origin;
  /** Calls back whenever our address on it has changed; the result ends that. Absent: it does not change. */
  onMoved?(handler: () => void): () => void;
  /** Starts delivery. @throws LinkError when sockets cannot be opened (names the port and the remedy) */
  attach(handlers: LinkHandlers): Promise<Attachment>;
}

/** The sending side of an attached link. Sends never throw: what cannot be sent is lost, as on any network. */
export interface Attachment {
  /** Sends one IKE message; the link adds the non-ESP marker to an encapsulated peer. */
  sendIke(message: Uint8Array, to: Origin): void;
  /** The link adds its own outer headers (in the packets' headroom where it writes them itself). */
  sendEsp(packets: readonly Packet[], to: Origin): void;
  /** One octet 0xFF to an encapsulated peer (RFC 3948 2.3); absent where there cannot be a NAT. */
  sendKeepalive?(to: Origin): void;
  /** Ends delivery and closes what `attach` opened. */
  close(): Promise<void>;
}

/** A link that cannot be opened or used; the message says what, where and what to do. */
export class LinkError extends Error {
  override readonly name = 'LinkError';
}
