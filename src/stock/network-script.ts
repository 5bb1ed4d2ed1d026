import { isPrivate } from '../descriptor/outer-family.ts';
import { iptablesRemoval, iptablesText } from '../firewall/iptables.ts';
import { nftablesText } from '../firewall/nftables.ts';
import type { FirewallRule } from '../firewall/rules.ts';
import type { RelayConfig } from '../relay/config.ts';
import { type Family, prefixText } from '../wire/address.ts';
import { firewallRules } from './firewall.ts';
import { DEVICE, type OverlayPlan, ofFamily } from './overlay-plan.ts';

/** The packet filter that a router has. */
export const FIREWALLS = ['nftables', 'iptables'] as const;
export type Firewall = (typeof FIREWALLS)[number];

/** Our routing table, and the preference of the rule that leads to it. */
const TABLE = 7296;

const FORWARDING: Readonly<Record<Family, string>> = {
  4: '/proc/sys/net/ipv4/ip_forward',
  6: '/proc/sys/net/ipv6/conf/all/forwarding',
};

/** A packet filter as parts of a shell script: variables that it sets first, commands that put it in place, and that take it away. */
interface FilterCommands {
  readonly names: string;
  readonly up: string;
  readonly down: string;
}

const FILTERS: Readonly<Record<Firewall, (rules: readonly FirewallRule[]) => FilterCommands>> = {
  nftables(rules) {
    const name = 'ike_telescope';
    return {
      names: '',
      up: `  nft -f - << 'END'\n${nftablesText({ name, devices: DEVICE, rules })}END\n`,
      down: `  nft delete table inet ${name}\n`,
    };
  },
  iptables(rules) {
    const set = { name: 'ike-telescope', devices: DEVICE, rules };
    const families = (
      [
        [4, '"$iptables"'],
        [6, '"$ip6tables"'],
      ] as const
    ).filter(([family]) => rules.some((rule) => rule.family === family));
    const restore = (program: string, text: string) =>
      `  ${program}-restore --wait --noflush << 'END'\n${text}END\n`;
    const up = families.map(([family, program]) => restore(program, iptablesText(set, family)));
    const down = families.flatMap(([family, program]) =>
      iptablesRemoval(set, family).map((text) => restore(program, text)),
    );
    return {
      names: `iptables=\${IPTABLES:-iptables} ip6tables=\${IP6TABLES:-ip6tables} # also iptables-legacy or iptables-nft\n`,
      up: up.join(''),
      down: down.join(''),
    };
  },
};

/**
 * A shell script that makes the devices, routes and packet filter of a relay ("up") and takes them away again ("down"). The
 * filter comes first and goes last.
 */
export function networkScript(
  config: RelayConfig,
  overlays: readonly OverlayPlan[],
  firewall: Firewall,
): string {
  const { own } = config;
  const filter = FILTERS[firewall](firewallRules(config, overlays));
  const pools = ([4, 6] as const).flatMap((family) => {
    const pool = ofFamily(own.pools, family);
    return pool === undefined ? [] : [{ family, pool: prefixText(pool) }];
  });
  const families = [
    ...new Set([...pools, ...overlays.flatMap(({ inner }) => inner)].map(({ family }) => family)),
  ];
  return `#!/bin/sh
# The network of relay ${own.name}: overlay devices, routes, packet filter. Made by "ike-telescope relay-config"; needs root, iproute2 and
# ${firewall}. Say "up" before the daemon starts, and "down" after it has ended. A relay needs a default route.
set -u
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
forwarding=/run/ike-telescope-${own.name}.forwarding # what was switched on, and is to be switched off
${filter.names}
up() {
${filter.up}${overlays.map((overlay) => deviceUp(overlay, own.overlayMtu)).join('')}${
  overlays.length === 0 ? '' : pools.map(({ family, pool }) => ruleCommand(family, 'add', pool)).join('')
}  for switch in ${families.map((family) => FORWARDING[family]).join(' ')}; do
    [ "$(cat $switch)" = 1 ] || { echo $switch >> $forwarding; echo 1 > $switch; }
  done
}

down() {
  [ ! -e $forwarding ] || while read -r switch; do echo 0 > "$switch"; done < $forwarding
  rm -f $forwarding
${overlays.length === 0 ? '' : pools.map(({ family, pool }) => ruleCommand(family, 'del', pool)).join('')}${overlays
  .map(({ device }) => `  ip link del ${device}\n`)
  .join('')}${filter.down}}

case \${1-} in
up)
  down 2> /dev/null
  trap 'set +e; down 2> /dev/null; echo "$0: nothing of it is left up" >&2' EXIT
  set -e
  up
  trap - EXIT
  ;;
down) down 2> /dev/null || true ;;
*) echo "usage: $0 up|down" >&2; exit 2 ;;
esac
`;
}

/**
 * Two routes make an overlay: what goes to an address that the peer has assigned; and what goes to the peer from an address that
 * we have assigned. Our own packets to the peer, such as the overlay's IKE and ESP, stay outside, unless they are
 * to an address that is known inside only.
 */
function deviceUp({ peer, device, mark, family, local, remote, inner }: OverlayPlan, mtu: number): string {
  const type = family === 4 ? 'vti' : 'vti6';
  return [
    `# ${peer}`,
    `ip link add ${device} type ${type} local ${local} remote ${remote} key ${mark}`,
    `ip link set ${device} mtu ${mtu} up`,
    ...inner.flatMap((each) => [
      ...(each.peerPool === undefined
        ? []
        : [`ip -${each.family} route add ${prefixText(each.peerPool)} dev ${device} src ${each.own}`]),
      `ip -${each.family} route add ${each.peer} dev ${device} table ${TABLE}`,
      ...(each.family === family || !isPrivate(each.peer)
        ? []
        : [`ip -${each.family} route add ${each.peer} dev ${device} src ${each.own}`]),
    ]),
  ]
    .map((line) => `  ${line}\n`)
    .join('');
}

function ruleCommand(family: Family, verb: 'add' | 'del', pool: string): string {
  return `  ip -${family} rule ${verb} pref ${TABLE} from ${pool} lookup ${TABLE}\n`;
}
