import { ip } from '../../../src/host/ip.ts';
import type { Address } from '../../../src/wire/address.ts';
import { SLOWNESS } from '../../guest/slowness.ts';
import { pause } from '../../interop/transfer.ts';
import type { Application } from '../application.ts';
import { Captures } from '../captures.ts';
import { CheckError, expectEqual } from '../checks.ts';
import type { NetworkSpec } from '../network.ts';
import type { Scenario, Stage } from '../scenarios.ts';
import { openUdpIn } from '../udp.ts';
import { ADDRESSES, type NodeName, RELAYS, type World } from '../world.ts';
import { type ClientKind, openClient } from './telescope.ts';

/** Milliseconds between packets, and until something has happened that is certain to. */
const INTERVAL = 10;
const PATIENCE = 60_000 * SLOWNESS;
/** So many have to be there for a stream to be one, and so few for it to have ended. */
const MANY = 20;
const FEW = 3;

/** Where SAs are deleted, and whose: all with an end at `peer`. */
interface Killing {
  readonly title: string;
  readonly at: NodeName;
  peer(client: Application): Address;
}

const KILLINGS: readonly Killing[] = [
  ...RELAYS.map(
    (at, index): Killing => ({
      title: `hop ${index + 1} at ${at}`,
      at,
      peer: ({ hops }) => hops[index].source,
    }),
  ),
  { title: 'hop 1 at S', at: 'S', peer: () => ADDRESSES.A.ip4 },
];

/** While packets go both ways, the SAs of a hop are deleted behind IKE's back: none goes on in any other way. */
export function killedHops(title: string, network: NetworkSpec, kind: ClientKind): Scenario {
  return {
    title,
    network,
    async run(stage) {
      for (const killing of KILLINGS) {
        const client = await openClient(stage, kind, 'S', RELAYS);
        await kill(stage, client, killing);
        stage.say(`${killing.title} was killed`);
        await client.close();
      }
      return {};
    },
  };
}

/** @throws CheckError */
async function kill({ world }: Stage, client: Application, { title, at, peer }: Killing): Promise<void> {
  const streams = openStreams(world, client);
  try {
    await streams.until(
      ({ up, down }) => Math.min(up, down) >= MANY,
      `packets get through before ${title} is killed`,
    );
    for (const end of ['src', 'dst'])
      await ip(['xfrm', 'state', 'deleteall', end, peer(client)], { netns: world.nodes[at].pid });
    await pause(100);
    const captures = new Captures(world);
    const before = streams.count();
    await streams.until(({ sent }) => sent - before.sent >= MANY, 'packets are sent');
    await pause(500);
    const after = streams.count();
    const packets = captures.packets('S').filter(({ kind }) => kind !== 'esp' && kind !== 'ike');
    const answers = captures.packets('D').filter(({ source }) => source === ADDRESSES.D.ip4).length;
    captures.close();
    if (answers < MANY) throw new CheckError(`D has sent ${answers} packets only`);
    const through = { up: after.up - before.up, down: after.down - before.down };
    if (Math.max(through.up, through.down) > FEW)
      throw new CheckError(`packets get through after ${title} was killed: ${JSON.stringify(through)}`);
    if (packets.length > 0) {
      const [{ source, destination, kind, header, ports }] = packets;
      throw new CheckError(
        `${packets.length} packets in clear on the link of S: ${source} to ${destination}, ${kind} ${ports ?? ''}, ${header}`,
      );
    }
    expectEqual('the packets with private addresses on the Internet', (await world.offences()).private, 0);
  } finally {
    streams.close();
  }
}

/** The application sends to D, and D to where the first of it came from. */
function openStreams(world: World, client: Application) {
  const count = { sent: 0, up: 0, down: 0 };
  let back: { readonly address: Address; readonly port: number } | undefined;
  const server = openUdpIn(world.nodes.D.pid, ADDRESSES.D.ip4, 9, (_, source) => {
    count.up++;
    back = source;
  });
  const program = openUdpIn(client.pid, client.addresses[0], 4000, () => {
    count.down++;
  });
  const message = new Uint8Array(100);
  const timer = setInterval(() => {
    program.send(message, ADDRESSES.D.ip4, 9);
    if (back !== undefined) server.send(message, back.address, back.port);
    count.sent++;
  }, INTERVAL);
  return {
    count: () => ({ ...count }),
    /** @throws CheckError if that takes long */
    async until(isReached: (seen: typeof count) => boolean, what: string) {
      for (const end = performance.now() + PATIENCE; !isReached(count); await pause(INTERVAL))
        if (performance.now() > end) throw new CheckError(`no ${what}: ${JSON.stringify(count)}`);
    },
    close() {
      clearInterval(timer);
      program.close();
      server.close();
    },
  };
}
