import { prefixText } from '../wire/address.ts';
import type { DeviceMatch, FirewallRule, Hook, PacketFilter, PortRange } from './firewall.ts';
import { DEVICE } from './overlay-plan.ts';

const TABLE = 'ike_telescope';

const CHAINS: Readonly<Record<Hook, string>> = {
  forward: 'type filter hook forward priority filter',
  input: 'type filter hook input priority filter',
  output: 'type filter hook output priority filter',
  nat: 'type nat hook postrouting priority srcnat',
};

/** The shell's commands that put the rules in place, in a table of their own, and take them away. */
export function nftables(rules: readonly FirewallRule[]): PacketFilter {
  const chains = (Object.keys(CHAINS) as Hook[]).flatMap((hook) => {
    const lines = rules.filter((rule) => rule.hook === hook).map((rule) => `    ${ruleText(rule)}\n`);
    return lines.length === 0 ? [] : [`  chain ${hook} {\n    ${CHAINS[hook]}\n${lines.join('')}  }\n`];
  });
  return {
    names: '',
    up: `  nft -f - << 'END'\ntable inet ${TABLE} {\n${chains.join('')}}\nEND\n`,
    down: `  nft delete table inet ${TABLE}\n`,
  };
}

function ruleText(rule: FirewallRule): string {
  const { family, source, destination, from, to, clear, state, protocol, sourcePorts, destinationPorts } =
    rule;
  const ip = family === 4 ? 'ip' : 'ip6';
  return [
    `meta nfproto ipv${family}`,
    source && `${ip} saddr ${prefixText(source)}`,
    destination && `${ip} daddr ${prefixText(destination)}`,
    from && device('iifname', from),
    to && device('oifname', to),
    protocol && `meta l4proto ${protocol}`,
    sourcePorts && `th sport { ${ranges(sourcePorts)} }`,
    destinationPorts && `th dport { ${ranges(destinationPorts)} }`,
    clear && (clear === 'in' ? 'meta ipsec missing' : 'rt ipsec missing'),
    state && `ct state ${state === 'established' ? '{ established, related }' : state}`,
    verdict(rule),
  ]
    .filter((part) => part !== undefined)
    .join(' ');
}

function device(name: 'iifname' | 'oifname', match: DeviceMatch): string {
  if (match === 'overlay') return `${name} "${DEVICE}*"`;
  return match === 'other' ? `${name} != "${DEVICE}*"` : `${name} "${match.name}"`;
}

function ranges(ports: readonly PortRange[]): string {
  return ports.map(([low, high]) => (low === high ? `${low}` : `${low}-${high}`)).join(', ');
}

function verdict({ verdict, family }: FirewallRule): string {
  return typeof verdict === 'string'
    ? verdict
    : `snat ${family === 4 ? 'ip' : 'ip6'} to ${verdict.sourceAddress}`;
}
