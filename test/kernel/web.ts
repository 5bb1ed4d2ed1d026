import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { run } from '../../src/host/command.ts';
import type { Address } from '../../src/wire/address.ts';
import type { Application } from './application.ts';
import { expectEqual } from './checks.ts';
import { ADDRESSES, type World } from './world.ts';

/** What the fetching process prints. */
export interface Fetched {
  /** The SHA-256 of what has arrived is that of what was sent. */
  readonly down: { readonly octets: number; readonly isRight: boolean; readonly milliseconds: number };
  readonly up: { readonly octets: number; readonly isRight: boolean };
  /** Who has asked, as the server sees it. */
  readonly peer: Address;
}

const SCRIPT = fileURLToPath(new URL('web-process.js', import.meta.url));

/** Starts a web server at D; it ends with the world. */
export async function serveWeb(world: World): Promise<void> {
  const server = world.nodes.D.spawn([process.execPath, SCRIPT, 'serve'], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  await once(server, 'message');
}

/** Fetches and sends a file through a telescope. @throws CommandError, CheckError unless both arrive as they were */
export async function fetchThrough(
  { pid }: Application,
  octets: { readonly down: number; readonly up: number },
  server: Address = ADDRESSES.D.ip4,
): Promise<Fetched> {
  const command = [process.execPath, SCRIPT, 'fetch', server, octets.down, octets.up].map(String);
  const { stdout } = await run(['timeout', '60', ...command], { netns: pid });
  const fetched: Fetched = JSON.parse(stdout);
  expectEqual('the octets that came', fetched.down.octets, octets.down);
  expectEqual('the hash of what came being right', fetched.down.isRight, true);
  expectEqual('the octets that arrived', fetched.up.octets, octets.up);
  expectEqual('the hash of what arrived being right', fetched.up.isRight, true);
  return fetched;
}

/** @returns MB/s of one download */
export async function downloadRate(
  application: Application,
  megabytes: number,
  server: Address = ADDRESSES.D.ip4,
): Promise<number> {
  const { down } = await fetchThrough(application, { down: megabytes * 1e6, up: 1 }, server);
  return down.octets / down.milliseconds / 1e3;
}
