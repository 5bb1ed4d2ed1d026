import { answerAtServer } from './mtu.ts';
import { type Families, type RelayKind, type Relays, startRelays } from './relays.ts';
import { serveWeb } from './web.ts';
import { openWorld, type RelayName, type World } from './world.ts';

/** A world with relays of these kinds; scenarios that have it in common share it. */
export interface NetworkSpec {
  readonly kinds: Readonly<Record<RelayName, RelayKind>>;
  readonly families: Families;
  /** Relays have IPv4 addresses too, inside of tunnels, and pools of it. */
  readonly ip4Inside?: true;
  /** Of every link. */
  readonly mtu: number;
}

/** The relays are up, and D answers. */
export interface Network {
  readonly world: World;
  readonly relays: Relays;
  close(): Promise<void>;
}

/** @param root - a folder with strongSwan */
export async function openNetwork({ kinds, ...options }: NetworkSpec, root: string): Promise<Network> {
  const world = await openWorld(options.mtu);
  try {
    await serveWeb(world);
    await answerAtServer(world);
    const relays = await startRelays(world, kinds, { root, ...options });
    return { world, relays, close: () => world.close() };
  } catch (error) {
    await world.close();
    throw error;
  }
}
