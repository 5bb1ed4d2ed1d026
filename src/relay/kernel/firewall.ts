import { DropReason } from '../../forward/drop-reason.ts';
import type { ExitPolicy } from '../../forward/exit-policy.ts';
import { ICMP } from '../../forward/icmp.ts';
import { specialRanges } from '../../forward/special-ranges.ts';
import { type Address, type Family, hostPrefix, type Prefix } from '../../wire/address.ts';
import { IpProtocol } from '../../wire/ip.ts';
import type { ExitConfig } from '../exit-config.ts';
import { type InnerFamily, type Layout, ofFamily } from './layout.ts';

/** Where a rule is asked: packets that pass through, for the host itself, of the host itself, on their way out. */
export type Hook = 'forward' | 'input' | 'output' | 'nat';

/** One of our devices by its name, any of ours, or any other device. */
export type DeviceMatch = { readonly name: string } | 'ours' | 'other';

/** First and last. */
export type PortRange = readonly [number, number];

/** One rule; what is absent matches everything. The first that matches decides; what none matches is not ours. */
export interface FirewallRule {
  readonly hook: Hook;
  readonly family: Family;
  readonly from?: DeviceMatch;
  readonly to?: DeviceMatch;
  readonly source?: Prefix;
  readonly destination?: Prefix;
  /** Number of the IP protocol. */
  readonly protocol?: number;
  /** Of UDP or TCP. */
  readonly sourcePort?: PortRange;
  readonly destinationPort?: PortRange;
  readonly icmpType?: number;
  /** Of its connection. */
  readonly state?: 'established' | 'invalid';
  readonly verdict:
    | 'accept'
    | { readonly drop: DropReason }
    /** To an address of the host's, or to this one. */
    | { readonly translate: Address | undefined };
}

type Rule = Omit<FirewallRule, 'family'>;
type Overlay = InnerFamily & { readonly device: string };

/** IKE, and IKE and ESP in UDP (RFC 3948). */
const SERVICE_PORTS: readonly PortRange[] = [
  [500, 500],
  [4500, 4500],
];

/**
 * The decisions of `forward/decision.ts` as rules of a packet filter. The devices have opened every packet that comes out of them, and
 * have seen that its source is what the selectors of its SA say.
 */
export function firewallRules(layout: Layout, exit: ExitConfig | undefined): readonly FirewallRule[] {
  return layout.own.flatMap(({ family, pool }) => {
    const overlays = layout.overlays.flatMap(({ name, inner }) =>
      inner.filter((each) => each.family === family).map((each): Overlay => ({ ...each, device: name })),
    );
    const pools = [pool, ...overlays.map((overlay) => overlay.pool)].filter((each) => each !== undefined);
    const clients = pool === undefined ? [] : layout.clients.map(({ name }) => name);
    const rules = [
      ...pools.flatMap((source) => spoofed(source)),
      ...clients.flatMap((device) => fromClients({ device, pool: pool!, pools, overlays, family, exit })),
      ...overlays.flatMap((overlay) => overlayRules(overlay, clients, pool)),
      ...(exit === undefined || pool === undefined ? [] : exitReturns(pool)),
      ...closing(),
      ...(exit === undefined || pool === undefined ? [] : [translation(pool, family, exit)]),
    ];
    return rules.map((rule) => ({ ...rule, family }));
  });
}

/** An address of a pool that has come outside of its tunnels. */
function spoofed(source: Prefix): readonly Rule[] {
  const verdict = { drop: DropReason.SPOOFED_SOURCE } as const;
  return [
    { hook: 'forward', from: 'other', source, verdict },
    { hook: 'input', from: 'other', source, verdict },
  ];
}

function fromClients({
  device,
  pool,
  pools,
  overlays,
  family,
  exit,
}: {
  readonly device: string;
  readonly pool: Prefix;
  readonly pools: readonly Prefix[];
  readonly overlays: readonly Overlay[];
  readonly family: Family;
  readonly exit: ExitConfig | undefined;
}): readonly Rule[] {
  const sent = { hook: 'forward', from: { name: device }, source: pool } as const;
  return [
    ...overlays.flatMap((overlay): Rule[] => {
      const towards = { ...sent, destination: hostPrefix(overlay.address) };
      return [
        ...services({ ...towards, to: { name: overlay.device } }, 'destinationPort'),
        { ...towards, verdict: { drop: DropReason.RELAY_SERVICES } },
      ];
    }),
    ...pools.map((destination): Rule => {
      const reason = destination === pool ? DropReason.OTHER_CLIENT : DropReason.PEER_POOL;
      return { ...sent, destination, verdict: { drop: reason } };
    }),
    ...specialRanges(family).map(
      (destination): Rule => ({ ...sent, destination, verdict: { drop: DropReason.PRIVATE_RANGE } }),
    ),
    ...(exit === undefined ? [] : exitRules(sent, family, exit.policy)),
    { ...sent, verdict: { drop: exit === undefined ? DropReason.NOT_AN_EXIT : DropReason.EXIT_POLICY } },
    { hook: 'input', from: { name: device }, verdict: { drop: DropReason.OWN_SERVICES } },
  ];
}

