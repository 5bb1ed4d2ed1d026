import type { Clock, Millis } from '../link/clock.ts';
import type { Attachment, Origin } from '../link/link.ts';

/** A NAT keeps a mapping at least as long after a packet from inside (RFC 3948 4). */
const INTERVAL: Millis = 20_000;

interface Peer {
  readonly to: Origin;
  /** Who needs the mapping. */
  readonly owners: Set<object>;
  /** When something was sent to it. */
  last: Millis;
  cancel: () => void;
}

/** Keeps the mappings of a NAT in front of us: a keepalive to each peer in UDP to which nothing else is sent for a while. */
export class NatKeepalives {
  readonly #clock: Clock;
  readonly #attachment: Attachment;
  readonly #peers = new Map<string, Peer>();
  /** The name of each owner's peer. */
  readonly #kept = new Map<object, string>();

  constructor(clock: Clock, attachment: Attachment) {
    this.#clock = clock;
    this.#attachment = attachment;
  }

  /** Something is sent, which serves as well. */
  sent(to: Origin): void {
    if (this.#peers.size === 0) return;
    const peer = this.#peers.get(nameOf(to));
    if (peer !== undefined) peer.last = this.#clock.now();
  }

  /** `owner` needs the mapping to `to`, and none other any more; undefined: it needs none. */
  keep(owner: object, to: Origin | undefined): void {
    const name = to && nameOf(to);
    const before = this.#kept.get(owner);
    if (name === before) return;
    if (before !== undefined) this.#release(owner, before);
    if (to === undefined || name === undefined) return;
    this.#kept.set(owner, name);
    let peer = this.#peers.get(name);
    if (peer === undefined) {
      peer = { to, owners: new Set(), last: this.#clock.now(), cancel: () => {} };
      this.#peers.set(name, peer);
      this.#arm(peer);
    }
    peer.owners.add(owner);
  }

  #release(owner: object, name: string): void {
    this.#kept.delete(owner);
    const peer = this.#peers.get(name)!;
    peer.owners.delete(owner);
    if (peer.owners.size > 0) return;
    peer.cancel();
    this.#peers.delete(name);
  }

  #arm(peer: Peer): void {
    peer.cancel = this.#clock.at(peer.last + INTERVAL, () => {
      const now = this.#clock.now();
      if (now - peer.last >= INTERVAL) {
        this.#attachment.sendKeepalive?.(peer.to);
        peer.last = now;
      }
      this.#arm(peer);
    });
  }
}

function nameOf({ linkId, address, port }: Origin): string {
  return `${linkId} ${address} ${port}`;
}
