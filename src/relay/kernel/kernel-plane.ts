import createDebug from 'debug';
import { xfrmBackend } from '../../backend/xfrm/backend.ts';
import type { XfrmDirection } from '../../backend/xfrm/model.ts';
import { openXfrm, type Xfrm } from '../../backend/xfrm/xfrm.ts';
import { ExitError, requireForwarding } from '../../forward/exit.ts';
import { ip, ipBatch, tcBatch } from '../../host/ip.ts';
import type { Clock, Millis } from '../../link/clock.ts';
import { LinkError, type Origin } from '../../link/link.ts';
import type { AssignedAddresses, BackendFactory, Tunnel, TunnelPolicy } from '../../link/sa-store.ts';
import type { Native } from '../../native/native.ts';
import { hostPrefix, type Prefix } from '../../wire/address.ts';
import { anySelector, prefixSelector } from '../../wire/traffic-selector.ts';
import type { RelayConfig } from '../config.ts';
import type { DataPlane, Drops } from '../data-plane.ts';
import { present } from '../families.ts';
import { hostLinks } from '../host.ts';
import { overlaySelectors, sameSelectors } from '../overlay-selectors.ts';
import { addDrops, type Traffic, TunnelSums } from '../tunnel-sums.ts';
import { dressingCommands } from './dressing.ts';
import { firewallRules } from './firewall.ts';
import { KernelLink } from './kernel-link.ts';
import {
  clientRouteCommands,
  deviceCommands,
  devicesOf,
  type Layout,
  layoutOf,
  ofFamily,
  routeCommands,
  type VtiDevice,
} from './layout.ts';
import { installRules, type PacketFilter } from './packet-filter.ts';
import { relayRemains, removeFilters, removeRoutes } from './remains.ts';

const log = createDebug('ike-telescope:relay');

/** Between two looks at what the packet filter has dropped. */
const LOOK_INTERVAL: Millis = 10_000;

/**
 * A relay whose packets are the kernel's: ESP, forwarding, packet filter and address translation. Every packet of a client or an
 * overlay goes through a VTI device, which takes it to an SA or nowhere.
 * @throws LinkError, ExitError, XfrmError, NativeError, CommandError saying what to do; nothing is left then
 */
export async function openKernelPlane(
  config: RelayConfig,
  clock: Clock,
  native: Native | undefined,
): Promise<DataPlane> {
  requireKernel(config);
  if (native === undefined)
    throw new LinkError('backend: xfrm needs the package koffi: install it, or use backend: userspace');
  const links = await hostLinks(config, native, true);
  const xfrm = await openXfrm({ native, remains: relayRemains });
  const layout = layoutOf(config, xfrm, (family) => ofFamily(links, family)!.mtu);
  try {
    await ipBatch(deviceCommands(layout));
    await tcBatch(dressingCommands(layout));
    const filter = await installRules(layout.prefix, firewallRules(layout, config.exit));
    await guard(xfrm, layout);
    await ipBatch(devicesOf(layout).map(({ name }) => `link set ${name} up`));
    for (const family of [4, 6] as const) {
      const commands = routeCommands(layout, family);
      if (commands.length > 0) await ipBatch(commands, { family });
    }
    return new KernelPlane(config, clock, xfrm, layout, filter, new KernelLink(links, config));
  } catch (error) {
    await remove(xfrm, layout);
    throw error;
  }
}

/** @throws LinkError, ExitError */
function requireKernel({ own, exit, ikePort, encapsulatedPort }: RelayConfig): void {
  for (const { family } of present(own.pools)) {
    requireForwarding(family, (action) => action(), 'a relay with backend: xfrm', 'use backend: userspace');
  }
  if (ikePort !== 500 || encapsulatedPort !== 4500) {
    throw new LinkError(
      'backend: xfrm needs ikePort: 500 and encapsulatedPort: 4500, which are those inside telescopes: leave both keys out',
    );
  }
  if (exit !== undefined && exit.kind !== 'kernel') {
    throw new ExitError(
      `an exit of kind ${exit.kind} is user space's: with backend: xfrm write kind: kernel (with the same address, if any)`,
    );
  }
}

/**
 * The kernel lets an address of a pool in as what a device has opened, and not otherwise: neither from outside nor as another relay's
 * client. Nor does it let a client of ours reach the host, or a client of a peer reach anything but it.
 */
async function guard(xfrm: Xfrm, { clients, overlays, own }: Layout): Promise<void> {
  const blocked = (pool: Prefix, direction: XfrmDirection, devices: readonly VtiDevice[]) => ({
    directions: [direction],
    source: [prefixSelector(pool)],
    destination: [anySelector(pool.family)],
    except: devices.map(({ opened }) => opened),
  });
  await xfrm.block([
    ...own.flatMap(({ pool }) =>
      pool === undefined ? [] : [blocked(pool, 'in', []), blocked(pool, 'fwd', clients)],
    ),
    ...overlays.flatMap((overlay) =>
      overlay.inner.flatMap(({ pool }) =>
        pool === undefined ? [] : [blocked(pool, 'in', [overlay]), blocked(pool, 'fwd', [])],
      ),
    ),
  ]);
}

