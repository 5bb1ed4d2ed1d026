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

/** What a packet of AES-GCM-16 in three layers over IPv4 on links of 1500 may have. */
const MTU = 1334;

/** A download takes so many megabytes. */
const DOWNLOADS = { stock: 6, userspace: 2, xfrm: 6 } as const;

/** Somebody's telescope from S through A, B and C to D, and all that is promised of it. */
export function telescopeScenario(
  title: string,
  client: ClientKind,
  kinds: Readonly<Record<RelayName, RelayKind>>,
): Scenario {
  return {
    title,
    async run(world, { root, say }) {
      await serveWeb(world);
      answerAtServer(world);
      const captures = new Captures(world);
      const relays = await startRelays(world, kinds, { root });
      say('the relays are up');
      const telescope = await openClient(world, client, 'S', RELAYS, relays, root);
      say('the telescope is up');
      await expectFiles(telescope, relays, 'C');
      await checkMtu(telescope, MTU);
      const ours = [...(client === 'stock' ? [] : ['S' as const]), ...ourRelays(relays)];
      await checkUnderlay(world, captures, { clients: [{ name: 'S', entry: 'A' }], ours });
      const headers = headersOf('A', captures);
      captures.close();
      say('all is as it should be');
      const rate = await downloadRate(telescope, DOWNLOADS[client]);
      await telescope.close();
      const { fragments, private: leaks } = await world.offences();
      expectEqual('what the Internet has seen of fragments and private addresses', fragments + leaks, 0);
      return { 'download MB/s': rate, 'headers of A': headers.join('; ') };
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
export async function expectFiles(telescope: Application, relays: Relays, exit: RelayName): Promise<void> {
  const { peer } = await fetchThrough(telescope, { down: 500_000, up: 200_000 });
  const address = relays[exit].kind === 'userspace' ? EXIT_ADDRESSES[exit] : ADDRESSES[exit].ip4;
  expectEqual('the address that D sees', peer, address);
}
