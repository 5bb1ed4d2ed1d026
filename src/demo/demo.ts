import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ClientEvent } from '../client/protocol.ts';
import type { Native } from '../native/native.ts';
import type { RelayState } from '../relay/relay.ts';
import { LinkType, pcapngFile } from '../transport/pcap.ts';
import { utf8 } from '../wire/bytes.ts';
import { abortion } from './abortion.ts';
import { captureLink, type LinkCapture } from './capture.ts';
import { type ClientRun, fetchThroughTelescope, type HopEvent } from './client-process.ts';
import { type HopReport, hopLine } from './hop-report.ts';
import {
  knowledgeOf,
  LINKS,
  type LinkName,
  type Observations,
  RELAYS,
  type RelayName,
  violationsOf,
} from './knowledge.ts';
import { addressFact, type Fact, type LinkView, observeLink, spiFact } from './observation.ts';
import { type PageServer, startPageServer } from './page-server-process.ts';
import { conclusion, knowledgeTable, linkTable, relayTable } from './report.ts';
import { ADDRESSES, interfaceName, NODES, type NodeName, openTopology, type Topology } from './topology.ts';

const PAGE_OCTETS = 1_048_576;

export interface FetchReport {
  readonly status: number;
  readonly bytes: number;
  readonly sha256Match: boolean;
}

export interface RelayView extends Pick<RelayState, 'clients' | 'overlays'> {
  readonly knows: readonly string[];
}

/** What `ike-telescope demo --json` prints. */
export interface DemoResult {
  readonly ok: boolean;
  readonly mode: 'namespaces';
  readonly hops: readonly HopReport[];
  readonly fetch: FetchReport;
  readonly links: Readonly<Record<LinkName, Omit<LinkView, 'sightings'>>>;
  /** What each relay knows, of the facts of the table; and what it says of itself. */
  readonly relays: Readonly<Record<RelayName, RelayView>>;
  readonly violations: readonly string[];
}

export interface DemoOptions {
  readonly native: Native;
  /** Takes lines of text as the demo goes on. */
  narrate(text: string): void;
  /** A directory for one capture file per link. */
  readonly keepPcap?: string;
  /** A directory for Wireshark's files of keys: those of the client's own IKE and Child SAs. */
  readonly keylog?: string;
  readonly signal: AbortSignal;
}

/** Fetches a page through a telescope in network namespaces, and looks at who saw what. Leaves nothing behind. */
export async function runDemo(options: DemoOptions): Promise<DemoResult> {
  const { narrate, signal } = options;
  narrate('Five network namespaces, one link between neighbours:');
  const topology = await openTopology();
  try {
    signal.throwIfAborted();
    return await Promise.race([abortion(signal), demonstrate(topology, options)]);
  } finally {
    await topology.close();
  }
}

async function demonstrate(
  topology: Topology,
  { native, narrate, keepPcap, keylog }: DemoOptions,
): Promise<DemoResult> {
  narrate(`  ${NODES.map((node) => `${node} ${ADDRESSES[node]}`).join(' - ')}\n`);
  const captures = perLink((link) => {
    const [node] = link.split('-') as [NodeName];
    return captureLink(native, topology.namespaces[node], interfaceName(node, link));
  });
  try {
    let states: States | undefined;
    const server = await startPageServer(topology, PAGE_OCTETS, async () => {
      const [A, B, C] = await Promise.all(RELAYS.map((name) => topology.relay(name).state()));
      states = { A, B, C };
    });
    await topology.startRelays();
    narrate('The relays A, B and C are running, and the overlay tunnels A=B and B=C are up.\n');
    const run = await fetchThroughTelescope(topology, { url: server.url, keylog }, (event) =>
      narrateEvent(event, narrate),
    );
    await quiet(captures);
    if (keepPcap !== undefined) await writeCaptures(keepPcap, captures);
    return evaluate({ topology, captures, server, run, states: states! }, narrate);
  } finally {
    for (const link of LINKS) captures[link].close();
  }
}

function narrateEvent(event: ClientEvent, narrate: (text: string) => void): void {
  if (event.event === 'hop') narrate(hopLine(event.hop, reportOf(event)));
  if (event.event === 'established')
    narrate('\nThe telescope is open. A program in it fetches a page from D ...');
}

function reportOf({ relay, source, assigned, mtu, roundTrips, milliseconds }: HopEvent): HopReport {
  return { relay, source, assigned: assigned[0], mtu, roundTrips, ms: Math.round(milliseconds) };
}

