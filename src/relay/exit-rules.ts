import type { FirewallRule, PortRange } from '../firewall/rules.ts';
import { DropReason } from '../forward/drop-reason.ts';
import { ICMP } from '../forward/icmp.ts';
import { specialRanges } from '../forward/special-ranges.ts';
import type { Family } from '../wire/address.ts';
import { IpProtocol } from '../wire/ip.ts';
import type { ExitConfig } from './exit-config.ts';

/** What a packet filter's rules of a relay have in common, whoever carries its packets. */

/** A rule of either family. */
export type Rule = Omit<FirewallRule, 'family'>;

/** Which packets a rule is for. */
export type Match = Omit<Rule, 'verdict'>;

/** IKE, and IKE and ESP in UDP (RFC 3948). */
const SERVICE_PORTS: readonly PortRange[] = [
  [500, 500],
  [4500, 4500],
];

/** The services that relays have for the clients of others: ESP, and IKE on the ports of one end. */
export function services(match: Match, end: 'sourcePorts' | 'destinationPorts'): readonly Rule[] {
  return [
    { ...match, protocol: IpProtocol.ESP, verdict: 'accept' },
    { ...match, protocol: IpProtocol.UDP, [end]: SERVICE_PORTS, verdict: 'accept' },
  ];
}

/** What becomes of clients' packets to the Internet. @param sent - those packets */
export function exitRules(sent: Match, family: Family, exit: ExitConfig | undefined): readonly Rule[] {
  if (exit === undefined) return [{ ...sent, verdict: { drop: DropReason.NOT_AN_EXIT } }];
  return [
    ...specialRanges(family).map(
      (destination): Rule => ({ ...sent, destination, verdict: { drop: DropReason.PRIVATE_RANGE } }),
    ),
    { ...sent, state: 'invalid', verdict: { drop: DropReason.UNSUPPORTED_ICMP } },
    ...policyRules(sent, family, exit),
    { ...sent, verdict: { drop: DropReason.EXIT_POLICY } },
  ];
}

function policyRules(sent: Match, family: Family, { policy }: ExitConfig): readonly Rule[] {
  const carried: readonly number[] = [IpProtocol.TCP, IpProtocol.UDP, ICMP[family].protocol];
  const out = { ...sent, to: 'other' } as const;
  return policy.rules
    .filter(({ prefix }) => prefix === undefined || prefix.family === family)
    .flatMap(({ accept, prefix, protocols = carried, ports }) =>
      protocols
        .filter((protocol) => carried.includes(protocol))
        .map((protocol): Rule => {
          const verdict = accept ? 'accept' : { drop: DropReason.EXIT_POLICY };
          return { ...out, destination: prefix, protocol, destinationPorts: ports, verdict };
        }),
    );
}
