import { run } from '../../host/command.ts';
import { prefixText } from '../../wire/address.ts';
import type { DeviceMatch, FirewallRule, Hook, PortRange } from './firewall.ts';
import type { PacketFilter } from './packet-filter.ts';

const CHAINS: Readonly<Record<Hook, string>> = {
  forward: 'type filter hook forward priority filter;',
  input: 'type filter hook input priority filter;',
  output: 'type filter hook output priority filter;',
  nat: 'type nat hook postrouting priority srcnat;',
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
  async install(prefix, rules) {
    const chains = (Object.keys(CHAINS) as Hook[]).map((hook) => {
      const lines = rules.filter((rule) => rule.hook === hook).map((rule) => `${ruleText(rule, prefix)}\n`);
      return `chain ${hook} {\n${CHAINS[hook]}\n${lines.join('')}}\n`;
    });
    await run(['nft', '-f', '-'], { input: `table inet ${prefix} {\n${chains.join('')}}\n` });
  },

  async drops(prefix) {
    const drops: Record<string, number> = {};
    for (const { rule } of await list('table', 'inet', prefix)) {
      const counter = rule?.expr.find((expression) => expression.counter !== undefined)?.counter;
      if (rule?.comment === undefined || counter === undefined || counter.packets === 0) continue;
      drops[rule.comment] = (drops[rule.comment] ?? 0) + counter.packets;
    }
    return drops;
  },

  async installed() {
    const tables = await list('tables').catch(() => []);
    return tables.flatMap(({ table }) => (table?.family === 'inet' ? [table.name] : []));
  },

  async remove(prefix) {
    await run(['nft', 'delete', 'table', 'inet', prefix]);
  },
};

async function list(...what: readonly string[]): Promise<Listing['nftables']> {
  const { stdout } = await run(['nft', '--json', 'list', ...what]);
  return (JSON.parse(stdout) as Listing).nftables;
}

function ruleText(rule: FirewallRule, prefix: string): string {
  const { family, from, to, source, destination, protocol, sourcePort, destinationPort, icmpType, state } =
    rule;
  const ip = family === 4 ? 'ip' : 'ip6';
  return [
    `meta nfproto ipv${family}`,
    from && device('iifname', from, prefix),
    to && device('oifname', to, prefix),
    source && `${ip} saddr ${prefixText(source)}`,
    destination && `${ip} daddr ${prefixText(destination)}`,
    protocol && `meta l4proto ${protocol}`,
    sourcePort && `th sport ${range(sourcePort)}`,
    destinationPort && `th dport ${range(destinationPort)}`,
    icmpType && `${family === 4 ? 'icmp' : 'icmpv6'} type ${icmpType}`,
    state && `ct state ${state === 'established' ? '{ established, related }' : state}`,
    verdictText(rule),
  ]
    .filter((part) => part !== undefined)
    .join(' ');
}

function device(name: 'iifname' | 'oifname', match: DeviceMatch, prefix: string): string {
  if (match === 'ours') return `${name} "${prefix}-*"`;
  return match === 'other' ? `${name} != "${prefix}-*"` : `${name} "${match.name}"`;
}

function range([low, high]: PortRange): string {
  return low === high ? `${low}` : `${low}-${high}`;
}

function verdictText({ verdict, family }: FirewallRule): string {
  if (verdict === 'accept') return verdict;
  if ('drop' in verdict) return `counter drop comment "${verdict.drop}"`;
  const address = verdict.translate;
  return address === undefined
    ? 'masquerade fully-random'
    : `snat ${family === 4 ? 'ip' : 'ip6'} to ${address} fully-random`;
}
