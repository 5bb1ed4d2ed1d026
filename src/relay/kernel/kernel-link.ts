import { type Attachment, type Link, LinkError, type LinkHandlers, type Origin } from '../../link/link.ts';
import { type Address, addressBytes, familyOf, type Prefix, prefixContains } from '../../wire/address.ts';
import type { RelayConfig } from '../config.ts';
import { present } from '../families.ts';
import type { HostLinks } from '../relay-link.ts';
import { ofFamily } from './layout.ts';

/**
 * A relay's one link where the kernel forwards: what overlay tunnels carry to our own address comes to the host's sockets. The
 * overlay that a message came through is that of the relay which has its source in its pool: pools are disjoint, and the kernel
 * lets an address of a pool in through no other tunnel.
 */
export class KernelLink implements Link {
  readonly id = 'relay';
  readonly #hosts: HostLinks;
  readonly #peers: readonly { readonly keyId: string; readonly pools: readonly Prefix[] }[];

  constructor(hosts: HostLinks, { peers }: RelayConfig) {
    this.#hosts = hosts;
    this.#peers = peers.map(({ keyId, pools }) => ({ keyId, pools: present(pools) }));
  }

  get mtu(): number {
    return Math.min(...present(this.#hosts).map(({ mtu }) => mtu));
  }

  origin(address: Address, encapsulated: boolean): Origin {
    const family = familyOf(address);
    const host = ofFamily(this.#hosts, family);
    if (host === undefined)
      throw new LinkError(`this relay has no IPv${family} address to reach an IPv${family} one from`);
    return this.#place(host.origin(address, encapsulated));
  }

  async attach(handlers: LinkHandlers): Promise<Attachment> {
    const attachments = new Map<string, Attachment>();
    const close = async () => {
      await Promise.all([...attachments.values()].map((attachment) => attachment.close()));
    };
    const placed: LinkHandlers = {
      ike: (message, origin) => handlers.ike(message, this.#place(origin)),
      esp: () => {}, // of an SA that the kernel does not have
    };
    try {
      for (const link of present(this.#hosts)) attachments.set(link.id, await link.attach(placed));
    } catch (error) {
      await close();
      throw error;
    }
    return {
      sendIke: (message, to) => attachments.get(to.linkId)?.sendIke(message, to),
      sendEsp: () => {},
      sendKeepalive: (to) => attachments.get(to.linkId)?.sendKeepalive?.(to),
      close,
    };
  }

  #place(origin: Origin): Origin {
    const bytes = addressBytes(origin.address);
    const family = familyOf(origin.address);
    const peer = this.#peers.find(({ pools }) =>
      pools.some((pool) => pool.family === family && prefixContains(pool, bytes)),
    );
    return peer === undefined ? origin : { ...origin, overlayPeer: peer.keyId };
  }
}