type States = Readonly<Record<RelayName, RelayState>>;
type Captures = Readonly<Record<LinkName, LinkCapture>>;

interface Evidence {
  readonly topology: Topology;
  readonly captures: Captures;
  readonly server: PageServer;
  readonly run: ClientRun;
  /** When D was asked for the page. */
  readonly states: States;
}

function evaluate(evidence: Evidence, narrate: (text: string) => void): DemoResult {
  const { captures, server, states } = evidence;
  const { hops, page } = evidence.run;
  const shown = shownFacts(evidence);
  const facts = [...shown, ...hiddenFacts(evidence)];
  const observations: Observations = {
    facts,
    links: perLink((link) =>
      observeLink(
        captures[link].frames.map(({ bytes }) => bytes),
        facts,
      ),
    ),
    nodes: { ...perRelay((name) => JSON.stringify(states[name])), D: server.clients.join(' ') },
    pageOctets: PAGE_OCTETS,
  };
  const knowledge = knowledgeOf(observations);
  const fetch = { status: page.status, bytes: page.bytes, sha256Match: page.sha256 === server.sha256 };
  const violations = violationsOf(observations);
  if (fetch.status !== 200 || fetch.bytes !== PAGE_OCTETS || !fetch.sha256Match) {
    violations.push(`the page did not arrive as it is: status ${fetch.status}, ${fetch.bytes} octets`);
  }
  const ok = violations.length === 0;
  narrate(
    `${fetch.bytes} octets, status ${fetch.status}, SHA-256 ${fetch.sha256Match ? 'as it should be' : 'WRONG'}.\n`,
  );
  narrate('Who saw what, from the frames captured on each link and the state of each relay:\n');
  narrate(`${knowledgeTable(shown, knowledge)}\n`);
  narrate(`${linkTable(observations.links)}\n`);
  narrate(`${relayTable(states)}\n`);
  narrate(conclusion({ ok, violations }));
  return {
    ok,
    mode: 'namespaces',
    hops: hops.map(reportOf),
    fetch,
    links: perLink((link) => {
      const { sightings: _, ...view } = observations.links[link];
      return view;
    }),
    relays: perRelay((name) => {
      const { clients, overlays } = states[name];
      return {
        knows: shown.map(({ label }) => label).filter((label) => knowledge[name].has(label)),
        clients,
        overlays,
      };
    }),
    violations,
  };
}

/** The facts of the table, in its order. */
function shownFacts({ server, run }: Evidence): Fact[] {
  return [
    ...Object.entries(ADDRESSES).map(([label, address]) => addressFact(label, address)),
    ...run.hops.map(({ assigned }, index) => addressFact(`S_${RELAYS[index]}`, assigned[0])),
    { label: 'page', text: 'its content', patterns: server.samples.map(utf8), words: [] },
  ];
}

/** What is looked for as well: the SPIs of each hop's tunnel, and the keys that relays identify themselves by. */
function hiddenFacts({ topology, run, states }: Evidence): Fact[] {
  return [
    ...run.hops.map(({ hop, assigned }, index) => {
      const client = states[RELAYS[index]].clients.find(
        (candidate) => candidate.assigned.ip4 === assigned[0],
      );
      return spiFact(`SPI ${hop}`, client === undefined ? [] : [client.spiIn, client.spiOut]);
    }),
    ...topology.keys.map(({ relay, keyId, publicKey }) => ({
      label: `key of ${relay}`,
      text: keyId,
      patterns: [publicKey, utf8(keyId)],
      words: [keyId],
    })),
  ];
}

function perRelay<T>(make: (name: RelayName) => T): Record<RelayName, T> {
  return { A: make('A'), B: make('B'), C: make('C') };
}

function perLink<T>(make: (link: LinkName) => T): Record<LinkName, T> {
  return Object.fromEntries(LINKS.map((link) => [link, make(link)])) as Record<LinkName, T>;
}

/** Waits until no more frames come. */
async function quiet(captures: Captures): Promise<void> {
  const count = () => LINKS.reduce((sum, link) => sum + captures[link].frames.length, 0);
  for (let before = -1; before !== count(); ) {
    before = count();
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

async function writeCaptures(directory: string, captures: Captures): Promise<void> {
  await mkdir(directory, { recursive: true });
  for (const link of LINKS) {
    const frames = captures[link].frames.map((frame) => ({ interface: 0, ...frame }));
    await writeFile(
      join(directory, `${link}.pcapng`),
      pcapngFile([{ name: link, linkType: LinkType.ETHERNET }], frames),
    );
  }
}
