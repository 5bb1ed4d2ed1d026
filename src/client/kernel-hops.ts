import { closeSync } from 'node:fs';
import { xfrmBackend } from '../backend/xfrm/backend.ts';
import { openXfrm } from '../backend/xfrm/xfrm.ts';
import { relayRemains } from '../firewall/remains.ts';
import { type Attachment, type Link, LinkError, type LinkHandlers, type Origin } from '../link/link.ts';
import type { AssignedAddresses, BackendFactory, Tunnel, TunnelPolicy } from '../link/sa-store.ts';
import type { Native } from '../native/native.ts';
import type { TelescopeBackend } from '../telescope/backend.ts';
import { HOP_IKE_PORT, hopOrigin } from '../telescope/hop-origin.ts';
import { openUdpSocket } from '../transport/udp-socket.ts';
import { type Address, familyOf } from '../wire/address.ts';
import { closeAll } from './closing.ts';
import { addDevice, type DeviceSettings, HOP_DEVICE, type HopPlace } from './hop-device.ts';
import { HopNamespace } from './hop-namespace.ts';
import { addressesOf } from './surroundings.ts';
import { applicationRules, hopRules } from './traffic-rules.ts';

/** How a tunnel is attached in the namespace of its SAs. */
interface Attached {
  readonly place: HopPlace;
  /** Mark of its policies and SAs, and key of its device. */
  readonly key: number;
  readonly remote: Address;
}

/**
 * The kernel carries the hops. Each has a network namespace: IKE, SAs and policies of a hop are in the one of the hop before it (the
 * first one's in the host's), and its tunnel's device leads there from its own, in which nothing else leads out. A packet
 * without a policy or an SA is dropped by the device, and has no other way.
 */
export class KernelHops implements TelescopeBackend {
  readonly name = 'xfrm';
  readonly #native: Native;
  readonly #host: HopPlace;
  /** By the id of the link whose hops have their SAs there. */
  readonly #places = new Map<string, HopPlace>();
  /** By the id of the tunnel's policy. */
  readonly #attached = new Map<string, Attached>();
  /** Where the innermost tunnel leads out of. */
  #entered: HopNamespace | undefined;

  private constructor(native: Native, host: HopPlace, link: string) {
    this.#native = native;
    this.#host = host;
    this.#places.set(link, host);
  }

  /**
   * Opens the IPsec of the host's network, which loses what clients and relays have left there that were killed.
   * @param host - it is owned from now on
   * @param link - id of the first hop's
   * @throws NativeError, XfrmError, CommandError
   */
  static async open(native: Native, host: HopNamespace, link: string): Promise<KernelHops> {
    try {
      const xfrm = await openXfrm({ native, namespace: host.file, remains: relayRemains(native) });
      return new KernelHops(native, { namespace: host, xfrm }, link);
    } catch (error) {
      host.close();
      throw error;
    }
  }

