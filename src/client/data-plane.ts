import createDebug from 'debug';
import { loadNative } from '../native/load.ts';
import { type Native, NativeError, type TunDevice } from '../native/native.ts';
import { tunFromFd } from '../native/tun-from-fd.ts';
import type { TelescopeBackend } from '../telescope/backend.ts';
import type { Telescope } from '../telescope/telescope.ts';
import { closeAll } from './closing.ts';
import { HopNamespace } from './hop-namespace.ts';
import { KernelHops } from './kernel-hops.ts';
import { type ExtendOrder, Fd, TUN_NAME } from './protocol.ts';
import { addressesOf, configureTun } from './surroundings.ts';
import { pumpTun } from './tun-pump.ts';

const log = createDebug('ike-telescope:client');

/** How the packets of this network namespace get to a telescope's exit, and back. */
export interface DataPlane {
  /** Absent: user space. */
  readonly backend?: TelescopeBackend;
  /**
   * Makes a telescope the only way out of this namespace.
   * @param mtu - in octets
   * @returns the device's name
   */
  enter(telescope: Telescope, mtu: number): Promise<string>;
  /** After the telescope has been closed. */
  close(): Promise<void>;
}

/** @param hostLink - id of the link of the first hop @throws NativeError, CommandError, XfrmError */
export async function openDataPlane(order: ExtendOrder, hostLink: string): Promise<DataPlane> {
  return order.kernel ? openKernelPlane(hostLink) : openTunPlane(order.tunInherited);
}

/** A TUN device, and the telescope in this process. */
function openTunPlane(tunInherited: boolean): DataPlane {
  const tun: TunDevice = tunInherited ? tunFromFd(Fd.tun, TUN_NAME) : native().openTun(TUN_NAME);
  let dropped: object = {};
  return {
    async enter({ tunnel, assigned }, mtu) {
      await configureTun(tun.name, addressesOf(assigned), mtu);
      ({ dropped } = pumpTun(tun, tunnel, assigned));
      return tun.name;
    },
    async close() {
      tun.close();
      log('packets that were not let in: %o', dropped);
    },
  };
}

/** The kernel's tunnel, whose device is moved here. */
async function openKernelPlane(hostLink: string): Promise<DataPlane> {
  const backend = await KernelHops.open(native(), new HopNamespace(native(), Fd.hostNetwork), hostLink);
  const here = HopNamespace.ofThisProcess(native());
  return {
    backend,
    enter: ({ tunnel, assigned }, mtu) => backend.enter(tunnel, assigned, mtu, here),
    close: () =>
      closeAll(
        () => backend.close(),
        () => here.close(),
      ),
  };
}

/** @throws NativeError without it */
function native(): Native {
  const loaded = loadNative();
  if ('native' in loaded) return loaded.native;
  throw new NativeError('ENOSYS', loaded.unavailable);
}
