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
  const tables = ['filter', 'nat'].flatMap((table) => {
    const hooks = usedHooks(rules, family).filter((hook) => CHAINS[hook].table === table);
    if (hooks.length === 0) return [];
    return [
      `*${table}`,
      ...hooks.map((hook) => `:${CHAINS[hook].own} - [0:0]`),
      ...rules
        .filter((rule) => rule.family === family && hooks.includes(rule.hook))
        .map((rule) => `-A ${CHAINS[rule.hook].own} ${ruleText(rule)}`),
      ...hooks.map((hook) => `-I ${CHAINS[hook].from} 1 -j ${CHAINS[hook].own}`),
      'COMMIT',
    ];
  });
  return `  ${program(family)}-restore --wait --noflush << 'END'\n${tables.join('\n')}\nEND\n`;
}

function remove(rules: readonly FirewallRule[], family: Family): string {
  return usedHooks(rules, family)
    .map((hook) => {
      const { own, from, table } = CHAINS[hook];
      const command = `  ${program(family)} -w -t ${table}`;
      return `${command} -D ${from} -j ${own}\n${command} -F ${own}\n${command} -X ${own}\n`;
    })
    .join('');
}

function usedHooks(rules: readonly FirewallRule[], family: Family): readonly Hook[] {
  return HOOKS.filter((hook) => rules.some((rule) => rule.family === family && rule.hook === hook));
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