function exitRules(sent: Omit<Rule, 'verdict'>, family: Family, policy: ExitPolicy): readonly Rule[] {
  const carried: readonly number[] = [IpProtocol.TCP, IpProtocol.UDP, ICMP[family].protocol];
  const out = { ...sent, to: 'other' } as const;
  return [
    { ...sent, state: 'invalid', verdict: { drop: DropReason.UNSUPPORTED_ICMP } },
    ...policy.rules
      .filter(({ prefix }) => prefix === undefined || prefix.family === family)
      .flatMap(({ accept, prefix, protocols = carried, ports = [undefined] }) =>
        protocols
          .filter((protocol) => carried.includes(protocol))
          .flatMap((protocol) =>
            ports.map((destinationPort): Rule => {
              const verdict = accept ? 'accept' : { drop: DropReason.EXIT_POLICY };
              return { ...out, destination: prefix, protocol, destinationPort, verdict };
            }),
          ),
      ),
  ];
}

/** What comes out of the overlay of a peer, and what we say to its clients. */
function overlayRules(
  { device, own, address, pool: peerPool, family }: Overlay,
  clients: readonly string[],
  pool: Prefix | undefined,
): readonly Rule[] {
  const from = { name: device };
  const self = hostPrefix(own);
  const toOthers = { hook: 'output', to: 'other', destination: hostPrefix(address) } as const;
  return [
    ...clients.flatMap((client) =>
      services(
        { hook: 'forward', from, to: { name: client }, source: hostPrefix(address), destination: pool },
        'sourcePort',
      ),
    ),
    ...(peerPool === undefined
      ? []
      : [
          ...services({ hook: 'input', from, source: peerPool, destination: self }, 'destinationPort'),
          ...services({ hook: 'output', to: from, source: self, destination: peerPool }, 'sourcePort'),
          {
            hook: 'output',
            to: 'other',
            destination: peerPool,
            verdict: { drop: DropReason.NOT_FOR_US },
          } as const,
        ]),
    { hook: 'forward', from, verdict: { drop: DropReason.NOT_FOR_US } },
    { hook: 'input', from, verdict: { drop: DropReason.OWN_SERVICES } },
    // The kernel's complaints about packets of overlays and clients quote them, in clear.
    ...ICMP[family].errors.map(
      (icmpType): Rule => ({
        ...toOthers,
        protocol: ICMP[family].protocol,
        icmpType,
        verdict: { drop: DropReason.UNSUPPORTED_ICMP },
      }),
    ),
  ];
}

/** The services that relays have for the clients of others: ESP, and IKE on the ports of one end. */
function services(match: Omit<Rule, 'verdict'>, end: 'sourcePort' | 'destinationPort'): readonly Rule[] {
  return [
    { ...match, protocol: IpProtocol.ESP, verdict: 'accept' },
    ...SERVICE_PORTS.map(
      (ports): Rule => ({ ...match, protocol: IpProtocol.UDP, [end]: ports, verdict: 'accept' }),
    ),
  ];
}

function exitReturns(destination: Prefix): readonly Rule[] {
  return [
    { hook: 'forward', from: 'other', to: 'ours', destination, state: 'established', verdict: 'accept' },
  ];
}

/** Nothing else goes into our devices. */
function closing(): readonly Rule[] {
  const verdict = { drop: DropReason.NOT_FOR_US } as const;
  return [
    { hook: 'forward', from: 'ours', verdict },
    { hook: 'forward', to: 'ours', verdict },
    { hook: 'input', from: 'ours', verdict },
    { hook: 'output', to: 'ours', verdict },
  ];
}

function translation(source: Prefix, family: Family, { addresses }: ExitConfig): Rule {
  return { hook: 'nat', to: 'other', source, verdict: { translate: ofFamily(addresses, family) } };
}
