import { loadNative } from '../native/load.ts';
import type { Telescope, TelescopeOptions } from '../telescope/telescope.ts';
import type { HostLink } from '../transport/host-link.ts';
import { openHostLink } from '../transport/open-host-link.ts';
import type { Address } from '../wire/address.ts';
import { HopNamespace } from './hop-namespace.ts';
import { KernelHops } from './kernel-hops.ts';
import { type BackendChoice, chooseBackend } from './kernel-support.ts';

/** What this host has for one telescope. */
export interface TelescopeHost {
  /** The host's network, for `openTelescope`. */
  readonly link: HostLink;
  /** For `openTelescope`. */
  readonly options: Pick<TelescopeOptions, 'backend' | 'encapsulated'>;
  /** Why it is user space that carries the telescope, although `auto` was asked for. */
  readonly fallback?: string;
  /**
   * A network namespace whose only way out is the telescope, which has to be open. Only of the kernel's: its packets do not come
   * through `Telescope.tunnel`. @throws CommandError, LinkError
   */
  enter?(telescope: Telescope): Promise<TelescopeNamespace>;
  /** After the telescope has been closed. */
  close(): Promise<void>;
}

/** A network namespace without a name, which lasts as long as this process at most. */
export interface TelescopeNamespace {
  /** For programs that this process starts, such as `nsenter --net=FILE`. */
  readonly file: string;
  /** Runs `action` (synchronous) in it: sockets that it opens (not those of node:dgram and node:net) and processes that it starts stay there. */
  within<T>(action: () => T): T;
  /** No more `within`; what runs in the namespace keeps it, and stays. */
  close(): void;
}

/**
 * Opens the host's network towards the entry of a path, for one telescope, which user space or the kernel is to carry.
 * @throws LinkError without a route; CommandError, NativeError, XfrmError, LinkError that says why the kernel cannot
 */
export async function openHost(entry: Address, backend: BackendChoice = 'userspace'): Promise<TelescopeHost> {
  const { kernel, fallback } = await chooseBackend(backend, entry);
  const loaded = loadNative();
  if (!kernel || 'unavailable' in loaded) {
    const link = await openHostLink(entry);
    return {
      link,
      options: { encapsulated: link.encapsulatedOnly },
      ...(fallback !== undefined && { fallback }),
      close: async () => {},
    };
  }
  const { native } = loaded;
  const link = await openHostLink(entry, { kernelEsp: true });
  const hops = await KernelHops.open(native, HopNamespace.ofThisProcess(native), link.id);
  return {
    link,
    options: { backend: hops },
    async enter({ tunnel, assigned, innerMtu }) {
      const namespace = new HopNamespace(native, native.newNetworkNamespace());
      try {
        await hops.enter(tunnel, assigned, innerMtu, namespace);
        return namespace;
      } catch (error) {
        namespace.close();
        throw error;
      }
    },
    close: () => hops.close(),
  };
}
