import { AUTHENTICATIONS, type KeySource } from './authentications.ts';
import type { Cell } from './cells.ts';
import type { Connection, DaemonSas, Installation } from './daemons/daemon.ts';
import { establish, FEATURES, type Feature } from './features.ts';
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
  /** What was wrong, with the end of the daemon's log. */
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

/** A cell may take so long, in milliseconds; then it has failed. */
const LIMIT = 120_000;

/** Runs a cell from nothing, and leaves nothing. Never throws. */
export async function runCell(cell: Cell, installation: Installation, means: CellMeans): Promise<CellReport> {
  const { id, daemon, role, authentication } = cell;
  const feature: Feature = FEATURES[cell.feature];
  const started = performance.now();
  const report = {
    id,
    daemon,
    version: installation.version,
    role,
    authentication,
    feature: cell.feature,
    source: feature.source,
  };
  const seconds = () => Math.round((performance.now() - started) / 10) / 100;
  let running: Running | undefined;
  try {
    const { connection, ours } = viewsOf(cell, means.key);
    running = await Running.open(installation, means, connection, ours, feature.nat);
    await within(LIMIT, (feature.run ?? establish)(running));
    running.expectNoCopiedTrafficClass();
    const { sas, files } = running;
    if (cell.lack !== undefined && !cell.lack.sometimes)
      throw new Error(`the daemon can do what it is listed not to be able to`);
    const [first] = running.traffic.of('theirs', 'ike');
    const isUsual = role === 'responder' && cell.feature === 'plain' && first !== undefined;
    const firstMessage = isUsual && { firstMessage: fingerprint(first.content) };
    return {
      ...report,
      ok: true,
      seconds: seconds(),
      ...firstMessage,
      ...(sas !== undefined && { sas }),
      files,
    };
  } catch (error) {
    await pause(100);
    const log = await running?.daemon.log().catch((reason) => String(reason));
    const tail = log?.split('\n').slice(-25).join('\n');
    const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
    const lack = cell.lack?.reply.exec(`${message}\n${log}`)?.[0];
    if (lack !== undefined)
      return { ...report, ok: true, lack, because: cell.lack!.because, seconds: seconds(), files: [] };
    return { ...report, ok: false, seconds: seconds(), error: `${message}\n${tail ?? ''}`, files: [] };
  } finally {
    await running?.close().catch(() => {});
  }
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

async function within(limit: number, action: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`it was not done within ${limit / 1_000} seconds`)), limit);
  });
  await Promise.race([action, late]).finally(() => clearTimeout(timer));
}
