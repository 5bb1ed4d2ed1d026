import { existsSync, readFileSync } from 'node:fs';
import type { Enter } from '../backend/xfrm/channel.ts';
import { run } from '../host/command.ts';
import { type Family, prefixText } from '../wire/address.ts';
import type { PacketFilter } from './packet-filter.ts';
import {
  type DeviceMatch,
  type FirewallRule,
  HOOKS,
  type Hook,
  type PortRange,
  type RuleSet,
} from './rules.ts';

/** The built-in chains that lead to ours, and their tables. */
const CHAINS: Readonly<Record<Hook, { readonly builtIn: string; readonly table: Table }>> = {
  forward: { builtIn: 'FORWARD', table: 'filter' },
  input: { builtIn: 'INPUT', table: 'filter' },
  output: { builtIn: 'OUTPUT', table: 'filter' },
  nat: { builtIn: 'POSTROUTING', table: 'nat' },
};
const TABLES = ['filter', 'nat'] as const;
const FAMILIES = [4, 6] as const;

/** As many as a rule takes, in ranges. */
const MAX_RANGES = 7;

type Table = (typeof TABLES)[number];

/** Rules of iptables-legacy (x_tables), in chains of their own that the built-in ones begin with. */
export const iptables: PacketFilter = {
  async install(set) {
    try {
      for (const family of FAMILIES) await restore(family, iptablesText(set, family));
    } catch (error) {
      await this.remove(set.name, (action) => action());
      throw error;
    }
  },

  async drops(name) {
    const drops: Record<string, number> = {};
    for (const family of FAMILIES) {
      for (const line of await savedLines(family, ['filter'], (action) => action())) {
        const [, packets, chain, reason] =
          /^\[(\d+):\d+\] -A (\S+)-\w+ .*--comment (\S+) -j DROP$/.exec(line) ?? [];
        if (chain === name && packets !== '0') drops[reason] = (drops[reason] ?? 0) + Number(packets);
      }
    }
    return drops;
  },

  async installed(enter) {
    const found = new Set<string>();
    for (const family of FAMILIES) {
      for (const line of await savedLines(family, TABLES, enter)) {
        const [, name] = /^:(\S+)-(?:forward|input|output|nat) /.exec(line) ?? [];
        if (name !== undefined) found.add(name);
      }
    }
    return [...found];
  },

  async remove(name, enter) {
    for (const family of FAMILIES) {
      const lines = await savedLines(family, TABLES, enter);
      const there = new Set(lines.map((line) => line.replace(/^\[\d+:\d+\] /, '')));
      const tables = TABLES.flatMap((table) => {
        const hooks = HOOKS.filter(
          (hook) => CHAINS[hook].table === table && there.has(`:${name}-${hook} - [0:0]`),
        );
        if (hooks.length === 0) return [];
        const changes = hooks.flatMap((hook) => {
          const jump = `${CHAINS[hook].builtIn} -j ${name}-${hook}`;
          return [...(there.has(`-A ${jump}`) ? [`-D ${jump}`] : []), ...removal(name, hook)];
        });
        return [tableText(table, changes)];
      });
      await restore(family, tables.join(''), enter);
    }
  },
};

function program(family: Family, what: 'save' | 'restore'): string {
  return `${family === 4 ? 'iptables' : 'ip6tables'}-legacy-${what}`;
}

async function restore(family: Family, text: string, enter: Enter = (action) => action()): Promise<void> {
  if (text === '') return;
  await enter(() => run([program(family, 'restore'), '--wait', '--noflush'], { input: text }));
}

/** What is there, with counters, without the kernel's loading of x_tables for it. */
async function savedLines(
  family: Family,
  tables: readonly Table[],
  enter: Enter,
): Promise<readonly string[]> {
  const names = `/proc/self/net/${family === 4 ? 'ip' : 'ip6'}_tables_names`;
  const loaded = enter(() => (existsSync(names) ? readFileSync(names, 'utf8').split('\n') : []));
  const lines: string[] = [];
  for (const table of tables) {
    if (!loaded.includes(table)) continue;
    const { stdout } = await enter(() => run([program(family, 'save'), '-c', '-t', table]));
    lines.push(...stdout.split('\n'));
  }
  return lines;
}