/**
 * Takes everything away, also where a part of it is gone. Devices first: without them nothing is forwarded.
 * @param filter - that has our rules; absent: it may be any
 */
async function remove(xfrm: Xfrm, layout: Layout, filter?: PacketFilter): Promise<void> {
  const steps = [
    () => removeDevices(layout),
    () => removeRoutes((table) => table === layout.table),
    () => (filter === undefined ? removeFilters(layout.prefix) : filter.remove(layout.prefix)),
    () => xfrm.close(),
  ];
  const failures: unknown[] = [];
  for (const step of steps) await step().catch((error) => failures.push(error));
  if (failures.length > 0) throw failures[0];
}

async function removeDevices(layout: Layout): Promise<void> {
  const { stdout } = await ip(['-json', 'link', 'show']);
  const there = new Set((JSON.parse(stdout) as { readonly ifname: string }[]).map(({ ifname }) => ifname));
  const devices = devicesOf(layout).filter(({ name }) => there.has(name));
  await ipBatch(devices.map(({ name }) => `link delete ${name}`));
}

class KernelPlane implements DataPlane {
  readonly link: KernelLink;
  readonly backend: BackendFactory;
  readonly exitProblem = undefined;
  readonly fixedKeys = ['peers', 'exit.policy'];
  readonly #config: RelayConfig;
  readonly #xfrm: Xfrm;
  readonly #layout: Layout;
  readonly #filter: PacketFilter;
  readonly #clock: Clock;
  readonly #tunnels = new TunnelSums();
  #filtered: Drops = {};
  #cancelLook: () => void = () => {};
  #isClosed = false;
  /** Changes of routes, one after the other. */
  #changes: Promise<void> = Promise.resolve();

  constructor(
    config: RelayConfig,
    clock: Clock,
    xfrm: Xfrm,
    layout: Layout,
    filter: PacketFilter,
    link: KernelLink,
  ) {
    this.#config = config;
    this.#clock = clock;
    this.#xfrm = xfrm;
    this.#layout = layout;
    this.#filter = filter;
    this.link = link;
    this.backend = xfrmBackend({
      xfrm,
      attach: (tunnel, path) => ({ mark: this.#deviceOf(tunnel, path).mark }),
    });
    this.#lookLater();
  }

  get drops(): Drops {
    const drops = { ...this.#filtered };
    addDrops(drops, this.#tunnels.drops);
    return drops;
  }

  get traffic(): Traffic {
    return this.#tunnels.traffic;
  }

  /** What the layout and the packet filter are made of stays. */
  adopt(): void {}

  addClient({ ip4, ip6 }: AssignedAddresses, tunnel: Tunnel, origin: Origin): () => void {
    const assigned = [ip4, ip6?.address].filter((address) => address !== undefined).map(hostPrefix);
    const removeTunnel = this.#tunnels.add(tunnel, 'clients');
    const change = (action: 'add' | 'del') => {
      const commands = clientRouteCommands(this.#layout, action, assigned, origin.address);
      if (commands.length > 0) this.#change(commands);
    };
    change('add');
    return () => {
      removeTunnel();
      change('del');
    };
  }

  addOverlay(_peer: string, tunnel: Tunnel): () => void {
    return this.#tunnels.add(tunnel, 'overlays');
  }

  /** Its device is there, up or down. */
  setOverlay(): void {}

  /** The kernel lets clients' packets out as long as there are clients. */
  async closeExit(): Promise<void> {}

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelLook();
    await this.#changes;
    await remove(this.#xfrm, this.#layout, this.#filter);
  }

  #deviceOf(tunnel: TunnelPolicy, { address, overlayPeer }: Origin): VtiDevice {
    const { own, peers } = this.#config;
    const { clients, overlays } = this.#layout;
    const overlay = overlays.find(({ peer, remote }) => {
      if (overlayPeer !== undefined || remote !== address) return false;
      const descriptor = peers.find(({ keyId }) => keyId === peer)!;
      return sameSelectors(tunnel.remote, overlaySelectors(own, descriptor).remote);
    });
    return overlay ?? clients.find(({ family }) => family === hostPrefix(address).family)!;
  }

  #change(commands: readonly string[]): void {
    this.#changes = this.#changes.then(() => ipBatch(commands)).catch((error) => log('%o', error));
  }

  #lookLater(): void {
    if (this.#isClosed) return;
    this.#cancelLook = this.#clock.at(this.#clock.now() + LOOK_INTERVAL, async () => {
      try {
        this.#filtered = await this.#filter.drops(this.#layout.prefix);
      } catch (error) {
        log('the packet filter cannot be looked at: %o', error);
      }
      this.#lookLater();
    });
  }
}
