import type { Fact, LinkView } from './observation.ts';

/** The observers, in the order of the path. Links are watched by somebody outside, relays and D are the nodes themselves. */
export const OBSERVERS = ['S-A', 'A', 'A-B', 'B', 'B-C', 'C', 'C-D', 'D'] as const;
export const LINKS = ['S-A', 'A-B', 'B-C', 'C-D'] as const;
export const RELAYS = ['A', 'B', 'C'] as const;

export type Observer = (typeof OBSERVERS)[number];
export type LinkName = (typeof LINKS)[number];
export type RelayName = (typeof RELAYS)[number];

/**
 * Who may come to know what (4.5 and the anonymity claim of the paper). X is the exit address, S_A what A assigned, SPI 1
 * those of the first hop. What is not listed, such as a relay's key, nobody may see.
 */
const MAY_KNOW: Readonly<Record<string, readonly Observer[]>> = {
  S: ['S-A', 'A'],
  A: ['S-A', 'A', 'A-B', 'B'],
  B: ['A', 'A-B', 'B', 'B-C', 'C'],
  C: ['B', 'B-C', 'C', 'C-D', 'D'],
  X: ['C', 'C-D', 'D'],
  D: ['C', 'C-D', 'D'],
  S_A: ['A', 'B'],
  S_B: ['B', 'C'],
  S_C: ['C'],
  page: ['C', 'C-D', 'D'],
  'SPI 1': ['S-A', 'A'],
  'SPI 2': ['A', 'B'],
  'SPI 3': ['B', 'C'],
};

/** What must be seen of a link for its capture to count: without it, the silence of the rest proves nothing. */
const MUST_SEE: Readonly<Record<LinkName, readonly string[]>> = {
  'S-A': ['S', 'A', 'SPI 1'],
  'A-B': ['A', 'B'],
  'B-C': ['B', 'C'],
  'C-D': ['X', 'D', 'page'],
};

/** What one node came to know by itself, apart from its links: text in which addresses are looked up. */
export type NodeReports = Readonly<Partial<Record<RelayName | 'D', string>>>;

export interface Observations {
  readonly facts: readonly Fact[];
  readonly links: Readonly<Record<LinkName, LinkView>>;
  /** The relays' own states and D's log. */
  readonly nodes: NodeReports;
  /** Octets of the page: every link has carried at least as many. */
  readonly pageOctets: number;
}

/** Which facts each observer knows: a link by its frames, a node by its state and by the links that end at it. */
export type Knowledge = Readonly<Record<Observer, ReadonlySet<string>>>;

export function knowledgeOf(observations: Observations): Knowledge {
  const known = OBSERVERS.map((observer) => {
    const labels = isLink(observer)
      ? seenOn(observations, observer)
      : [
          ...LINKS.filter((link) => link.split('-').includes(observer)).flatMap((link) =>
            seenOn(observations, link),
          ),
          ...toldBy(observations, observer),
        ];
    return [observer, new Set(labels)];
  });
  return Object.fromEntries(known);
}

/** Everything that was seen where it should not be, and every reason to distrust what was not seen; empty if all is well. */
export function violationsOf(observations: Observations): string[] {
  return [
    ...LINKS.flatMap((link) => linkViolations(observations, link)),
    ...sharedSpis(observations),
    ...nodeViolations(observations),
  ];
}

function linkViolations({ facts, links, pageOctets }: Observations, link: LinkName): string[] {
  const view = links[link];
  const violations = view.sightings
    .filter(({ fact }) => !mayKnow(fact.label, link))
    .map(
      ({ fact, frame, offset }) =>
        `${fact.label} (${fact.text}) appears in clear on ${link}: frame ${frame}, octet ${offset}`,
    );
  const known = new Set(facts.map(({ text }) => text));
  for (const address of view.addresses) {
    if (!known.has(address)) violations.push(`${address}, which is nobody's, appears in a header on ${link}`);
  }
  for (const identity of view.identities) {
    violations.push(`the IKE identity ${identity} appears in clear on ${link}`);
  }
  const seen = view.sightings.map(({ fact }) => fact.label);
  for (const label of MUST_SEE[link]) {
    if (!seen.includes(label))
      violations.push(`the capture of ${link} is not whole: ${label} was not seen on it`);
  }
  if (view.octets < pageOctets) {
    violations.push(
      `the capture of ${link} is not whole: ${view.octets} octets, and the page has ${pageOctets}`,
    );
  }
  return violations;
}

/** An SPI that is seen on two links ties them together (T1). */
function sharedSpis({ links }: Observations): string[] {
  return LINKS.flatMap((link, index) =>
    LINKS.slice(index + 1).flatMap((other) =>
      links[link].spis
        .filter((spi) => links[other].spis.includes(spi))
        .map((spi) => `SPI ${spi} appears on ${link} and on ${other}`),
    ),
  );
}

function nodeViolations(observations: Observations): string[] {
  return ([...RELAYS, 'D'] as const).flatMap((node) =>
    toldBy(observations, node)
      .filter((label) => !mayKnow(label, node))
      .map((label) => `${label} is known to ${node}`),
  );
}

function mayKnow(label: string, observer: Observer): boolean {
  return MAY_KNOW[label]?.includes(observer) ?? false;
}

function seenOn({ links }: Observations, link: LinkName): string[] {
  return links[link].sightings.map(({ fact }) => fact.label);
}

/** The facts that a node's report names. */
function toldBy({ facts, nodes }: Observations, node: RelayName | 'D'): string[] {
  const report = nodes[node] ?? '';
  return facts.filter(({ words }) => words.some((word) => names(report, word))).map(({ label }) => label);
}

/** Whether a text has an address, number or name as a whole: 192.0.2.1 is not in 192.0.2.10. */
function names(text: string, word: string): boolean {
  const escaped = word.replace(/[.]/g, '\\.');
  return new RegExp(`(?<![0-9A-Za-z]|\\d\\.)${escaped}(?![0-9A-Za-z]|\\.\\d)`).test(text);
}

function isLink(observer: Observer): observer is LinkName {
  return (LINKS as readonly string[]).includes(observer);
}
