import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../../src/host/command.ts';
import type { NetworkNamespace } from '../../src/host/namespace.ts';
import type { Address } from '../../src/wire/address.ts';
import { native, within } from '../support/namespaces.ts';
import type { Application } from './application.ts';
import { CheckError, expectEqual } from './checks.ts';
import { exchange, TRAFFIC_CLASS } from './mtu.ts';

/** Congestion experienced: how somebody on the way marks packets (RFC 3168 5). */
const CE = 3;

/** How `ip` shows the tag of what is ours. */
const OURS = /\breqid \d+\(0xa7/;

/** A file of a network namespace. */
type Place = Pick<NetworkNamespace, 'file'>;

/** Packets pass both ways whose headers say all that an outer header must not: DSCP, ECN, no DF. @throws CheckError */
export async function checkMarked(application: Application, server: Address): Promise<void> {
  if (!(await exchange(application, server, 'never')))
    throw new CheckError('a packet without DF does not get to D and back');
}

/** All SAs of ours copy neither ECN, in either direction, nor DSCP, whatever else sees to headers. @throws CheckError */
export async function checkFlags(places: readonly Place[]): Promise<void> {
  for (const place of places) {
    // Whoever was there before may have left others.
    const ours = (await statesIn(place)).filter((state) => OURS.test(state));
    if (ours.length === 0) throw new CheckError(`there are no SAs of ours in ${place.file}`);
    for (const state of ours) {
      for (const flag of ['flag noecn', 'extra_flag dont-encap-dscp'])
        if (!state.includes(flag))
          throw new CheckError(`an SA of ours lacks '${flag}': ${state.split('\n', 3).join()}`);
    }
  }
}

/**
 * A relay that marks the ESP of the hop after it marks nothing inside: else the application would see that, and its TCP would tell whoever
 * it talks to. @throws CheckError
 * @param places - of `hopPlaces`
 * @param exit - of a path of routers without our software: ours leave no marks
 */
export async function checkUntagged(
  client: Application,
  places: readonly Place[],
  exit: NetworkNamespace,
  server: Address,
): Promise<void> {
  const { source } = client.hops[client.hops.length - 1];
  const change = (what: '-A' | '-D') => {
    const rule = ['OUTPUT', '-p', 'esp', '-d', source, '-j', 'TOS', '--set-tos', String(CE)];
    return exit.exec(['iptables-legacy', '-t', 'mangle', what, ...rule]);
  };
  await change('-A');
  const outside = trafficClasses(await placeWith(source, places), client.device, source);
  const inside = trafficClasses({ file: `/proc/${client.pid}/ns/net` }, client.device, client.addresses[0]);
  if (!(await exchange(client, server, 'always')))
    throw new CheckError('a packet does not get to D and back');
  await change('-D');
  const [marked, seen] = [outside.close(), inside.close()];
  expectEqual('the traffic class of ESP that the exit has marked', marked.join(), String(CE));
  expectEqual('the traffic class of what was in it', seen.join(), String(TRAFFIC_CLASS));
}

/** Collects those of packets to an address that come out of a device, until it is closed: each once. */
function trafficClasses(place: Place, device: string, address: Address): { close(): number[] } {
  const seen = new Set<number>();
  const own = address.split('.').join();
  const capture = within(place, () => native().openCapture(device));
  capture.start(({ bytes }) => {
    if (bytes.subarray(16, 20).join() === own) seen.add(bytes[1]);
  });
  return {
    close() {
      capture.close();
      return [...seen];
    },
  };
}

/**
 * Where the SAs of our client's hops are if the kernel has them: in its host's namespace, and in those between hops, which are descriptors of
 * the init in the application's.
 */
export function hopPlaces(host: NetworkNamespace, { pid, hops }: Application): readonly Place[] {
  const [init] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').split(' ');
  const own = readlinkSync(`/proc/${pid}/ns/net`);
  const directory = `/proc/${init}/fd`;
  const between = new Map<string, Place>();
  for (const fd of readdirSync(directory)) {
    const link = readlinkSync(join(directory, fd));
    if (link.startsWith('net:') && link !== own) between.set(link, { file: join(directory, fd) });
  }
  const places = [host, ...between.values()];
  expectEqual('the number of network namespaces with SAs', places.length, hops.length);
  return places;
}

async function placeWith(address: Address, places: readonly Place[]): Promise<Place> {
  for (const place of places)
    if ((await statesIn(place)).some((state) => state.includes(`dst ${address}\n`))) return place;
  throw new CheckError(`there is no SA whose packets come to ${address}`);
}

/** What `ip` says of each. */
async function statesIn({ file }: Place): Promise<readonly string[]> {
  const { stdout } = await run(['nsenter', `--net=${file}`, 'ip', '-s', 'xfrm', 'state']);
  return stdout.split(/^(?=src )/m);
}
