import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import createDebug from 'debug';
import { openXfrm } from '../backend/xfrm/xfrm.ts';
import { relayRemains } from '../firewall/remains.ts';
import { CommandError, requirePrograms } from '../host/command.ts';
import { LinkError, type Origin } from '../link/link.ts';
import { loadNative } from '../native/load.ts';
import { type Native, NativeError } from '../native/native.ts';
import { type Address, familyOf } from '../wire/address.ts';
import { anySelector } from '../wire/traffic-selector.ts';
import { type HopPlace, tryDevice } from './hop-device.ts';
import { HopNamespace } from './hop-namespace.ts';
import { KernelHops } from './kernel-hops.ts';

const log = createDebug('ike-telescope:client');

/** Milliseconds until the kernel has closed every descriptor of a process that was killed. */
const LAST_BREATH = 100;

/** How often, so far apart, a device is tried that another telescope seems to have. */
const ATTEMPTS = 10;

/** What carries the hops. `auto`: the kernel if it can, else user space. */
export type BackendChoice = 'userspace' | 'xfrm' | 'auto';

/**
 * Whether the kernel is to carry a telescope through this entry.
 * @returns `fallback`: why it cannot, although it would rather
 * @throws CommandError, NativeError, XfrmError, LinkError: why the kernel cannot, if it has to
 */
export async function chooseBackend(
  choice: BackendChoice,
  entry: Address,
): Promise<{ readonly kernel: boolean; readonly fallback?: string }> {
  if (choice === 'userspace') return { kernel: false };
  try {
    await requireKernelHops(entry);
    return { kernel: true };
  } catch (error) {
    if (choice === 'xfrm') throw error;
    return { kernel: false, fallback: (error as Error).message };
  }
}

/**
 * Makes sure that the kernel can carry a telescope through this entry, by a rehearsal in namespaces of its own.
 * @throws CommandError, NativeError, XfrmError, LinkError that says what is missing
 */
async function requireKernelHops(entry: Address): Promise<void> {
  if (process.geteuid?.() !== 0) throw new CommandError("the kernel's IPsec needs root");
  requirePrograms(['ip', 'tc', 'nsenter']);
  const native = requireNative();
  await rehearse(native, entry);
  await requireFreeEntry(native, entry);
}

/** Removes what a client that was killed has left in the host's network; the next one would do so too. */
export async function removeLeftovers(): Promise<void> {
  await delay(LAST_BREATH);
  try {
    const native = requireNative();
    const xfrm = await openXfrm({ native, remains: relayRemains(native) });
    await xfrm.close();
  } catch (error) {
    log('what is left in the kernel stays until the next start: %O', error);
  }
}

function requireNative(): Native {
  const loaded = loadNative();
  if ('native' in loaded) return loaded.native;
  throw new NativeError('ENOSYS', `the kernel's IPsec: ${loaded.unavailable}`);
}

/** A tunnel to nobody, with everything that one needs. */
async function rehearse(native: Native, entry: Address): Promise<void> {
  const inner = new HopNamespace(native, native.newNetworkNamespace());
  try {
    const outer = new HopNamespace(native, native.newNetworkNamespace());
    const hops = await KernelHops.open(native, outer, 'rehearsal');
    try {
      await buildTunnel(hops, entry, inner);
    } finally {
      await hops.close();
    }
  } finally {
    inner.close();
  }
}

async function buildTunnel(hops: KernelHops, entry: Address, inner: HopNamespace): Promise<void> {
  const path: Origin = {
    linkId: 'rehearsal',
    address: entry,
    port: 0,
    localAddress: entry,
    localPort: 0,
    encapsulated: false,
  };
  const selectors = [anySelector(familyOf(entry))];
  const tunnel = { id: 'rehearsal', local: selectors, remote: selectors };
  const backend = hops.over({ id: 'rehearsal' })(
    () => {},
    () => {},
    () => {},
  );
  const suite = { encryption: 20, keyLength: 128, integrity: 0, esn: true };
  const keys = { encryption: randomBytes(20), integrity: new Uint8Array() };
  try {
    const [result] = await backend.apply([{ kind: 'outbound', sa: { spi: 256, suite, keys, path, tunnel } }]);
    if (!result.ok) throw new LinkError(result.error);
    await hops.enter(backend.tunnel('rehearsal'), { ip4: '192.0.2.1', dns: [] }, 1280, inner);
  } finally {
    await backend.close();
  }
}

/** Two telescopes from one host through one entry would need the same device. One that was closed just now may still have it. */
async function requireFreeEntry(native: Native, entry: Address): Promise<void> {
  const xfrm = await openXfrm({ native, remains: relayRemains(native) });
  try {
    const namespace = HopNamespace.ofThisProcess(native);
    try {
      await tryEntry({ namespace, xfrm }, entry);
    } finally {
      namespace.close();
    }
  } finally {
    await xfrm.close();
  }
}

async function tryEntry(place: HopPlace, entry: Address): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await tryDevice(place, entry);
    } catch (error) {
      if (!(error instanceof LinkError) || attempt === ATTEMPTS) throw error;
      await delay(LAST_BREATH);
    }
  }
}