/** What `iptables-restore --noflush`, or `ip6tables-restore`, is given to put the rules of a family in place; empty: nothing. */
export function iptablesText({ name, devices, rules }: RuleSet, family: Family): string {
  const tables = usedTables(rules, family).map(({ table, hooks }) =>
    tableText(table, [
      ...hooks.map((hook) => `:${name}-${hook} - [0:0]`),
      ...rules
        .filter((rule) => rule.family === family && hooks.includes(rule.hook))
        .flatMap((rule) => ruleTexts(rule, devices).map((text) => `-A ${name}-${rule.hook} ${text}`)),
      ...hooks.map((hook) => `-I ${CHAINS[hook].builtIn} 1 -j ${name}-${hook}`),
    ]),
  );
  return tables.join('');
}

/** What it is given, one text after the other, to take them away. A table whose chains are not there stays as it is. */
export function iptablesRemoval({ name, rules }: RuleSet, family: Family): readonly string[] {
  return usedTables(rules, family).map(({ table, hooks }) =>
    tableText(
      table,
      hooks.flatMap((hook) => [`-D ${CHAINS[hook].builtIn} -j ${name}-${hook}`, ...removal(name, hook)]),
    ),
  );
}

function removal(name: string, hook: Hook): readonly string[] {
  return [`-F ${name}-${hook}`, `-X ${name}-${hook}`];
}

/** All of it is done, or nothing. */
function tableText(table: Table, lines: readonly string[]): string {
  return [`*${table}`, ...lines, 'COMMIT', ''].join('\n');
}

function usedTables(rules: readonly FirewallRule[], family: Family) {
  const used = HOOKS.filter((hook) => rules.some((rule) => rule.family === family && rule.hook === hook));
  return TABLES.flatMap((table) => {
    const hooks = used.filter((hook) => CHAINS[hook].table === table);
    return hooks.length === 0 ? [] : [{ table, hooks }];
  });
}

/** One for as many ports as a rule takes. */
function ruleTexts(rule: FirewallRule, devices: string): readonly string[] {
  return chunks(rule.sourcePorts).flatMap((sourcePorts) =>
    chunks(rule.destinationPorts).map((destinationPorts) =>
      ruleText({ ...rule, sourcePorts, destinationPorts }, devices),
    ),
  );
}

function chunks(ports: readonly PortRange[] | undefined): readonly (readonly PortRange[] | undefined)[] {
  if (ports === undefined) return [undefined];
  const count = Math.ceil(ports.length / MAX_RANGES);
  return Array.from({ length: count }, (_, i) => ports.slice(i * MAX_RANGES, (i + 1) * MAX_RANGES));
}

function ruleText(rule: FirewallRule, devices: string): string {
  const { family, from, to, source, destination, protocol, sourcePorts, destinationPorts } = rule;
  const { icmpType, clear, state } = rule;
  return [
    from && device('-i', from, devices),
    to && device('-o', to, devices),
    source && `-s ${prefixText(source)}`,
    destination && `-d ${prefixText(destination)}`,
    protocol && `-p ${protocol}`,
    sourcePorts && `-m multiport --sports ${ranges(sourcePorts)}`,
    destinationPorts && `-m multiport --dports ${ranges(destinationPorts)}`,
    icmpType && `${family === 4 ? '--icmp-type' : '--icmpv6-type'} ${icmpType}`,
    clear && `-m policy --dir ${clear} --pol none`,
    state && `-m conntrack --ctstate ${state === 'established' ? 'ESTABLISHED,RELATED' : 'INVALID'}`,
    verdictText(rule),
  ]
    .filter((part) => part !== undefined)
    .join(' ');
}

function device(option: '-i' | '-o', match: DeviceMatch, devices: string): string {
  if (match === 'ours') return `${option} ${devices}+`;
  return match === 'other' ? `! ${option} ${devices}+` : `${option} ${match.name}`;
}

function ranges(ports: readonly PortRange[]): string {
  return ports.map(([low, high]) => (low === high ? `${low}` : `${low}:${high}`)).join(',');
}

function verdictText({ verdict }: FirewallRule): string {
  if (verdict === 'accept') return '-j ACCEPT';
  if ('drop' in verdict) return `-m comment --comment ${verdict.drop} -j DROP`;
  return verdict.translate === undefined
    ? '-j MASQUERADE --random-fully'
    : `-j SNAT --to-source ${verdict.translate} --random-fully`;
}
