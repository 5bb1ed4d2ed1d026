import { existsSync, readFileSync } from 'node:fs';
import { run } from '../../host/command.ts';
import { type Family, prefixText } from '../../wire/address.ts';
import type { DeviceMatch, FirewallRule, Hook, PortRange } from './firewall.ts';
import type { PacketFilter } from './packet-filter.ts';

/** The built-in chains that lead to ours, and their tables. */
const CHAINS: Readonly<Record<Hook, { readonly builtIn: string; readonly table: Table }>> = {
  forward: { builtIn: 'FORWARD', table: 'filter' },
  input: { builtIn: 'INPUT', table: 'filter' },
  output: { builtIn: 'OUTPUT', table: 'filter' },
  nat: { builtIn: 'POSTROUTING', table: 'nat' },
};
const HOOKS = Object.keys(CHAINS) as Hook[];
const TABLES = ['filter', 'nat'] as const;
const FAMILIES = [4, 6] as const;

type Table = (typeof TABLES)[number];

/** Rules of iptables-legacy (x_tables), in chains of their own that the built-in ones begin with. */
export const iptables: PacketFilter = {
  async install(prefix, rules) {
    try {
      for (const family of FAMILIES) {
        const tables = TABLES.map((table) => tableText(table, prefix, rules, family));
        await restore(family, tables.join(''));
      }
    } catch (error) {
      await this.remove(prefix);
      throw error;
    }
  },

  async drops(prefix) {
    const drops: Record<string, number> = {};
    for (const family of FAMILIES) {
      const { stdout } = await run([program(family, 'save'), '-c', '-t', 'filter']);
      for (const [, packets, chain, reason] of stdout.matchAll(
        /^\[(\d+):\d+\] -A (\S+)-\w+ .*--comment (\S+) -j DROP$/gm,
      )) {
        if (chain === prefix && packets !== '0') drops[reason] = (drops[reason] ?? 0) + Number(packets);
      }
    }
    return drops;
  },

  async installed() {
    const found = new Set<string>();
    for (const family of FAMILIES) {
      for (const line of await savedLines(family)) {
        const [, prefix] = /^:(\S+)-(?:forward|input|output|nat) /.exec(line) ?? [];
        if (prefix !== undefined) found.add(prefix);
      }
    }
    return [...found];
  },

  async remove(prefix) {
    for (const family of FAMILIES) {
      const there = new Set(await savedLines(family));
      const tables = TABLES.map((table) => {
        const hooks = HOOKS.filter(
          (hook) => CHAINS[hook].table === table && there.has(`:${prefix}-${hook} - [0:0]`),
        );
        if (hooks.length === 0) return '';
        const lines = hooks.flatMap((hook) => {
          const jump = `${CHAINS[hook].builtIn} -j ${prefix}-${hook}`;
          return [
            ...(there.has(`-A ${jump}`) ? [`-D ${jump}`] : []),
            `-F ${prefix}-${hook}`,
            `-X ${prefix}-${hook}`,
          ];
        });
        return [`*${table}`, ...lines, 'COMMIT', ''].join('\n');
      });
      if (tables.some((text) => text !== '')) await restore(family, tables.join(''));
    }
  },
};

function program(family: Family, what: 'save' | 'restore'): string {
  return `${family === 4 ? 'iptables' : 'ip6tables'}-legacy-${what}`;
}

async function restore(family: Family, text: string): Promise<void> {
  await run([program(family, 'restore'), '--wait', '--noflush'], { input: text });
}

/** What is there, without the kernel's loading of x_tables for it. */
async function savedLines(family: Family): Promise<readonly string[]> {
  const names = `/proc/self/net/${family === 4 ? 'ip' : 'ip6'}_tables_names`;
  if (!existsSync(names)) return [];
  const tables = readFileSync(names, 'utf8').split('\n');
  const lines: string[] = [];
  for (const table of TABLES) {
    if (!tables.includes(table)) continue;
    const { stdout } = await run([program(family, 'save'), '-t', table]);
    lines.push(...stdout.split('\n'));
  }
  return lines;
}

function tableText(table: Table, prefix: string, rules: readonly FirewallRule[], family: Family): string {
  const hooks = HOOKS.filter((hook) => CHAINS[hook].table === table);
  return [
    `*${table}`,
    ...hooks.map((hook) => `:${prefix}-${hook} - [0:0]`),
    ...rules
      .filter((rule) => rule.family === family && hooks.includes(rule.hook))
      .map((rule) => `-A ${prefix}-${rule.hook} ${ruleText(rule, prefix)}`),
    ...hooks.map((hook) => `-I ${CHAINS[hook].builtIn} 1 -j ${prefix}-${hook}`),
    'COMMIT',
    '',
  ].join('\n');
}

function ruleText(rule: FirewallRule, prefix: string): string {
  const { family, from, to, source, destination, protocol, sourcePort, destinationPort, icmpType, state } =
    rule;
  return [
    from && device('-i', from, prefix),
    to && device('-o', to, prefix),
    source && `-s ${prefixText(source)}`,
    destination && `-d ${prefixText(destination)}`,
    protocol && `-p ${protocol}`,
    sourcePort && `--sport ${range(sourcePort)}`,
    destinationPort && `--dport ${range(destinationPort)}`,
    icmpType && `${family === 4 ? '--icmp-type' : '--icmpv6-type'} ${icmpType}`,
    state && `-m conntrack --ctstate ${state === 'established' ? 'ESTABLISHED,RELATED' : 'INVALID'}`,
    verdictText(rule),
  ]
    .filter((part) => part !== undefined)
    .join(' ');
}

function device(option: '-i' | '-o', match: DeviceMatch, prefix: string): string {
  if (match === 'ours') return `${option} ${prefix}-+`;
  return match === 'other' ? `! ${option} ${prefix}-+` : `${option} ${match.name}`;
}

function range([low, high]: PortRange): string {
  return low === high ? `${low}` : `${low}:${high}`;
}

function verdictText({ verdict }: FirewallRule): string {
  if (verdict === 'accept') return '-j ACCEPT';
  if ('drop' in verdict) return `-m comment --comment ${verdict.drop} -j DROP`;
  return verdict.translate === undefined
    ? '-j MASQUERADE --random-fully'
    : `-j SNAT --to-source ${verdict.translate} --random-fully`;
}
