import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { openUdpIn } from './udp.ts';
import { ADDRESSES, type World } from './world.ts';

/** What the process of a telescope is told. */
export type TelescopeOrder =
  | { readonly type: 'rekey'; readonly hop: number; readonly what: 'ike' | 'child' }
  | { readonly type: 'end' };

/** What it tells: it has the telescope; it has sent so many numbers, and these have not come back. */
export type TelescopeReport =
  | { readonly type: 'open' }
  | { readonly type: 'ended'; readonly sent: number; readonly lost: readonly number[] };

const SCRIPT = fileURLToPath(new URL('telescope-process.js', import.meta.url));
const PORT = 9;

/** A telescope of S through our library, which rekeys on demand, with a packet each 5 ms to D and back. */
export interface OurTelescope {
  rekey(hop: number, what: 'ike' | 'child'): void;
  /** Closes it. */
  end(): Promise<Extract<TelescopeReport, { type: 'ended' }>>;
}

/** @param path - the entries of a path file */
export async function openOurTelescope(
  world: World,
  path: readonly object[],
  backend: 'userspace' | 'xfrm',
): Promise<OurTelescope> {
  const { S, D } = world.nodes;
  const echo = openUdpIn(D.pid, ADDRESSES.D.ip4, PORT, (message, { address, port }) =>
    echo.send(message, address, port),
  );
  const file = join(world.directory, 'path.yaml');
  writeFileSync(file, stringify({ relays: path }));
  const child = S.spawn([process.execPath, SCRIPT, file, backend, ADDRESSES.D.ip4, String(PORT)], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const ended = once(child, 'exit').then(([status]): never => {
    throw new Error(`the telescope's process has ended with ${status}`);
  });
  ended.catch(() => {});
  const report = async <T extends TelescopeReport['type']>(type: T) => {
    const [message] = await Promise.race([once(child, 'message'), ended]);
    if (message.type !== type) throw new Error(`the telescope's process says ${message.type}, not ${type}`);
    return message as Extract<TelescopeReport, { type: T }>;
  };
  await report('open');
  const order = (message: TelescopeOrder) => void child.send(message);
  return {
    rekey: (hop, what) => order({ type: 'rekey', hop, what }),
    async end() {
      order({ type: 'end' });
      const end = await report('ended');
      echo.close();
      return end;
    },
  };
}
