import createDebug from 'debug';
import { xfrmBackend } from '../../backend/xfrm/backend.ts';
import type { Enter } from '../../backend/xfrm/channel.ts';
import type { XfrmDirection } from '../../backend/xfrm/model.ts';
import { blockOf, openXfrm, type Xfrm } from '../../backend/xfrm/xfrm.ts';
import { forgetConnections } from '../../firewall/connections.ts';
import { installRules, type PacketFilter } from '../../firewall/packet-filter.ts';
import { relayRemains, removeRemains } from '../../firewall/remains.ts';
import { ExitError, requireForwarding } from '../../forward/exit.ts';
import { kernelFamilies } from '../../host/families.ts';
import { ip, ipBatch, tcBatch } from '../../host/ip.ts';
import type { Clock, Millis } from '../../link/clock.ts';
import { LinkError, type Origin } from '../../link/link.ts';
import type { AssignedAddresses, BackendFactory, Tunnel } from '../../link/sa-store.ts';
import type { Native } from '../../native/native.ts';
import { hostPrefix, type Prefix } from '../../wire/address.ts';
import { anySelector, prefixSelector } from '../../wire/traffic-selector.ts';
import type { RelayConfig } from '../config.ts';
import type { DataPlane, Drops } from '../data-plane.ts';
import { present } from '../families.ts';
import { hostLinks } from '../host.ts';
import { addDrops, type Traffic, TunnelSums } from '../tunnel-sums.ts';
import { dressingCommands } from './dressing.ts';
import { firewallRules } from './firewall.ts';
import { KernelLink } from './kernel-link.ts';
import {
  clientRouteCommands,
  deviceCommands,
  deviceOf,
  devicesOf,
  type Layout,
  layoutOf,
  ofFamily,
  routeCommands,
  type VtiDevice,
} from './layout.ts';

/** This process's network namespace. */
const here: Enter = (action) => action();

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
  const xfrm = await openXfrm({ native, remains: relayRemains(native) });
  const families = kernelFamilies();
  const layout = layoutOf(config, xfrm, (family) => ofFamily(links, family)!.mtu, families);
  try {
    await requireNoOther(xfrm, layout);
    await ipBatch(deviceCommands(layout));
    await tcBatch(dressingCommands(layout));
    const rules = firewallRules(layout, config.exit);
    const filter = await installRules({ name: layout.prefix, devices: `${layout.prefix}-`, rules });
    if (config.exit !== undefined) forgetConnections(native, present(config.own.pools), here);
    await guard(xfrm, layout);
    await ipBatch(devicesOf(layout).map(({ name }) => `link set ${name} up`));
    for (const family of families) {
      const commands = routeCommands(layout, family);
      if (commands.length > 0) await ipBatch(commands, { family });
    }
    return new KernelPlane({
      config,
      clock,
      native,
      xfrm,
      layout,
      filter,
      link: new KernelLink(links, config),
    });
  } catch (error) {
    await remove(native, xfrm, layout);
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
 * A device takes all ESP between its addresses, that of the host's other tunnels as well.
 * @throws LinkError if there are any
 */
async function requireNoOther(xfrm: Xfrm, layout: Layout): Promise<void> {
  const own = devicesOf(layout).map(({ local }) => local);
  const other = (await xfrm.channel.states()).find(
    ({ destination, reqid }) => own.includes(destination) && blockOf(reqid) === undefined,
  );
  if (other === undefined) return;
  throw new LinkError(
    `another program has an IPsec tunnel from ${other.source} to ${other.destination}, the relay's own address, and with ` +
      'backend: xfrm the relay would take its packets: end that tunnel, give the relay an address of its own, or use backend: userspace',
  );
}

/**
 * Takes everything away, also where a part of it is gone. Devices first: without them nothing is forwarded. The packet filter last, when
 * there is nothing left that it guards.
 */
async function remove(native: Native, xfrm: Xfrm, layout: Layout): Promise<void> {
  const failures: unknown[] = [];
  const fail = (error: unknown) => void failures.push(error);
  await removeDevices(layout).catch(fail);
  await xfrm.close(() => removeRemains(native, blockOf(layout.table)!, here)).catch(fail);
  if (failures.length > 0) throw failures[0];
}

async function removeDevices(layout: Layout): Promise<void> {
  const { stdout } = await ip(['-json', 'link', 'show']);
  const there = new Set((JSON.parse(stdout) as { readonly ifname: string }[]).map(({ ifname }) => ifname));
  const devices = devicesOf(layout).filter(({ name }) => there.has(name));
  await ipBatch(devices.map(({ name }) => `link delete ${name}`));
}

interface Parts {
  readonly config: RelayConfig;
  readonly clock: Clock;
  readonly native: Native;
  readonly xfrm: Xfrm;
  readonly layout: Layout;
  readonly filter: PacketFilter;
  readonly link: KernelLink;
}

class KernelPlane implements DataPlane {
  readonly link: KernelLink;
  readonly backend: BackendFactory;
  readonly exitProblem = undefined;
  readonly fixedKeys = ['peers', 'exit.policy'];
  readonly #parts: Parts;
  readonly #tunnels = new TunnelSums();
  #filtered: Drops = {};
  #cancelLook: () => void = () => {};
  #isClosed = false;
  /** Changes of routes, one after the other. */
  #changes: Promise<void> = Promise.resolve();
  /** Addresses of clients that are gone, and whose connections the kernel still knows. */
  #departed: Prefix[] = [];

  constructor(parts: Parts) {
    const { config, layout, xfrm } = parts;
    this.#parts = parts;
    this.link = parts.link;
    this.backend = xfrmBackend({
      xfrm,
      attach: (tunnel, path) => ({ mark: deviceOf(config, layout, tunnel, path).mark }),
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
    this.#forgetDeparted();
    const removeTunnel = this.#tunnels.add(tunnel, 'clients');
    const change = (action: 'add' | 'del') => {
      const commands = clientRouteCommands(this.#parts.layout, action, assigned, origin.address);
      if (commands.length > 0) this.#change(commands);
    };
    change('add');
    return () => {
      removeTunnel();
      change('del');
      // Those that go at once are looked for at once.
      if (this.#departed.length === 0) setImmediate(() => this.#forgetDeparted());
      this.#departed.push(...assigned);
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
    const { native, xfrm, layout } = this.#parts;
    await remove(native, xfrm, layout);
  }

  /** What is still to be answered to a client that is gone is not for who gets its address next. */
  #forgetDeparted(): void {
    const departed = this.#departed.splice(0);
    if (this.#parts.config.exit === undefined || this.#isClosed) return;
    try {
      forgetConnections(this.#parts.native, departed, here);
    } catch (error) {
      log('%o', error);
    }
  }

  #change(commands: readonly string[]): void {
    this.#changes = this.#changes.then(() => ipBatch(commands)).catch((error) => log('%o', error));
  }

  #lookLater(): void {
    if (this.#isClosed) return;
    const { clock, filter, layout } = this.#parts;
    this.#cancelLook = clock.at(clock.now() + LOOK_INTERVAL, async () => {
      try {
        this.#filtered = await filter.drops(layout.prefix);
      } catch (error) {
        log('the packet filter cannot be looked at: %o', error);
      }
      this.#lookLater();
    });
  }
}
