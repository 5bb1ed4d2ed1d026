import type { Metric } from '../control/metrics.ts';
import type { Relay } from './relay.ts';

const PREFIX = 'ike_telescope_relay';

/** What Prometheus is told of a relay: sums only, and neither an address nor a name. @param version - of this program */
export function relayMetrics(relay: Relay, version: string): readonly Metric[] {
  const { clients, overlays, ikeSas, halfOpen, handshakes, traffic, drops, exitProblem } = relay.state();
  const { backend, exit } = relay.config;
  const up = overlays.filter((overlay) => overlay.up !== undefined).length;
  const directions = ['in', 'out'] as const;
  const carried = (unit: 'octets' | 'packets') =>
    (['clients', 'overlays'] as const).flatMap((tunnels) =>
      directions.map((direction) => ({
        labels: { tunnels, direction },
        value: traffic[tunnels][`${unit}${direction === 'in' ? 'In' : 'Out'}`],
      })),
    );
  const gauge = (name: string, help: string, value: number): Metric => ({
    name: `${PREFIX}_${name}`,
    type: 'gauge',
    help,
    values: [{ value }],
  });
  const counter = (name: string, help: string, values: Metric['values']): Metric => ({
    name: `${PREFIX}_${name}_total`,
    type: 'counter',
    help,
    values,
  });
  const by = (label: string, counts: Readonly<Record<string, number>>) =>
    Object.entries(counts).map(([name, value]) => ({ labels: { [label]: name }, value }));
  return [
    {
      ...gauge('build_info', 'Version of the program and data plane.', 1),
      values: [{ labels: { version, backend }, value: 1 }],
    },
    gauge('clients', 'Clients with an address.', clients.length),
    gauge('half_open', 'IKE SAs that others are setting up.', halfOpen),
    gauge('ike_sas', 'IKE SAs, half-open ones included.', ikeSas),
    {
      ...gauge('overlays', 'Overlay tunnels to listed relays.', 0),
      values: by('state', { up, down: overlays.length - up }),
    },
    gauge(
      'exit_up',
      'Whether clients reach the Internet from here.',
      exit && exitProblem === undefined ? 1 : 0,
    ),
    counter('handshakes', 'IKE_SA_INIT requests by what came of them.', by('result', { ...handshakes })),
    counter('octets', 'Octets of inner packets.', carried('octets')),
    counter('packets', 'Inner packets.', carried('packets')),
    counter('drops', 'Packets dropped, by reason.', by('reason', drops)),
  ];
}
