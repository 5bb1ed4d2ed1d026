import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { inNamespace } from '../../src/host/command.ts';
import { dyingWithUs } from '../../src/host/namespace.ts';
import type { Address } from '../../src/wire/address.ts';
import { SLOWNESS } from '../guest/slowness.ts';
import type { Application } from './application.ts';
import { CheckError, expectEqual } from './checks.ts';
import { ADDRESSES, type World } from './world.ts';

/** What the fetching process is told: how much it is to fetch, and to send. */
export interface Octets {
  readonly down: number;
  readonly up: number;
}

/** What it tells. */
export interface Fetched {
  /** The SHA-256 of what has arrived is that of what was sent. */
  readonly down: { readonly octets: number; readonly isRight: boolean; readonly milliseconds: number };
  readonly up: { readonly octets: number; readonly isRight: boolean };
  /** Who has asked, as the server sees it. */
  readonly peer: Address;
}

/** Milliseconds that a fetch may take. */
const PATIENCE = 60_000 * SLOWNESS;

const SCRIPT = fileURLToPath(new URL('web-process.js', import.meta.url));

/** Starts a web server at D; it ends with the world. */
export async function serveWeb(world: World): Promise<void> {
  const server = world.nodes.D.spawn([process.execPath, SCRIPT, 'serve'], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  await once(server, 'message');
}

/** A program behind a telescope. */
export interface Browser {
  /** Fetches and sends so many octets. @throws CheckError unless both arrive as they were, and in a minute */
  fetch(octets: Octets): Promise<Fetched>;
  /** @returns MB/s of one download */
  rate(megabytes: number): Promise<number>;
  close(): void;
}

/** It also ends with this process. */
export function openBrowser({ pid }: Application, server: Address = ADDRESSES.D.ip4): Browser {
  const [program, ...args] = dyingWithUs(inNamespace([process.execPath, SCRIPT, 'fetch', server], pid));
  const child = spawn(program, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const ended = once(child, 'exit').then(([status, signal]): never => {
    throw new CheckError(`the program behind the telescope has ended with ${signal ?? status}`);
  });
  ended.catch(() => {});
  const fetch = async (octets: Octets) => {
    child.send(octets);
    const timer = setTimeout(() => child.kill(), PATIENCE);
    const [fetched] = (await Promise.race([once(child, 'message'), ended])) as [Fetched];
    clearTimeout(timer);
    expectEqual('the octets that came', fetched.down.octets, octets.down);
    expectEqual('the hash of what came being right', fetched.down.isRight, true);
    expectEqual('the octets that arrived', fetched.up.octets, octets.up);
    expectEqual('the hash of what arrived being right', fetched.up.isRight, true);
    return fetched;
  };
  return {
    fetch,
    async rate(megabytes) {
      const { down } = await fetch({ down: megabytes * 1e6, up: 1 });
      return down.octets / down.milliseconds / 1e3;
    },
    close: () => void child.kill(),
  };
}
