import { run } from '../host/command.ts';
import { prefixText } from '../wire/address.ts';
import type { PacketFilter } from './packet-filter.ts';
import {
  type DeviceMatch,
  type FirewallRule,
  HOOKS,
  type Hook,
  type PortRange,
  type RuleSet,
} from './rules.ts';

const CHAINS: Readonly<Record<Hook, string>> = {
  forward: 'type filter hook forward priority filter',
  input: 'type filter hook input priority filter',
  output: 'type filter hook output priority filter',
  nat: 'type nat hook postrouting priority srcnat',
};

/** What `nft --json` writes, as far as it is of interest. */
interface Listing {
  readonly nftables: readonly {
    readonly table?: { readonly family: string; readonly name: string };
    readonly rule?: {
      readonly comment?: string;
      readonly expr: readonly { readonly counter?: { readonly packets: number } }[];
    };
  }[];
}

/** Rules of nftables, in a table of their own. */
export const nftables: PacketFilter = {
  async install(set) {
    await run(['nft', '-f', '-'], { input: nftablesText(set) });
  },

  async drops(name) {
    const drops: Record<string, number> = {};
    const { stdout } = await run(['nft', '--json', 'list', 'table', 'inet', name]);
    for (const { rule } of listed(stdout)) {
      const counter = rule?.expr.find((expression) => expression.counter !== undefined)?.counter;
      if (rule?.comment === undefined || counter === undefined || counter.packets === 0) continue;
      drops[rule.comment] = (drops[rule.comment] ?? 0) + counter.packets;
    }
    return drops;
  },

  async installed(enter) {
    const { stdout } = await enter(() => run(['nft', '--json', 'list', 'tables']));
    return listed(stdout).flatMap(({ table }) => (table?.family === 'inet' ? [table.name] : []));
  },

  async remove(name, enter) {
    await enter(() => run(['nft', 'delete', 'table', 'inet', name]));
  },
};

function listed(text: string): Listing['nftables'] {
  return (JSON.parse(text) as Listing).nftables;
}

/** What `nft -f` is given to put the rules in place. */
export function nftablesText({ name, devices, rules }: RuleSet): string {
  const chains = HOOKS.flatMap((hook) => {
    const lines = rules
      .filter((rule) => rule.hook === hook)
      .map((rule) => `    ${ruleText(rule, devices)}\n`);
    return lines.length === 0 ? [] : [`  chain ${hook} {\n    ${CHAINS[hook]}\n${lines.join('')}  }\n`];
  });
  return `table inet ${name} {\n${chains.join('')}}\n`;
}

function ruleText(rule: FirewallRule, devices: string): string {
  const { family, from, to, source, destination, protocol, sourcePorts, destinationPorts } = rule;
  const { icmpType, clear, state } = rule;
  const ip = family === 4 ? 'ip' : 'ip6';
  return [
    `meta nfproto ipv${family}`,
    from && device('iifname', from, devices),
    to && device('oifname', to, devices),
    source && `${ip} saddr ${prefixText(source)}`,
    destination && `${ip} daddr ${prefixText(destination)}`,
    protocol && `meta l4proto ${protocol}`,
    sourcePorts && `th sport { ${ranges(sourcePorts)} }`,
    destinationPorts && `th dport { ${ranges(destinationPorts)} }`,
    icmpType && `${family === 4 ? 'icmp' : 'icmpv6'} type ${icmpType}`,
    clear && (clear === 'in' ? 'meta ipsec missing' : 'rt ipsec missing'),
    state && `ct state ${state === 'established' ? '{ established, related }' : state}`,
    verdictText(rule),
  ]
    .filter((part) => part !== undefined)
    .join(' ');
}

function device(name: 'iifname' | 'oifname', match: DeviceMatch, devices: string): string {
  if (match === 'ours') return `${name} "${devices}*"`;
  return match === 'other' ? `${name} != "${devices}*"` : `${name} "${match.name}"`;
}

function ranges(ports: readonly PortRange[]): string {
  return ports.map(([low, high]) => (low === high ? `${low}` : `${low}-${high}`)).join(', ');
}

function verdictText({ verdict, family }: FirewallRule): string {
  if (verdict === 'accept') return verdict;
  if ('drop' in verdict) return `counter drop comment "${verdict.drop}"`;
  const address = verdict.translate;
  return address === undefined
    ? 'masquerade fully-random'
    : `snat ${family === 4 ? 'ip' : 'ip6'} to ${address} fully-random`;
}
