import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import { openXfrm } from '../../src/backend/xfrm/xfrm.ts';
import { relayRemains } from '../../src/firewall/remains.ts';
import { inNamespace } from '../../src/host/command.ts';
import type { NetworkNamespace } from '../../src/host/namespace.ts';
import { openUdpFile } from '../kernel/udp.ts';
import { compiledSources, nodeCommand } from '../support/compiled.ts';
import { native, wire, withNamespaces } from '../support/namespaces.ts';
import { until } from '../support/waiting.ts';

beforeAll(() => void compiledSources(), 120_000);

/** Of block 5. */
const TABLE = ((0xa7 << 24) | (5 << 18) | 1) >>> 0;

/** What starts on a host, relay or client, from another namespace. */
const start = ({ file }: NetworkNamespace) =>
  openXfrm({ native: native(), namespace: file, remains: relayRemains(native()) });

/** What a relay that was killed has left for a pool. */
async function leave(namespace: NetworkNamespace, pool: string, device: string): Promise<void> {
  for (const command of [
    `ip rule add pref 1670 to ${pool} lookup ${TABLE}`,
    `ip route add ${pool} dev ${device} table ${TABLE}`,
    `nft add table inet ikt5 { chain nat { type nat hook postrouting priority srcnat; ip saddr ${pool} masquerade; }; }`,
    'iptables-legacy -N ikt5-forward',
    'iptables-legacy -I FORWARD -j ikt5-forward',
    'iptables-legacy -A ikt5-forward -i nothing -j DROP',
  ])
    await namespace.exec(command.split(' '));
}

async function shown(namespace: NetworkNamespace): Promise<string> {
  const list = `nft list ruleset; iptables-legacy-save; ip rule; ip route show table ${TABLE}`;
  return (await namespace.exec(['sh', '-c', list])).stdout;
}

describe('what a killed relay leaves', () => {
  it('is taken away by whatever starts next, and nothing of its pool is forwarded then', () =>
    withNamespaces(4, async (client, neighbour, relay, server) => {
      const inside = await wire(client, relay, 0);
      const foreign = await wire(neighbour, relay, 2);
      const outside = await wire(relay, server, 1);
      for (const [namespace, gateway] of [
        [client, inside.b4],
        [neighbour, foreign.b4],
      ] as const)
        await namespace.exec(['ip', 'route', 'add', 'default', 'via', gateway]);
      await relay.exec(['sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward']);
      await leave(relay, '10.9.0.0/24', inside.name);
      await relay.exec(
        'nft add table inet operator { chain nat { type nat hook postrouting priority srcnat; ip saddr 10.9.2.0/24 masquerade; }; }'.split(
          ' ',
        ),
      );
      const seen: number[] = [];
      const received = { client: 0, neighbour: 0 };
      const ofServer = openUdpFile(server.file, outside.b4, 7, (_, { port }) => seen.push(port));
      const ofClient = openUdpFile(client.file, inside.a4, 1001, () => void received.client++);
      const ofNeighbour = openUdpFile(neighbour.file, foreign.a4, 1002, () => void received.neighbour++);
      const answer = () => {
        for (const port of [1001, 1002]) ofServer.send(Uint8Array.of(1), outside.a4, port);
      };
      ofClient.send(Uint8Array.of(1), outside.b4, 7);
      ofNeighbour.send(Uint8Array.of(1), outside.b4, 7);
      await until('both questions', () => seen.length === 2);
      answer();
      await until('both answers', () => received.client + received.neighbour === 2);
      expect(await shown(relay)).toContain('ikt5');
      await (await start(relay)).close();
      const left = await shown(relay);
      expect(left).not.toMatch(/ikt5|1670|10\.9\.0\.0/);
      expect(left).toContain('table inet operator');
      answer();
      await until("the neighbour's answer", () => received.neighbour === 2);
      expect(received.client).toBe(1);
      for (const socket of [ofServer, ofClient, ofNeighbour]) socket.close();
    }));

  it('is looked for with the programs that are there', () =>
    withNamespaces(1, async (namespace) => {
      await namespace.exec(['iptables-legacy', '-t', 'filter', '-L']);
      await namespace.exec(['nft', 'add', 'table', 'inet', 'ikt5']);
      const find = nodeCommand(`
        const { relayRemains } = await import(SRC + '/firewall/remains.js');
        const { loadNative } = await import(SRC + '/native/load.js');
        console.log(JSON.stringify(await relayRemains(loadNative().native).blocks((action) => action())));`);
      const without = 'mount --bind /dev/null "$(readlink -f /usr/sbin/iptables-legacy-save)"; exec "$@"';
      const command = ['unshare', '--mount', 'sh', '-c', without, 'sh', ...find];
      const [program, ...args] = inNamespace(command, namespace.pid);
      expect(JSON.parse((await promisify(execFile)(program, args)).stdout)).toEqual([5]);
    }));
});
