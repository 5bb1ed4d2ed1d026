import { AUTHENTICATIONS, type KeySource } from './authentications.ts';
import type { Cell } from './cells.ts';
import type { Connection, DaemonSas, Installation } from './daemons/daemon.ts';
import { establish, type Feature } from './feature.ts';
import { FEATURES } from './features.ts';
import { fingerprint } from './first-message.ts';
import type { OurMeans, OurView } from './ours.ts';
import { Running } from './running.ts';
import { type FileReport, pause } from './transfer.ts';
import { ADDRESSES, NETWORKS } from './world.ts';

/** What became of a cell. */
export interface CellReport {
  readonly id: string;
  readonly daemon: string;
  /** As the daemon reports it. */
  readonly version: string;
  readonly role: Cell['role'];
  readonly authentication: string;
  readonly feature: string;
  readonly source: string;
  /** A daemon that cannot do it has said so. */
  readonly ok: boolean;
  /** What a daemon that cannot do it has said, and why. */
  readonly lack?: string;
  readonly because?: string;
  readonly seconds: number;
  /** What was wrong, with the end of the daemon's log if it should not have been. */
  readonly error?: string;
  /** As the daemon reports them: SPIs, transforms, octets. */
  readonly sas?: DaemonSas;
  /** What it begins with, of a daemon that initiates as usual. */
  readonly firstMessage?: string;
  readonly files: readonly { readonly up: FileReport; readonly down: FileReport }[];
}

/** What our end and the keys of both are made with. */
export interface CellMeans extends OurMeans {
  readonly key: KeySource;
}

/** To open a cell, to run it and to close it may each take so long, in milliseconds; then it has failed. */
const LIMIT = 120_000;

/** Runs a cell from nothing, and leaves nothing. Never throws. */
export async function runCell(cell: Cell, installation: Installation, means: CellMeans): Promise<CellReport> {
  const { id, daemon, role, authentication, feature } = cell;
  const { source } = FEATURES[feature];
  const { version } = installation;
  const started = performance.now();
  let running: Running | undefined;
  const outcome = await open(cell, installation, means)
    .then((opened) => {
      running = opened;
      return see(cell, opened);
    })
    .catch((error) => failure(cell, running, running?.failed ?? error));
  const closed = await within(LIMIT, running?.close() ?? Promise.resolve()).then(
    () => ({}),
    (error) => ({ ok: false, error: `it does not close: ${text(error)}\n${outcome.error ?? ''}` }),
  );
  const seconds = Math.round((performance.now() - started) / 10) / 100;
  return { id, daemon, version, role, authentication, feature, source, seconds, ...outcome, ...closed };
}

type Outcome = Pick<CellReport, 'ok' | 'lack' | 'because' | 'error' | 'sas' | 'firstMessage' | 'files'>;

async function open(cell: Cell, installation: Installation, means: CellMeans): Promise<Running> {
  const { connection, ours } = viewsOf(cell, means.key);
  const { nat }: Feature = FEATURES[cell.feature];
  const opening = Running.open(installation, means, connection, ours, nat);
  return within(LIMIT, opening).catch((error) => {
    opening.then((late) => late.close()).catch(() => {}); // what was wrong is known
    throw error;
  });
}

/** Does what the cell is about. @throws Error if something is not as it should be */
async function see(cell: Cell, running: Running): Promise<Outcome> {
  const { run = establish }: Feature = FEATURES[cell.feature];
  await within(LIMIT, run(running));
  running.expectNoCopiedTrafficClass();
  if (cell.lack !== undefined && !cell.lack.sometimes)
    throw new Error('the daemon can do what it is listed not to be able to');
  const { sas, files, traffic } = running;
  const [first] = traffic.of('theirs', 'ike');
  const isUsual = cell.role === 'responder' && cell.feature === 'plain' && first !== undefined;
  return {
    ok: true,
    ...(isUsual && { firstMessage: fingerprint(first.content) }),
    ...(sas !== undefined && { sas }),
    files,
  };
}

/** A daemon that cannot do something must fail as is known of it, and have said why. */
async function failure({ lack }: Cell, running: Running | undefined, error: unknown): Promise<Outcome> {
  await pause(100); // what it has logged may come after its answer
  const log = (await running?.daemon.log().catch(text)) ?? '';
  const reply = lack?.reply.exec(`${text(error)}\n${log}`)?.[0];
  if (lack !== undefined && reply !== undefined && lack.error.test(String(error)))
    return { ok: true, lack: reply, because: lack.because, error: String(error).split('\n')[0], files: [] };
  return { ok: false, error: `${text(error)}\n${log.split('\n').slice(-25).join('\n')}`, files: [] };
}

function text(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/** The connection of a cell as the daemon sees it, and what differs for us. */
export function viewsOf(cell: Cell, key: KeySource): { connection: Connection; ours: OurView } {
  const feature: Feature = FEATURES[cell.feature];
  const usual = usualConnection(cell, key);
  const connection = { ...usual, ...feature.connection?.(usual) };
  return { connection, ours: feature.ours?.(connection) ?? {} };
}

/** As the daemon sees it: the initiator is assigned an IPv4 address. */
function usualConnection({ role, authentication, suites }: Cell, key: KeySource): Connection {
  const { initiator, responder } = AUTHENTICATIONS[authentication](key);
  const addresses = { here: ADDRESSES.daemon[4], there: ADDRESSES.ours[4], suites };
  return role === 'initiator'
    ? {
        ...addresses,
        role: 'responder',
        local: responder,
        remote: initiator,
        localTs: [NETWORKS.daemonInner[4]],
        remoteTs: 'dynamic',
        pools: ['10.78.0.0/24'],
      }
    : {
        ...addresses,
        role: 'initiator',
        local: initiator,
        remote: responder,
        localTs: 'dynamic',
        remoteTs: [NETWORKS.oursInner[4]],
        requests: [4],
      };
}

async function within<T>(limit: number, action: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`it was not done within ${limit / 1_000} seconds`)), limit);
  });
  return Promise.race([action, late]).finally(() => clearTimeout(timer));
}
