import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import type { FirewallRule } from '../../../src/firewall/rules.ts';
import { parseExitPolicy } from '../../../src/forward/exit-policy.ts';
import { inNamespace } from '../../../src/host/command.ts';
import type { NetworkNamespace } from '../../../src/host/namespace.ts';
import { firewallRules } from '../../../src/relay/kernel/firewall.ts';
import { layoutOf } from '../../../src/relay/kernel/layout.ts';
import { compiledSources, nodeCommand } from '../../support/compiled.ts';
import { withNamespaces } from '../../support/namespaces.ts';
import { relayConfigs } from '../../support/sim-relays.ts';

beforeAll(() => void compiledSources(), 120_000);

const [a] = relayConfigs([
  { name: 'a', number: 1, peers: ['b'] },
  { name: 'b', number: 2 },
]).values();
const own = {
  ...a.own,
  addresses: { ip4: '192.0.2.1', ip6: '2001:db8::1' },
  pools: {
    ...a.own.pools,
    ip6: { family: 6 as const, bytes: Uint8Array.of(0xfd, ...new Array(15)), length: 64 },
  },
};
let last = 0;
const names = { prefix: 'ikt9', allocate: () => ++last, deviceName: (number: number) => `ikt9-${number}` };
const layout = layoutOf({ ...a, own }, names, () => 1500, [4, 6]);
const policy = (rules: readonly string[]) => ({
  kind: 'kernel' as const,
  addresses: {},
  policy: parseExitPolicy(rules, 'here'),
});

/** Runs a script that has the two filters, and `rules`, in a namespace. @returns what it printed */
async function runIn(
  namespace: NetworkNamespace,
  rules: readonly FirewallRule[],
  script: string,
): Promise<string> {
  const [program, ...args] = inNamespace(
    nodeCommand(`
      const { nftables } = await import(SRC + '/firewall/nftables.js');
      const { iptables } = await import(SRC + '/firewall/iptables.js');
      const here = (action) => action();
      const set = (name) => ({ name, devices: name + '-', rules });
      const rules = ${JSON.stringify(rules, (_, value) => (value instanceof Uint8Array ? [...value] : value))};
      const revive = (block) => block && { ...block, bytes: Uint8Array.from(block.bytes) };
      for (const rule of rules) Object.assign(rule, { source: revive(rule.source), destination: revive(rule.destination) });
      ${script}`),
    namespace.pid,
  );
  return (await promisify(execFile)(program, args)).stdout;
}

const texts = (rules: readonly FirewallRule[]) =>
  rules.map(({ hook, family, verdict }) => `${hook} ${family} ${JSON.stringify(verdict)}`);

describe("a relay's packet filter", () => {
  const rules = firewallRules(layout, policy(['reject *:25,100-200/tcp', 'accept 0.0.0.0/0:80', 'accept *']));

  it.each(['nftables', 'iptables'])('is taken by the kernel as %s, and leaves nothing behind', (filter) =>
    withNamespaces(1, async (namespace) => {
      const list =
        filter === 'nftables' ? ['nft', 'list', 'ruleset'] : ['iptables-legacy-save', '-t', 'filter'];
      const before = (await namespace.exec(list)).stdout;
      const printed = await runIn(
        namespace,
        rules,
        `await ${filter}.install(set('ikt9'));
         await ${filter}.install(set('ikt19'));
         console.log(JSON.stringify([(await ${filter}.installed(here)).sort(), await ${filter}.drops('ikt9')]));
         await ${filter}.remove('ikt19', here);`,
      );
      expect(JSON.parse(printed)).toEqual([['ikt19', 'ikt9'], {}]);
      const { stdout } = await namespace.exec(list);
      expect(stdout).toContain('ikt9');
      expect(stdout).not.toContain('ikt19');
      for (const rule of [
        /10\.1\.0\.0\/16 .*dports? (\{ )?25,? ?100[-:]200/,
        /10\.1\.0\.0\/16.*192\.0\.2\.2.*500/,
      ])
        expect(stdout).toMatch(rule);
      await runIn(
        namespace,
        [],
        `await ${filter}.remove('ikt9', here); await ${filter}.remove('ikt9', here).catch(() => {});`,
      );
      const lines = (text: string) => text.split('\n').filter((line) => !line.startsWith('#') && line !== '');
      const after = lines((await namespace.exec(list)).stdout).filter((line) => !/^[*:]|COMMIT/.test(line));
      expect(after).toEqual(lines(before).filter((line) => !/^[*:]|COMMIT/.test(line)));
    }),
  );

  it.each(['nftables', 'iptables'])('counts what %s drops, by reason', (filter) =>
    withNamespaces(1, async (namespace) => {
      const spoofed = rules.filter(({ hook, source }) => hook === 'input' && source !== undefined);
      await namespace.exec(['ip', 'address', 'add', '10.1.0.9/32', 'dev', 'lo']);
      const printed = await runIn(
        namespace,
        spoofed,
        `await ${filter}.install(set('ikt9'));
         const { createSocket } = await import('node:dgram');
         const socket = createSocket('udp4');
         await new Promise((done) => socket.bind(0, '10.1.0.9', done));
         await new Promise((done) => socket.send('x', 9, '127.0.0.1', done));
         socket.close();
         console.log(JSON.stringify(await ${filter}.drops('ikt9')));`,
      );
      expect(JSON.parse(printed)).toEqual({ 'spoofed-source': 1 });
    }),
  );

  it('lets nothing out of a relay that is no exit', () => {
    const closed = firewallRules(layout, undefined);
    expect(closed.some(({ hook }) => hook === 'nat')).toBe(false);
    const outwards = closed.filter(
      ({ hook, to, verdict }) => hook === 'forward' && verdict === 'accept' && to === 'other',
    );
    expect(outwards).toEqual([]);
  });

  it('asks the private ranges before the exit policy, and drops what no rule of that accepts', () => {
    const some = firewallRules(layout, policy(['accept *:443/tcp']));
    const outwards = some.filter(
      ({ hook, family, from }) => hook === 'forward' && family === 4 && typeof from === 'object',
    );
    const texted = texts(outwards);
    const accepted = outwards.findIndex(({ verdict, to }) => verdict === 'accept' && to === 'other');
    expect(texted.lastIndexOf('forward 4 {"drop":"private-range"}', accepted)).toBeGreaterThan(-1);
    expect(texted[accepted + 1]).toBe('forward 4 {"drop":"exit-policy"}');
    expect(outwards[accepted]).toMatchObject({ protocol: 6, destinationPorts: [[443, 443]] });
  });
});
