import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { stringify } from 'yaml';
import type { ClientEvent } from '../../src/client/protocol.ts';
import type { Address, Family } from '../../src/wire/address.ts';
import { SLOWNESS } from '../guest/slowness.ts';
import { compiledSources } from '../support/compiled.ts';
import type { Application } from './application.ts';
import type { NodeName, World } from './world.ts';

/** Our program, in few files: where each takes long to open, that is most of its start. */
export const PROGRAM = [process.execPath, join(compiledSources(), 'cli/main.js')];

/** Seconds that a hop may take. */
const PATIENCE = 30 * SLOWNESS;

export interface OurClientOptions {
  /** Where it runs. */
  readonly client: NodeName;
  /** The entries of a path file. */
  readonly path: readonly object[];
  readonly backend: 'userspace' | 'xfrm';
  /** Of the address that the exit is to assign. */
  readonly family?: Family;
}

export interface OurClient extends Application {
  readonly hops: readonly {
    readonly relay: string;
    readonly source: Address;
    readonly mtu: number;
    readonly milliseconds: number;
  }[];
}

type Established = Extract<ClientEvent, { event: 'established' }> & { readonly pid: number };

/** Runs `ike-telescope extend`. @throws Error with what it said, if it does not get there */
export async function openOurClient(world: World, options: OurClientOptions): Promise<OurClient> {
  const { client, path } = options;
  const file = join(world.directory, `path-${client}.yaml`);
  writeFileSync(file, stringify({ relays: path }));
  const command = [
    ...PROGRAM,
    'extend',
    '--path',
    file,
    '--json',
    '--inner-mtu',
    'max',
    '--timeout',
    String(PATIENCE),
    ...(options.backend === 'userspace' ? [] : ['--backend', options.backend]),
    ...(options.family === undefined ? [] : ['--family', String(options.family)]),
  ];
  const child = world.nodes[client].spawn(command, { stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = once(child, 'close');
  const said: string[] = [];
  child.stderr!.setEncoding('utf8').on('data', (text: string) => said.push(text));
  const hops: OurClient['hops'][number][] = [];
  const established = new Promise<Established>((done) => {
    createInterface({ input: child.stdout! }).on('line', (line) => {
      said.push(`${line}\n`);
      const event: ClientEvent = JSON.parse(line);
      if (event.event === 'hop') hops.push(event);
      if (event.event === 'established') done(event as Established);
    });
  });
  const failed = ended.then(([status, signal]): never => {
    throw new Error(`our client ended with ${signal ?? status}: ${said.join('')}`);
  });
  failed.catch(() => {});
  const { pid, addresses, interface: device, mtu } = await Promise.race([established, failed]);
  return {
    hops,
    pid,
    addresses,
    device,
    mtu,
    async close() {
      child.kill('SIGTERM');
      await ended;
    },
  };
}
