import type { Application } from '../application.ts';
import { Captures } from '../captures.ts';
import { checkUnderlay, expectEqual, headersOf } from '../checks.ts';
import { answerAtServer, checkMtu } from '../mtu.ts';
import { openOurClient } from '../our-client.ts';
import { type RelayKind, type Relays, startRelays, unsignedHop } from '../relays.ts';
import type { Scenario } from '../scenarios.ts';
import { openStockClient } from '../stock-client.ts';
import { downloadRate, fetchThrough, serveWeb } from '../web.ts';
import { ADDRESSES, EXIT_ADDRESSES, type NodeName, RELAYS, type RelayName, type World } from '../world.ts';

/** strongSwan's client, or ours with either backend. */
export type ClientKind = RelayKind;

/** A download takes so many megabytes. */
const DOWNLOADS = { stock: 6, userspace: 2, xfrm: 6 } as const;

/** What is not as in most telescopes. */
export interface Differences {
  /** Default: A, B and C. */
  readonly path?: readonly RelayName[];
  /** The address family of everything. Default: IPv4. */
  readonly family?: 'ip4' | 'ip6';
  /** Default: 1500. */
  readonly linkMtu?: number;
  /** The largest packet that goes through: what AES-GCM-16 in every layer leaves. Default: 1334, three layers over IPv4. */
  readonly mtu?: number;
}

/** Somebody's telescope from S to D, and all that is promised of it. */
export function telescopeScenario(
  title: string,
  client: ClientKind,
  kinds: Readonly<Record<RelayName, RelayKind>>,
  differences: Differences = {},
): Scenario {
  const { path = RELAYS, family = 'ip4', linkMtu = 1500, mtu = 1334 } = differences;
  return {
    title,
    linkMtu,
    async run(world, { root, say }) {
      await serveWeb(world);
      answerAtServer(world);
      const captures = new Captures(world);
      const relays = await startRelays(world, kinds, { root, families: [family], mtu: linkMtu });
      say('the relays are up');
      const telescope = await openClient(world, client, 'S', path, relays, root);
      say('the telescope is up');
      const [entry, exit] = [path[0], path[path.length - 1]];
      await expectFiles(telescope, relays, exit, family);
      await checkMtu(telescope, mtu, ADDRESSES.D[family]);
      const ours = [...(client === 'stock' ? [] : ['S' as const]), ...ourRelays(relays)];
      await checkUnderlay(world, captures, { clients: [{ name: 'S', entry }], ours });
      const headers = headersOf(entry, captures);
      captures.close();
      say('all is as it should be');
      const rate = await downloadRate(telescope, DOWNLOADS[client], ADDRESSES.D[family]);
      await telescope.close();
      const { fragments, private: leaks } = await world.offences();
      expectEqual('what the Internet has seen of fragments and private addresses', fragments + leaks, 0);
      return { 'download MB/s': rate, [`headers of ${entry}`]: headers.join('; ') };
    },
  };
}

export function ourRelays(relays: Relays): NodeName[] {
  return RELAYS.filter((name) => relays[name].kind !== 'stock');
}

export function openClient(
  world: World,
  kind: ClientKind,
  client: 'S' | 'T',
  path: readonly RelayName[],
  relays: Relays,
  root: string,
): Promise<Application> {
  if (kind === 'stock') return openStockClient(world, { root, client, path, relays });
  // Whoever writes a path knows of a router without our software what it tells him.
  const hops = path.map((name, index) =>
    relays[name].kind === 'stock' && index === 0 ? unsignedHop(relays[name]) : relays[name].pathEntry,
  );
  return openOurClient(world, { client, path: hops, backend: kind });
}

/** Moves a file each way; D sees the exit. */
export async function expectFiles(
  telescope: Application,
  relays: Relays,
  exit: RelayName,
  family: 'ip4' | 'ip6' = 'ip4',
): Promise<void> {
  const { peer } = await fetchThrough(telescope, { down: 500_000, up: 200_000 }, ADDRESSES.D[family]);
  const address = relays[exit].kind === 'userspace' ? EXIT_ADDRESSES[exit] : ADDRESSES[exit][family];
  expectEqual('the address that D sees', peer, address);
}
