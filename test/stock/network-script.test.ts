import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { NetworkNamespace } from '../../src/host/namespace.ts';
import { FIREWALLS, type Firewall, networkScript } from '../../src/stock/network-script.ts';
import { overlayPlans } from '../../src/stock/overlay-plan.ts';
import { withNamespaces } from '../support/namespaces.ts';
import { kitConfig } from './kit-configs.ts';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'ike-telescope-network-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function script(firewall: Firewall, ...lines: readonly string[]): string {
  const file = join(directory, `network-${firewall}-${lines.length}`);
  const config = kitConfig(1, lines);
  writeFileSync(file, networkScript(config, overlayPlans(config), firewall));
  return file;
}

/** Everything that the script changes. */
async function state(namespace: NetworkNamespace): Promise<string> {
  const shown =
    'nft list ruleset; iptables-legacy-save -t filter; iptables-legacy-save -t nat; ip rule; ip -6 rule; ip -br link';
  const sysctls = 'cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding';
  const { stdout } = await namespace.exec(['sh', '-c', `${shown}; ${sysctls}`]);
  return stdout.replace(/^#.*\n/gm, '').replace(/\[\d+:\d+\]/g, '');
}

/** With the older iptables, which every kernel has that has iptables. */
function run(namespace: NetworkNamespace, file: string, verb: string): Promise<unknown> {
  const environment = ['IPTABLES=iptables-legacy', 'IP6TABLES=ip6tables-legacy'];
  return namespace.exec(['env', ...environment, 'sh', file, verb]);
}

it.each(FIREWALLS)(
  'the network goes up, again, and down, and leaves nothing behind: %s',
  async (firewall) => {
    await withNamespaces(1, async (namespace) => {
      const file = script(
        firewall,
        'exit: { kind: kernel, policy: ["reject *:25,465,587/tcp", "accept *"] }',
      );
      await run(namespace, file, 'up');
      await run(namespace, file, 'down');
      const before = await state(namespace);
      await run(namespace, file, 'up');
      const up = await state(namespace);
      expect(up).toContain('10.1.0.0/16');
      expect(up.trimEnd()).toMatch(/1\n1$/);
      await run(namespace, file, 'up');
      expect(await state(namespace)).toBe(up);
      await run(namespace, file, 'down');
      expect(await state(namespace)).toBe(before);
    });
  },
);

it.each(FIREWALLS)('a network that cannot go up leaves nothing behind either: %s', async (firewall) => {
  await withNamespaces(1, async (namespace) => {
    const file = script(firewall, 'peers: [2.yaml]', 'exit: { kind: kernel }');
    await run(namespace, file, 'down');
    const before = await state(namespace);
    // The relay's own addresses are not there.
    await expect(run(namespace, file, 'up')).rejects.toThrow('nothing of it is left up');
    expect(await state(namespace)).toBe(before);
  });
});

it("a router's own packets stay in the overlay to where nobody else leads", () => {
  const text = (own: string, peer: string) => {
    const config = kitConfig(1, [`address: { ip4: ${own}, ip6: "2001:db8::1" }`, 'peers: [2.yaml]']);
    const [other] = config.peers;
    const addresses = { ...other.addresses, ip4: peer };
    const plans = overlayPlans({ ...config, peers: [{ ...other, addresses }] });
    return networkScript(config, plans, 'nftables');
  };
  const hidden = text('10.99.0.1', '10.99.0.2');
  expect(hidden).toContain('ip link add overlay1 type vti6 local 2001:db8::1 remote 2001:db8::2');
  expect(hidden).toContain('ip -4 route add 10.99.0.2 dev overlay1 src 10.99.0.1');
  const open = text('192.0.2.1', '192.0.2.2');
  expect(open).toContain('ip link add overlay1 type vti local 192.0.2.1 remote 192.0.2.2');
  expect(open).not.toContain('route add 2001:db8::2 dev overlay1 src');
});
