import { ip, ipBatch } from '../../../src/host/ip.ts';
import type { NetworkNamespace } from '../../../src/host/namespace.ts';
import { ownFirstMessage } from '../../interop/first-message.ts';
import { pause } from '../../interop/transfer.ts';
import { Captures } from '../captures.ts';
import { CheckError } from '../checks.ts';
import type { NetworkSpec } from '../network.ts';
import { openOurClient } from '../our-client.ts';
import type { Scenario } from '../scenarios.ts';
import { openUdpIn } from '../udp.ts';
import { ADDRESSES, type RelayName, type World } from '../world.ts';

const COUNT = 20;
/** Addresses of pools that nobody has. */
const FREE = { A: '10.171.99.99', B: '10.187.99.99', C: '10.205.99.99' } as const;

/**
 * Relays of ours whose kernels forward: addresses of pools come in through their tunnels only, and what has no SA stays. Each is shown
 * to depend on what the relay has put into its kernel: without that, packets get through, and the relays are of no use afterwards.
 */
export function relayGuards(network: NetworkSpec): Scenario {
  return {
    title: 'our relays, kernel backend, let nothing in or out but through tunnels',
    network,
    async run({ world, relays, say }) {
      const captures = new Captures(world);
      await ipBatch(
        Object.values(FREE).map((address) => `address add ${address}/32 dev lo`),
        { netns: world.router.pid },
      );
      for (const [relay, peer, first] of [
        ['B', 'A', withoutPolicies],
        ['C', 'B', withoutFilter],
      ] as const) {
        await expectSpoofed(world, captures, relay, peer, 'all that guards it', 0);
        await first(world.nodes[relay]);
        await expectSpoofed(world, captures, relay, peer, first.name, 0);
        await (first === withoutFilter ? withoutPolicies : withoutFilter)(world.nodes[relay]);
        await expectSpoofed(world, captures, relay, peer, 'nothing', COUNT);
      }
      say('nothing is let in');
      const client = await openOurClient(world, {
        client: 'S',
        path: [relays.A.pathEntry],
        backend: 'userspace',
      });
      const [own] = client.addresses;
      let port = 7_000;
      const inClear = async () => {
        // Others each time: what a connection's addresses are translated to is settled with its first packet.
        const towardsB = openUdpIn(client.pid, own, ++port, () => {});
        const ofRelay = openUdpIn(world.nodes.A.pid, ADDRESSES.A.ip4, port, () => {});
        for (const [from, to] of ['src', 'dst'].map((side) => [side, side === 'src' ? 'dst' : 'src']))
          await ip(['xfrm', 'state', 'deleteall', from, ADDRESSES.A.ip4, to, ADDRESSES.B.ip4], {
            netns: world.nodes.A.pid,
          });
        const before = captures.count();
        for (let i = 0; i < COUNT; i++) {
          towardsB.send(ownFirstMessage(), ADDRESSES.B.ip4, 500);
          for (const free of [FREE.A, FREE.B]) ofRelay.send(ownFirstMessage(), free, 7);
        }
        await pause(1_000);
        for (const socket of [towardsB, ofRelay]) socket.close();
        const seen = captures.count(before);
        return [seen('A', 'from', 'ike'), seen('A', 'from', 'other')] as const;
      };
      expectCounts('without SAs, A has sent in clear', await inClear(), [0, 0]);
      await withoutFilter(world.nodes.A);
      expectCounts('without SAs and packet filter, A has sent in clear', await inClear(), [0, 0]);
      const { stdout } = await ip(['rule', 'show', 'pref', '1670'], { netns: world.nodes.A.pid });
      const rules = stdout.trim().split('\n').length;
      await ipBatch(new Array(rules).fill('rule del pref 1670'), { netns: world.nodes.A.pid, family: 4 });
      expectCounts('without SAs, filter and routes, A has sent in clear', await inClear(), [
        COUNT,
        2 * COUNT,
      ]);
      say('nothing is let out');
      captures.close();
      await client.close();
      return {};
    },
  };
}

async function withoutPolicies(relay: NetworkNamespace): Promise<void> {
  await relay.exec(['ip', 'xfrm', 'policy', 'flush']);
}

async function withoutFilter(relay: NetworkNamespace): Promise<void> {
  await relay.exec(['iptables-legacy', '-t', 'filter', '-F']);
}

/** Whoever is next to a relay sends it packets from addresses of its own pool and of a peer's. */
async function expectSpoofed(
  world: World,
  captures: Captures,
  relay: RelayName,
  peer: RelayName,
  guard: string,
  expected: number,
): Promise<void> {
  const { router } = world;
  const way = `default via ${ADDRESSES[relay].ip4} dev to${relay} onlink table 77`;
  const from = [FREE[relay], FREE[peer]];
  const commands = (change: 'add' | 'del') => [
    `route ${change} ${way}`,
    ...from.map((address) => `rule ${change} from ${address} lookup 77`),
  ];
  await ipBatch(commands('add'), { netns: router.pid });
  const [ofRelay, ofPeer] = from.map((address) => openUdpIn(router.pid, address, 7_001, () => {}));
  const before = captures.count();
  const received = await datagramsReceived(world.nodes[relay]);
  for (let i = 0; i < COUNT; i++) {
    ofRelay.send(ownFirstMessage(), ADDRESSES.D.ip4, 7);
    ofPeer.send(ownFirstMessage(), ADDRESSES[relay].ip4, 500);
  }
  await pause(1_000);
  const got = [
    (await datagramsReceived(world.nodes[relay])) - received,
    captures.count(before)('D', 'to', 'other'),
  ] as const;
  for (const socket of [ofRelay, ofPeer]) socket.close();
  await ipBatch(commands('del'), { netns: router.pid });
  expectCounts(`with ${guard}, spoofed packets at ${relay} and beyond it are`, got, [expected, expected]);
}

/** UDP datagrams that sockets have been given. */
async function datagramsReceived(relay: NetworkNamespace): Promise<number> {
  const { stdout } = await relay.exec(['cat', '/proc/net/snmp']);
  return Number(/^Udp: (\d+)/m.exec(stdout)![1]);
}

/** Overlays say something now and then. @throws CheckError unless the counts are about right */
function expectCounts(what: string, seen: readonly number[], expected: readonly number[]): void {
  if (seen.every((count, i) => Math.abs(count - expected[i]) < COUNT / 2)) return;
  throw new CheckError(`${what} ${seen.join(' and ')}, not ${expected.join(' and ')}`);
}
