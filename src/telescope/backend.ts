import type { Link } from '../link/link.ts';
import type { BackendFactory, Tunnel } from '../link/sa-store.ts';
import type { Address } from '../wire/address.ts';
import { TunnelLink } from './tunnel-link.ts';

/** What carries the hops of one telescope: user space, or the kernel. */
export interface TelescopeBackend {
  /** Who carries the packets: this process, or the kernel. */
  readonly name: 'userspace' | 'xfrm';
  /** The data plane of a hop over `link`, which is attached before it is made. */
  over(link: Link): BackendFactory;
  /**
   * A hop's tunnel as the link of the next one.
   * @param assigned - the address that the hop's relay assigned
   * @param mtu - the largest packet that reaches the next relay, in octets
   */
  linkOf(tunnel: Tunnel, assigned: Address, mtu: number): Link;
}

/** Every tunnel hands its packets to this process, which puts the next one into it. `backend` makes their data planes. */
export function userSpaceHops(backend: BackendFactory): TelescopeBackend {
  return {
    name: 'userspace',
    over: () => backend,
    linkOf: (tunnel, assigned, mtu) => new TunnelLink(tunnel, assigned, mtu),
  };
}
