import type { DeviceMatch, FirewallRule } from '../firewall/rules.ts';
import { DropReason } from '../forward/drop-reason.ts';
import type { RelayConfig } from '../relay/config.ts';
import type { ExitConfig } from '../relay/exit-config.ts';
import { exitRules, type Rule, services } from '../relay/exit-rules.ts';
import { type Family, hostPrefix, type Prefix } from '../wire/address.ts';
import { type InnerFamily, type OverlayPlan, ofFamily } from './overlay-plan.ts';

type Overlay = InnerFamily & { readonly device: DeviceMatch };

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
  return [
    { ...sent, clear: 'in', verdict: { drop: DropReason.SPOOFED_SOURCE } },
    ...overlays.flatMap(({ peer, device }): Rule[] => {
      const towards = { ...sent, destination: hostPrefix(peer) };
      return [
        ...services({ ...towards, to: device }, 'destinationPorts'),
        { ...towards, verdict: { drop: DropReason.RELAY_SERVICES } },
      ];
    }),
    ...pools.map((destination): Rule => {
      const reason = destination === pool ? DropReason.OTHER_CLIENT : DropReason.PEER_POOL;
      return { ...sent, destination, verdict: { drop: reason } };
    }),
    ...exitRules(sent, family, exit),
    { ...received, clear: 'out', verdict: { drop: DropReason.NOT_FOR_US } },
    ...overlays.flatMap(({ peer, device }) =>
      services({ ...received, source: hostPrefix(peer), from: device }, 'sourcePorts'),
    ),
    ...(exit === undefined
      ? []
      : [{ ...received, from: 'other', state: 'established', verdict: 'accept' } as const]),
    { ...received, verdict: { drop: DropReason.NOT_FOR_US } },
    { hook: 'input', source: pool, verdict: { drop: DropReason.OWN_SERVICES } },
    { hook: 'output', destination: pool, clear: 'out', verdict: { drop: DropReason.NOT_FOR_US } },
    ...(exit === undefined
      ? []
      : [
          {
            hook: 'nat',
            source: pool,
            to: 'other',
            clear: 'out',
            verdict: { translate: ofFamily(exit.addresses, family) },
          } as const,
        ]),
  ];
}

/** Nothing is forwarded out of an overlay or into one but what clients of ours send and get. */
function overlayRules(overlays: readonly Overlay[]): readonly Rule[] {
  const notForUs = { drop: DropReason.NOT_FOR_US };
  const ownServices = { drop: DropReason.OWN_SERVICES };
  return [
    ...overlays.flatMap(({ own, peerPool, device }): Rule[] =>
      peerPool === undefined
        ? []
        : [
            { hook: 'forward', source: peerPool, verdict: notForUs },
            { hook: 'forward', destination: peerPool, verdict: notForUs },
            ...services(
              { hook: 'input', source: peerPool, destination: hostPrefix(own), from: device },
              'destinationPorts',
            ),
            { hook: 'input', source: peerPool, verdict: ownServices },
            { hook: 'output', destination: peerPool, to: device, verdict: 'accept' },
            { hook: 'output', destination: peerPool, verdict: notForUs },
          ],
    ),
    ...(overlays.length === 0
      ? []
      : ([
          { hook: 'forward', from: 'ours', verdict: notForUs },
          { hook: 'forward', to: 'ours', verdict: notForUs },
          { hook: 'input', from: 'ours', verdict: ownServices },
        ] as const)),
  ];
}
