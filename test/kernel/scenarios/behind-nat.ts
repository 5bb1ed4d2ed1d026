import { run } from '../../../src/host/command.ts';
import { ipBatch } from '../../../src/host/ip.ts';
import { connectNamespaces, type NetworkNamespace, openNamespace } from '../../../src/host/namespace.ts';
import { Captures } from '../captures.ts';
import { CheckError, checkUnderlay } from '../checks.ts';
import { checkMtu } from '../mtu.ts';
import type { NetworkSpec } from '../network.ts';
import type { Scenario } from '../scenarios.ts';
import { openBrowser } from '../web.ts';
import { ADDRESSES, prepare, routesOf, type World } from '../world.ts';
import { type ClientKind, expectFiles, openClient, ourRelays } from './telescope.ts';

const HOME = { block: '192.168.77.0/24', router: '192.168.77.1', client: '192.168.77.2' } as const;

/** Three layers of AES-GCM-16 over IPv4, the outermost in UDP. */
const MTU = 1326;

/** A telescope from behind T, a NAT, which gives it another port while it is used. */
export function behindNat(title: string, network: NetworkSpec, kind: ClientKind): Scenario {
  return {
    title,
    network,
    async run(stage) {
      const { world, relays, say } = stage;
      const captures = new Captures(world);
      const home = await openHome(world);
      try {
        const client = await openClient(
          { ...stage, world: { ...world, nodes: { ...world.nodes, S: home } } },
          kind,
          'S',
          ['A', 'B', 'C'],
        );
        say('the telescope is up');
        const browser = openBrowser(client);
        await expectFiles(browser, relays.C);
        await checkMtu(client, MTU);
        const [before] = portsOf(captures);
        await forgetMappings(world);
        await expectFiles(browser, relays.C);
        const ports = portsOf(captures);
        if (ports.length !== 2 || ports[0] !== before)
          throw new CheckError(`ESP has come to A from the ports ${ports} of the NAT, first from ${before}`);
        await checkUnderlay(world, captures, {
          clients: [{ name: 'T', entry: 'A', isNat: true }],
          ours: ourRelays(relays),
        });
        browser.close();
        await client.close();
      } finally {
        captures.close();
        await home.close();
      }
      return {};
    },
  };
}

/** The ports that ESP leaves T from, each once; in UDP it has to be, both ways. @throws CheckError */
function portsOf(captures: Captures): readonly number[] {
  const packets = captures.packets('T');
  if (packets.some(({ kind }) => kind === 'esp')) throw new CheckError('there is ESP without UDP at the NAT');
  const inUdp = packets.filter(({ kind }) => kind === 'esp in UDP');
  const ports = (own: 0 | 1, side: 'source' | 'destination') =>
    new Set(inUdp.filter((packet) => packet[side] === ADDRESSES.T.ip4).map(({ ports }) => ports![own]));
  const sent = [...ports(0, 'source')];
  const received = ports(1, 'destination');
  if (sent.length === 0 || !sent.every((port) => received.has(port)))
    throw new CheckError(`ESP has left the NAT's ports ${sent} and come to ${[...received]}`);
  return sent;
}

/** A namespace without a public address, behind T. */
async function openHome({ nodes: { T } }: World): Promise<NetworkNamespace> {
  const home = await openNamespace();
  prepare(home, false);
  await connectNamespaces(T, home, { aName: 'home', bName: 'eth0', mtu: 1500 });
  await ipBatch([`address add ${HOME.router}/24 dev home`], { netns: T.pid });
  await ipBatch([`address add ${HOME.client}/24 dev eth0`, `route add default via ${HOME.router}`], {
    netns: home.pid,
  });
  prepare(T, true);
  await translate(T, '');
  return home;
}

/** Mappings go when the device does; new ones have ports that no socket is given by itself. */
async function forgetMappings({ nodes: { T } }: World): Promise<void> {
  await translate(T, ' --to-ports 20000-29999');
  await ipBatch(['link set eth0 down', 'link set eth0 up', ...routesOf('T')], { netns: T.pid });
}

async function translate(T: NetworkNamespace, ports: string): Promise<void> {
  const rule = `-A POSTROUTING -s ${HOME.block} -o eth0 -p udp -j MASQUERADE${ports}`;
  await run(['iptables-legacy-restore', '-w'], { netns: T.pid, input: `*nat\n${rule}\nCOMMIT\n` });
}
