import type { Family } from '../../../src/wire/address.ts';
import type { Application } from '../application.ts';
import { Captures } from '../captures.ts';
import { checkOnlyIp6, checkUnderlay, expectEqual, headersOf } from '../checks.ts';
import { checkFlags, checkMarked, checkUntagged, hopPlaces } from '../marks.ts';
import { checkMtu, checkTooLong } from '../mtu.ts';
import type { NetworkSpec } from '../network.ts';
import { openOurClient } from '../our-client.ts';
import { type RelayKind, type Relays, type RunningRelay, unsignedHop } from '../relays.ts';
import type { Scenario, Stage } from '../scenarios.ts';
import { openStockClient } from '../stock-client.ts';
import { type Browser, openBrowser } from '../web.ts';
import { ADDRESSES, type NodeName, RELAYS, type RelayName } from '../world.ts';

/** strongSwan's client, or ours with either backend. */
export type ClientKind = RelayKind;

/** A download takes so many megabytes. */
const DOWNLOADS = { stock: 6, userspace: 2, xfrm: 6 } as const;

/** What is not as in most telescopes. */
export interface Differences {
  /** Default: A, B and C. */
  readonly path?: readonly RelayName[];
  /** The largest packet that goes through: what AES-GCM-16 in every layer leaves. Default: 1334, three layers over IPv4. */
  readonly mtu?: number;
}

/** Somebody's telescope from S to D, and all that is promised of it. */
export function telescope(
  title: string,
  network: NetworkSpec,
  kind: ClientKind,
  { path = RELAYS, mtu = 1334 }: Differences = {},
): Scenario {
  const [family] = network.families;
  const server = ADDRESSES.D[family];
  return {
    title,
    network,
    async run(stage) {
      const { world, relays, say } = stage;
      const captures = new Captures(world);
      const client = await openClient(stage, kind, 'S', path, network.ip4Inside && 6);
      say('the telescope is up');
      const [entry, exit] = [path[0], path[path.length - 1]];
      const browser = openBrowser(client, server);
      await expectFiles(browser, relays[exit], family);
      if (relays[exit].kind === 'xfrm') await checkTooLong(client, world, ADDRESSES[exit].ip4, mtu);
      await checkMtu(client, mtu, server);
      if (kind !== 'stock') await checkMarked(client, server);
      const ours = [...(kind === 'stock' ? [] : ['S' as const]), ...ourRelays(relays)];
      await checkUnderlay(world, captures, { clients: [{ name: 'S', entry }], ours });
      if (family === 'ip6') checkOnlyIp6(captures);
      const headers = (['S', entry] as const).map(
        (name) => [`headers of ${name}`, headersOf(name, captures).join('; ')] as const,
      );
      captures.close();
      if (kind === 'xfrm') {
        const places = hopPlaces(world.nodes.S, client);
        await checkFlags(places);
        if (path.every((name) => relays[name].kind === 'stock') && family === 'ip4')
          await checkUntagged(client, places, world.nodes[exit], server);
      }
      await checkFlags(
        RELAYS.filter((name) => relays[name].kind === 'xfrm').map((name) => world.nodes[name]),
      );
      say('all is as it should be');
      const rate = await browser.rate(DOWNLOADS[kind]);
      browser.close();
      await client.close();
      const { fragments, private: leaks } = await world.offences();
      expectEqual('what the Internet has seen of fragments and private addresses', fragments + leaks, 0);
      return { 'download MB/s': Math.round(rate * 1000) / 1000, ...Object.fromEntries(headers) };
    },
  };
}

export function ourRelays(relays: Relays): NodeName[] {
  return RELAYS.filter((name) => relays[name].kind !== 'stock');
}

export function openClient(
  { world, relays, root }: Stage,
  kind: ClientKind,
  client: 'S' | 'T',
  path: readonly RelayName[],
  family?: Family,
): Promise<Application> {
  if (kind === 'stock') return openStockClient(world, { root, client, path, relays });
  // Whoever writes a path knows of a router without our software what it tells him.
  const hops = path.map((name, index) =>
    relays[name].kind === 'stock' && index === 0 ? unsignedHop(relays[name]) : relays[name].pathEntry,
  );
  return openOurClient(world, { client, path: hops, backend: kind, family });
}

/** Moves a file each way; D sees the exit. */
export async function expectFiles(
  browser: Browser,
  { kind, config }: RunningRelay,
  family: 'ip4' | 'ip6' = 'ip4',
): Promise<void> {
  const { peer } = await browser.fetch({ down: 500_000, up: 200_000 });
  const own = kind === 'userspace' ? config.exit?.addresses : config.own.addresses;
  expectEqual('the address that D sees', peer, String(own?.[family]));
}
