import type { ExitRule } from '../forward/exit-policy.ts';
import { ICMP } from '../forward/icmp.ts';
import { specialRanges } from '../forward/special-ranges.ts';
import type { RelayConfig } from '../relay/config.ts';
import type { ExitConfig } from '../relay/exit-config.ts';
import { type Address, type Family, hostPrefix, type Prefix } from '../wire/address.ts';
import { IpProtocol } from '../wire/ip.ts';
import { type InnerFamily, type OverlayPlan, ofFamily } from './overlay-plan.ts';

/** Where a rule is asked: packets that pass through, for the router itself, of the router itself, about to leave. */
export type Hook = 'forward' | 'input' | 'output' | 'nat';

/** A device by its name, any overlay, or any other device. */
export type DeviceMatch = { readonly name: string } | 'overlay' | 'other';

/** First and last. */
export type PortRange = readonly [number, number];

/** One rule; what is absent matches everything. The first that matches decides, and what none matches is not ours. */
export interface FirewallRule {
  readonly hook: Hook;
  readonly family: Family;
  readonly source?: Prefix;
  readonly destination?: Prefix;
  readonly from?: DeviceMatch;
  readonly to?: DeviceMatch;
  /** It has come without IPsec, or would leave without. */
  readonly clear?: 'in' | 'out';
  /** Of its connection. */
  readonly state?: 'established' | 'invalid';
  /** Number of the IP protocol. */
  readonly protocol?: number;
  /** Of UDP or TCP. */
  readonly sourcePorts?: readonly PortRange[];
  readonly destinationPorts?: readonly PortRange[];
  readonly verdict: 'accept' | 'drop' | 'masquerade' | { readonly sourceAddress: Address };
}

/** Rules as a shell script's: variables that it sets first, commands that put them in place, and that take them away. */
export interface PacketFilter {
  readonly names: string;
  readonly up: string;
  readonly down: string;
}

type Rule = Omit<FirewallRule, 'family'>;
type Overlay = InnerFamily & { readonly device: DeviceMatch };

/** IKE, and IKE and ESP in UDP (RFC 3948). */
const SERVICE_PORTS: readonly PortRange[] = [
  [500, 500],
  [4500, 4500],
];

/** As many as a rule of iptables takes, in ranges. */
const MAX_RANGES = 7;

/**
 * What a relay's kernel does with the packets of clients and overlays: the decisions of our own relay
 * (`forward/decision.ts`), as far as a packet filter can make them.
 */
export function firewallRules(
  { own, exit }: RelayConfig,
  overlays: readonly OverlayPlan[],
): readonly FirewallRule[] {
  return ([4, 6] as const).flatMap((family) => {
    const pool = ofFamily(own.pools, family);
    const here = overlays.flatMap(({ device, inner }): Overlay[] =>
      inner.filter((each) => each.family === family).map((each) => ({ ...each, device: { name: device } })),
    );
    const clients = pool === undefined ? [] : clientRules(pool, here, family, exit);
    return [...clients, ...overlayRules(here)].map((rule) => ({ ...rule, family }));
  });
}

