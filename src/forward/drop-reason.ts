/** Why a relay dropped a packet: the decision's reasons, then the exit's. Counted by name, never logged with an address. */
export const DropReason = {
  /** Not a complete IPv4 or IPv6 packet, or a transport header that is cut short or says nonsense. */
  MALFORMED: 'malformed',
  /** IPv4 options: they record routes and time stamps, and may carry an address of the sender's. */
  IP_OPTIONS: 'ip-options',
  /** A fragment: its ports are unknown, so no rule below can judge it. */
  FRAGMENT: 'fragment',
  /** A client's packet with an inner source other than the address that it was assigned (RFC 7619 3.4). */
  SPOOFED_SOURCE: 'spoofed-source',
  /** A peer relay's address for something other than IKE and ESP: a telescope is no way into a relay's services. */
  RELAY_SERVICES: 'relay-services',
  /** Our own address for something other than what a telescope needs. */
  OWN_SERVICES: 'own-services',
  /** An address of our own pool as seen by another holder of a pool address: clients do not reach each other. */
  OTHER_CLIENT: 'other-client',
  /** An address of a peer's pool as destination: those are reached by the peer only. */
  PEER_POOL: 'peer-pool',
  /** A destination that is not on the public Internet (loopback, link-local, private, multicast, reserved). */
  PRIVATE_RANGE: 'private-range',
  /** Our exit policy rejects the destination. */
  EXIT_POLICY: 'exit-policy',
  /** We are not an exit. */
  NOT_AN_EXIT: 'not-an-exit',
  /** It came through the overlay of a relay that is not (or no longer) listed. */
  UNKNOWN_PEER: 'unknown-peer',
  /** From an overlay peer, with a source that is neither its address nor in its pool (T25). */
  OUTSIDE_PEER_POOL: 'outside-peer-pool',
  /** A relay's own packets to us inside its overlay; the overlay's IKE and ESP travel outside it. */
  RELAY_IN_OVERLAY: 'relay-in-overlay',
  /** An address of our pool that no client holds. */
  NO_SUCH_CLIENT: 'no-such-client',
  /** A destination that is not ours, from where we do not forward to others: no transit. */
  NOT_FOR_US: 'not-for-us',
  /** The exit translates UDP, TCP and ICMP only. */
  UNSUPPORTED_PROTOCOL: 'unsupported-protocol',
  /** An ICMP message other than echo and the errors that RFC 5508 has translated. */
  UNSUPPORTED_ICMP: 'unsupported-icmp',
  /** The client, or the exit as a whole, has as many sessions as it may have, or no port is free. */
  NAPT_FULL: 'napt-full',
  /** From outside, to a port of the exit that no client uses. */
  NO_MAPPING: 'no-mapping',
  /** From outside, to a mapped port, from a host that the client has not written to (RFC 4787 REQ-8). */
  FILTERED: 'filtered',
  /** A client's packet to the exit address itself: it could only be meant for another client. */
  HAIRPIN: 'hairpin',
  /** An exit without privileges cannot carry TCP. */
  TCP_NEEDS_PRIVILEGES: 'tcp-needs-privileges',
  /** An exit without privileges may not send ICMP echo: net.ipv4.ping_group_range does not list its group. */
  ICMP_NOT_PERMITTED: 'icmp-not-permitted',
  /** The kernel did not take the packet, or the exit has no address of this family. */
  NOT_SENT: 'not-sent',
} as const;

/** One of `DropReason`. */
export type DropReason = (typeof DropReason)[keyof typeof DropReason];
