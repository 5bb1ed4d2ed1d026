import type { FirewallRule } from '../../firewall/rules.ts';
import { DropReason } from '../../forward/drop-reason.ts';
import { ICMP } from '../../forward/icmp.ts';
import { type Family, hostPrefix, type Prefix } from '../../wire/address.ts';
import type { ExitConfig } from '../exit-config.ts';
import { exitRules, type Rule, services } from '../exit-rules.ts';
import { type InnerFamily, type Layout, ofFamily } from './layout.ts';

type Overlay = InnerFamily & { readonly device: string };

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
      ...pools.flatMap(outside),
      ...clients.flatMap((device) => fromClients({ device, pool: pool!, pools, overlays, family, exit })),
      ...overlays.flatMap((overlay) => overlayRules(overlay, clients, pool)),
      ...(exit === undefined || pool === undefined ? [] : exitReturns(pool)),
      ...closing(),
      ...(exit === undefined || pool === undefined ? [] : [translation(pool, family, exit)]),
    ];
    return rules.map((rule) => ({ ...rule, family }));
  });
}

/** An address of a pool has come outside of its tunnels, or would leave so. */
function outside(pool: Prefix): readonly Rule[] {
  const spoofed = { from: 'other', source: pool, verdict: { drop: DropReason.SPOOFED_SOURCE } } as const;
  const astray = { to: 'other', destination: pool, verdict: { drop: DropReason.NOT_FOR_US } } as const;
  return [
    { hook: 'forward', ...spoofed },
    { hook: 'input', ...spoofed },
    { hook: 'forward', ...astray },
    { hook: 'output', ...astray },
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
        ...services({ ...towards, to: { name: overlay.device } }, 'destinationPorts'),
        { ...towards, verdict: { drop: DropReason.RELAY_SERVICES } },
      ];
    }),
    ...pools.map((destination): Rule => {
      const reason = destination === pool ? DropReason.OTHER_CLIENT : DropReason.PEER_POOL;
      return { ...sent, destination, verdict: { drop: reason } };
    }),
    ...exitRules(sent, family, exit),
    { hook: 'input', from: { name: device }, verdict: { drop: DropReason.OWN_SERVICES } },
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
        'sourcePorts',
      ),
    ),
    ...(peerPool === undefined
      ? []
      : [
          ...services({ hook: 'input', from, source: peerPool, destination: self }, 'destinationPorts'),
          ...services({ hook: 'output', to: from, source: self, destination: peerPool }, 'sourcePorts'),
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
