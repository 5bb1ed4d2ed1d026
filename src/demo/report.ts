import type { RelayState } from '../relay/relay.ts';
import type { DemoResult } from './demo.ts';
import { type Knowledge, LINKS, type LinkName, OBSERVERS, RELAYS, type RelayName } from './knowledge.ts';
import { type Fact, type LinkView, spiText } from './observation.ts';

/** The table *who saw what*: a row for each fact, a column for each observer. */
export function knowledgeTable(facts: readonly Fact[], knowledge: Knowledge): string {
  const table = aligned([
    ['', '', ...OBSERVERS],
    ...facts.map(({ label, text }) => [
      label,
      text,
      ...OBSERVERS.map((observer) => (knowledge[observer].has(label) ? 'yes' : '-')),
    ]),
  ]);
  return `${table}\n${LEGEND}`;
}

const LEGEND = `
X is C's exit address; S_A, S_B and S_C are what A, B and C assigned. A link's column is what it carries in clear; a
node's is what its own state says and what is in clear on its links.`;

/** What else is in clear on each link. */
export function linkTable(links: Readonly<Record<LinkName, LinkView>>): string {
  return aligned(
    LINKS.map((link) => {
      const { spis, services, identities, frames, octets } = links[link];
      return [
        link,
        `${frames} frames, ${(octets / 1e6).toFixed(2)} MB`,
        `ESP SPIs: ${spis.join(' ') || 'none'}`,
        `ports: ${services.join(' ') || 'none'}`,
        `IKE identities: ${identities.join(' ') || 'none'}`,
      ];
    }),
  );
}

/** What each relay says of its client and of its overlay tunnels. */
export function relayTable(states: Readonly<Record<RelayName, RelayState>>): string {
  return aligned(
    RELAYS.map((name) => {
      const { clients, overlays } = states[name];
      return [
        name,
        clients
          .map(({ address, overlayPeer, assigned, spiIn, spiOut }) => {
            const through = overlayPeer === undefined ? '' : ` through ${overlayPeer}`;
            return `client ${address}${through}, assigned ${assigned.ip4}, SPIs ${spiText(spiIn)} ${spiText(spiOut)}`;
          })
          .join('; '),
        `overlay to ${overlays.map(({ peer }) => peer).join(' and ')}`,
      ];
    }),
  );
}

/** Columns padded to the same width, two spaces apart. */
function aligned(rows: readonly (readonly string[])[]): string {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column]))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** What the demo has shown, or has not. */
export function conclusion({ ok, violations }: Pick<DemoResult, 'ok' | 'violations'>): string {
  if (!ok) return `The demo has FAILED:\n${violations.map((violation) => `  - ${violation}`).join('\n')}`;
  return (
    'The page came through three relays. S appears on its own link and at A only, D at C and behind it only, and no\n' +
    'assigned address in clear on any link: A knows who asks but not for what, C knows what but not who, and B neither.\n' +
    'Not shown: that nobody can match the traffic of S-A and C-D by its times and volumes. A telescope does not prevent that.'
  );
}
