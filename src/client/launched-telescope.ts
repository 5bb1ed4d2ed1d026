import type { RelayDescriptor } from '../descriptor/descriptor.ts';
import type { SocksArrival } from '../socks/server.ts';
import type { Encapsulation } from './host-sockets.ts';
import { type LaunchedClient, launch } from './launcher.ts';
import { BuildError, type BuildTelescope } from './telescope-keeper.ts';

/** A hop that takes longer is to blame. */
const HOP_TIMEOUT = 15_000;

/** Builds telescopes with a process and namespaces of its own each, for the flows of SOCKS clients. */
export function launchedTelescopes(options: {
  readonly encapsulation?: Encapsulation;
  readonly innerMtu: number;
}): BuildTelescope<SocksArrival> {
  return async (path, signal) => {
    let established = () => {};
    const ready = new Promise<void>((resolve) => {
      established = resolve;
    });
    const client = await launchFor(path, options, established);
    const close = () => client.close();
    signal.addEventListener('abort', close, { once: true });
    if (signal.aborted) close();
    const failed = client.ended.then((outcome): never => {
      if (outcome.kind === 'failed') throw new BuildError(outcome.error.message, outcome.error.hop);
      throw new BuildError('the telescope took too long to be built', undefined);
    });
    await Promise.race([ready, failed]);
    failed.catch(() => {}); // from now on its end is the keeper's to see
    signal.removeEventListener('abort', close);
    return client;
  };
}

async function launchFor(
  path: readonly RelayDescriptor[],
  { encapsulation, innerMtu }: { readonly encapsulation?: Encapsulation; readonly innerMtu: number },
  established: () => void,
): Promise<LaunchedClient> {
  const launched = { path, backend: 'userspace', innerMtu, hopTimeout: HOP_TIMEOUT } as const;
  try {
    return await launch({ ...launched, ...(encapsulation && { encapsulation }) }, ({ event }) => {
      if (event === 'established') established();
    });
  } catch (error) {
    throw new BuildError((error as Error).message, undefined);
  }
}
