import { type Family, prefixText } from '../wire/address.ts';
import type { DeviceMatch, FirewallRule, Hook, PacketFilter, PortRange } from './firewall.ts';
import { DEVICE } from './overlay-plan.ts';

/** Our chains, and the built-in ones that lead to them. */
const CHAINS: Readonly<
  Record<Hook, { readonly own: string; readonly from: string; readonly table: string }>
> = {
  forward: { own: 'ike-telescope-forward', from: 'FORWARD', table: 'filter' },
  input: { own: 'ike-telescope-input', from: 'INPUT', table: 'filter' },
  output: { own: 'ike-telescope-output', from: 'OUTPUT', table: 'filter' },
  nat: { own: 'ike-telescope-nat', from: 'POSTROUTING', table: 'nat' },
};
const HOOKS = Object.keys(CHAINS) as Hook[];

/** The shell's commands that put the rules in place, in chains of their own, before all others, and take them away. */
export function iptables(rules: readonly FirewallRule[]): PacketFilter {
  const families = ([4, 6] as const).filter((family) => rules.some((rule) => rule.family === family));
  return {
    names: `iptables=\${IPTABLES:-iptables} ip6tables=\${IP6TABLES:-ip6tables} # also iptables-legacy or iptables-nft\n`,
    up: families.map((family) => restore(rules, family)).join(''),
    down: families.map((family) => remove(rules, family)).join(''),
  };
}

/** The shell's variables that `names` sets. */
function program(family: Family): string {
  return family === 4 ? '"$iptables"' : '"$ip6tables"';
}

function restore(rules: readonly FirewallRule[], family: Family): string {
  return tablesOf(rules, family)
    .map(({ table, hooks }) =>
      restoreTable(family, table, [
        ...hooks.map((hook) => `:${CHAINS[hook].own} - [0:0]`),
        ...rules
          .filter((rule) => rule.family === family && hooks.includes(rule.hook))
          .map((rule) => `-A ${CHAINS[rule.hook].own} ${ruleText(rule)}`),
        ...hooks.map((hook) => `-I ${CHAINS[hook].from} 1 -j ${CHAINS[hook].own}`),
      ]),
    )
    .join('');
}

/** A table whose chains are not there stays as it is. */
function remove(rules: readonly FirewallRule[], family: Family): string {
  return tablesOf(rules, family)
    .map(({ table, hooks }) =>
      restoreTable(
        family,
        table,
        hooks.flatMap((hook) => {
          const { own, from } = CHAINS[hook];
          return [`-D ${from} -j ${own}`, `-F ${own}`, `-X ${own}`];
        }),
      ),
    )
    .join('');
}

/** All of it is done, or nothing. */
function restoreTable(family: Family, table: string, lines: readonly string[]): string {
  const input = [`*${table}`, ...lines, 'COMMIT'].join('\n');
  return `  ${program(family)}-restore --wait --noflush << 'END'\n${input}\nEND\n`;
}

function tablesOf(rules: readonly FirewallRule[], family: Family) {
  const used = HOOKS.filter((hook) => rules.some((rule) => rule.family === family && rule.hook === hook));
  return ['filter', 'nat'].flatMap((table) => {
    const hooks = used.filter((hook) => CHAINS[hook].table === table);
    return hooks.length === 0 ? [] : [{ table, hooks }];
  });
}

function ruleText(rule: FirewallRule): string {
  const { source, destination, from, to, clear, state, protocol, sourcePorts, destinationPorts } = rule;
  return [
    ...(source === undefined ? [] : ['-s', prefixText(source)]),
    ...(destination === undefined ? [] : ['-d', prefixText(destination)]),
    ...device('-i', from),
    ...device('-o', to),
    ...(protocol === undefined ? [] : ['-p', `${protocol}`]),
    ...ports('--sports', sourcePorts),
    ...ports('--dports', destinationPorts),
    ...(clear === undefined ? [] : ['-m', 'policy', '--dir', clear, '--pol', 'none']),
    ...(state === undefined ? [] : ['-m', 'conntrack', '--ctstate', STATES[state]]),
    '-j',
    ...verdict(rule),
  ].join(' ');
}

const STATES = { established: 'ESTABLISHED,RELATED', invalid: 'INVALID' } as const;

function device(option: '-i' | '-o', match: DeviceMatch | undefined): readonly string[] {
  if (match === undefined) return [];
  if (match === 'overlay') return [option, `${DEVICE}+`];
  return match === 'other' ? ['!', option, `${DEVICE}+`] : [option, match.name];
}

function ports(option: '--sports' | '--dports', ranges: readonly PortRange[] | undefined): readonly string[] {
  if (ranges === undefined) return [];
  return [
    '-m',
    'multiport',
    option,
    ranges.map(([low, high]) => (low === high ? `${low}` : `${low}:${high}`)).join(','),
  ];
}

function verdict({ verdict }: FirewallRule): readonly string[] {
  return typeof verdict === 'string'
    ? [verdict.toUpperCase()]
    : ['SNAT', '--to-source', verdict.sourceAddress];
}