  over(link: Pick<Link, 'id'>): BackendFactory {
    const attach = (policy: TunnelPolicy, { address }: Origin) => {
      const place = this.#placeOf(link);
      const key = place.xfrm.allocate();
      this.#attached.set(policy.id, { place, key, remote: address });
      return { mark: key };
    };
    return (...wiring) => xfrmBackend({ xfrm: this.#placeOf(link).xfrm, attach })(...wiring);
  }

  linkOf(tunnel: Tunnel, assigned: Address, mtu: number): Link {
    return new HopLink(tunnel.policy.id, assigned, mtu, this.#native, async () => {
      const namespace = new HopNamespace(this.#native, this.#native.newNetworkNamespace());
      try {
        await this.#lead(tunnel, namespace, { addresses: [assigned], mtu, rules: hopRules(HOP_DEVICE) });
        const xfrm = await openXfrm({ native: this.#native, namespace: namespace.file, isNew: true });
        this.#places.set(tunnel.policy.id, { namespace, xfrm });
        return { namespace, close: () => this.#leave(tunnel) };
      } catch (error) {
        namespace.close();
        throw error;
      }
    });
  }

  /**
   * Makes the innermost tunnel the only way out of `namespace`.
   * @param mtu - in octets
   * @returns the name of its device
   * @throws CommandError, LinkError
   */
  async enter(
    tunnel: Tunnel,
    assigned: AssignedAddresses,
    mtu: number,
    namespace: HopNamespace,
  ): Promise<string> {
    const rules = applicationRules(HOP_DEVICE, assigned.dns);
    this.#entered = namespace;
    await this.#lead(tunnel, namespace, { addresses: addressesOf(assigned), mtu, rules });
    return HOP_DEVICE;
  }

  /** Takes the telescope's device away, and what is left of ours in the host's network. */
  async close(): Promise<void> {
    const { namespace, xfrm } = this.#host;
    await closeAll(
      () => this.#entered && removeDevice(this.#entered),
      () => xfrm.close(),
      () => namespace.close(),
    );
  }

  #placeOf({ id }: Pick<Link, 'id'>): HopPlace {
    const place = this.#places.get(id);
    if (place === undefined) throw new LinkError(`there are no hops over the link ${id}`);
    return place;
  }

  /** Has the device of a tunnel lead out of `namespace`. */
  async #lead(tunnel: Tunnel, namespace: HopNamespace, settings: DeviceSettings): Promise<void> {
    const { place, key, remote } = this.#attached.get(tunnel.policy.id)!;
    await addDevice(place, key, remote, namespace, settings);
    // From now on nothing opens or starts anything in the host's network.
    if (place === this.#host) place.namespace.close();
  }

  async #leave(tunnel: Tunnel): Promise<void> {
    const { namespace, xfrm } = this.#places.get(tunnel.policy.id)!;
    this.#places.delete(tunnel.policy.id);
    await closeAll(
      () => xfrm.close(),
      () => removeDevice(namespace),
      () => namespace.close(),
    );
  }
}

/** At once: when the kernel takes its namespace away is its own affair, and a device stands in the way of another to that relay. */
async function removeDevice(namespace: HopNamespace): Promise<void> {
  await namespace.ip([`link delete ${HOP_DEVICE}`]).catch(() => {}); // it may be gone
}

/** A tunnel of the kernel's as a link: IKE from the address that the relay assigned, in a namespace behind the tunnel's device. */
class HopLink implements Link {
  readonly id: string;
  readonly mtu: number;
  readonly #assigned: Address;
  readonly #native: Native;
  readonly #open: () => Promise<{ readonly namespace: HopNamespace; close(): Promise<void> }>;

  constructor(
    id: string,
    assigned: Address,
    mtu: number,
    native: Native,
    open: () => Promise<{ readonly namespace: HopNamespace; close(): Promise<void> }>,
  ) {
    this.id = id;
    this.mtu = mtu;
    this.#assigned = assigned;
    this.#native = native;
    this.#open = open;
  }

  origin(address: Address): Origin {
    return hopOrigin(this.id, this.#assigned, address);
  }

  async attach(handlers: LinkHandlers): Promise<Attachment> {
    const { namespace, close } = await this.#open();
    const binding = { address: this.#assigned, port: HOP_IKE_PORT };
    try {
      const fd = this.#openIke(namespace);
      const socket = await openUdpSocket({ ...binding, fd }, (message, { address, port }) =>
        handlers.ike(new Uint8Array(message), hopOrigin(this.id, this.#assigned, address, port)),
      );
      return {
        sendIke: (message, to) => void socket.send(message, to.address, to.port).catch(() => {}),
        sendEsp: () => {},
        close: () => closeAll(() => socket.close(), close),
      };
    } catch (error) {
      await close().catch(() => {}); // what was first is what to say
      throw error;
    }
  }

  #openIke(namespace: HopNamespace): number {
    const fd = namespace.within(() => this.#native.openUdp(this.#assigned, HOP_IKE_PORT));
    try {
      this.#native.setConstantHeader(fd, familyOf(this.#assigned));
      return fd;
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }
}