function clientRules(
  pool: Prefix,
  overlays: readonly Overlay[],
  family: Family,
  exit: ExitConfig | undefined,
): readonly Rule[] {
  const sent = { hook: 'forward', source: pool } as const;
  const received = { hook: 'forward', destination: pool } as const;
  const pools = [pool, ...overlays.flatMap(({ peerPool = [] }) => peerPool)];
  const translated = exit && (ofFamily(exit.addresses, family) ?? 'masquerade');
  return [
    { ...sent, clear: 'in', verdict: 'drop' },
    ...overlays.flatMap(({ peer, device }): Rule[] => [
      ...services({ ...sent, destination: hostPrefix(peer), to: device }, 'destinationPorts'),
      { ...sent, destination: hostPrefix(peer), verdict: 'drop' },
    ]),
    ...pools.map((destination): Rule => ({ ...sent, destination, verdict: 'drop' })),
    ...(exit === undefined ? [] : exitRules(sent, family, exit.policy.rules)),
    { ...sent, verdict: 'drop' },
    { ...received, clear: 'out', verdict: 'drop' },
    ...overlays.flatMap(({ peer, device }) =>
      services({ ...received, source: hostPrefix(peer), from: device }, 'sourcePorts'),
    ),
    ...(exit === undefined
      ? []
      : [{ ...received, from: 'other', state: 'established', verdict: 'accept' } as const]),
    { ...received, verdict: 'drop' },
    { hook: 'input', source: pool, verdict: 'drop' },
    { hook: 'output', destination: pool, clear: 'out', verdict: 'drop' },
    ...(translated === undefined
      ? []
      : [
          {
            hook: 'nat',
            source: pool,
            to: 'other',
            clear: 'out',
            verdict: translated === 'masquerade' ? translated : { sourceAddress: translated },
          } as const,
        ]),
  ];
}

/** Nothing is forwarded out of an overlay or into one but what clients of ours send and get. */
function overlayRules(overlays: readonly Overlay[]): readonly Rule[] {
  return [
    ...overlays.flatMap(({ own, peerPool, device }): Rule[] =>
      peerPool === undefined
        ? []
        : [
            { hook: 'forward', source: peerPool, verdict: 'drop' },
            { hook: 'forward', destination: peerPool, verdict: 'drop' },
            ...services(
              { hook: 'input', source: peerPool, destination: hostPrefix(own), from: device },
              'destinationPorts',
            ),
            { hook: 'input', source: peerPool, verdict: 'drop' },
            { hook: 'output', destination: peerPool, to: device, verdict: 'accept' },
            { hook: 'output', destination: peerPool, verdict: 'drop' },
          ],
    ),
    ...(overlays.length === 0
      ? []
      : ([
          { hook: 'forward', from: 'overlay', verdict: 'drop' },
          { hook: 'forward', to: 'overlay', verdict: 'drop' },
          { hook: 'input', from: 'overlay', verdict: 'drop' },
        ] as const)),
  ];
}

/** The services that relays have for the clients of others: ESP, and IKE on the ports of one end. */
function services(match: Omit<Rule, 'verdict'>, end: 'sourcePorts' | 'destinationPorts'): readonly Rule[] {
  return [
    { ...match, protocol: IpProtocol.ESP, verdict: 'accept' },
    { ...match, protocol: IpProtocol.UDP, [end]: SERVICE_PORTS, verdict: 'accept' },
  ];
}

function exitRules(
  sent: Omit<Rule, 'verdict'>,
  family: Family,
  policy: readonly ExitRule[],
): readonly Rule[] {
  const carried: readonly number[] = [IpProtocol.TCP, IpProtocol.UDP, ICMP[family].protocol];
  return [
    ...specialRanges(family).map((destination): Rule => ({ ...sent, destination, verdict: 'drop' })),
    { ...sent, state: 'invalid', verdict: 'drop' },
    ...policy
      .filter(({ prefix }) => prefix === undefined || prefix.family === family)
      .flatMap(({ accept, prefix, protocols = carried, ports }) => {
        const match = {
          ...sent,
          destination: prefix,
          to: 'other',
          verdict: accept ? 'accept' : 'drop',
        } as const;
        return protocols
          .filter((protocol) => carried.includes(protocol))
          .flatMap((protocol): Rule[] =>
            ports === undefined
              ? [{ ...match, protocol }]
              : chunks(ports).map((destinationPorts) => ({ ...match, protocol, destinationPorts })),
          );
      }),
  ];
}

function chunks(ports: readonly PortRange[]): readonly (readonly PortRange[])[] {
  const count = Math.ceil(ports.length / MAX_RANGES);
  return Array.from({ length: count }, (_, i) => ports.slice(i * MAX_RANGES, (i + 1) * MAX_RANGES));
}
