import { readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { userSpaceBackend } from '../../src/backend/userspace/backend.ts';
import { nodeProvider } from '../../src/crypto/node.ts';
import { systemClock } from '../../src/endpoint/system-clock.ts';
import { runInGuest } from '../guest/guest.ts';
import { missingForGuest, missingPackages } from '../guest/packages.ts';
import { recordedFlows } from '../recordings/flows.ts';
import { RECORDINGS, recordCell } from '../recordings/record.ts';
import { newKey } from './authentications.ts';
import { type Cell, enumerateCells } from './cells.ts';
import { DAEMONS, type DaemonName, type Installation } from './daemons/daemon.ts';
import { installLibreswan } from './daemons/libreswan.ts';
import { installStrongswan } from './daemons/strongswan.ts';
import type { Feature } from './feature.ts';
import { FEATURES } from './features.ts';
import { matrix } from './report.ts';
import { type CellReport, runCell } from './run-cell.ts';

const USAGE = `npm run test:interop -- [options]

  --json          one JSON object per cell, and a summary as the last line
  --daemon NAME   only this one, and others named so: ${DAEMONS.join(', ')}
  --only TEXT     only cells with this in their name, or with one of several such
  --jobs N        so many cells at a time on the host (default 4)
  --list          only say which cells there are
  --docs FILE     write the matrix into a file, between its marks

UPDATE_RECORDINGS=1 in the environment: runs the cells that are recorded instead, and records them.`;

/** Programs that cells need, and Debian's packages with them; a guest kernel has no nftables. */
const OF_HOST = {
  'apt-get': 'apt',
  ip: 'iproute2',
  nft: 'nftables',
  unshare: 'util-linux',
};
const OF_GUEST = { ...OF_HOST, 'iptables-legacy': 'iptables' };

/** If no more cells than these fail, they run once more. */
const RUN_AGAIN = 2;

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    daemon: { type: 'string', multiple: true, default: [] },
    only: { type: 'string', multiple: true, default: [''] },
    jobs: { type: 'string', default: '4' },
    list: { type: 'boolean', default: false },
    docs: { type: 'string' },
    help: { type: 'boolean', default: false },
    /** Not in a guest kernel: that is where we are. */
    here: { type: 'boolean', default: false },
  },
});
if (values.help) {
  console.log(USAGE);
  process.exit(0);
}
const unknown = values.daemon.find((name) => !DAEMONS.some((each) => each === name));
if (unknown !== undefined || !(Number(values.jobs) >= 1)) {
  console.error(USAGE);
  process.exit(2);
}
const isRecording = process.env.UPDATE_RECORDINGS === '1';
const seeds = new Map(isRecording ? recordedFlows().map(({ cell, seed }) => [cell, seed]) : []);
const wanted = (isRecording ? [...seeds.keys()] : enumerateCells()).filter(
  ({ id, daemon }) =>
    (values.daemon.length === 0 || values.daemon.includes(daemon)) &&
    values.only.some((text) => id.includes(text)),
);
if (values.list) {
  for (const { id, lack } of wanted) console.log(lack === undefined ? id : `${id} (the daemon cannot)`);
  process.exit(0);
}
const isForGuest = ({ daemon }: Cell) => !values.here && daemon.startsWith('libreswan');
if (process.getuid?.() !== 0) {
  console.error('npm run test:interop makes network namespaces: run it as root.');
  process.exit(2);
}
const hasGuest = wanted.some(isForGuest);
const missing = new Set([
  ...missingPackages(hasGuest ? OF_GUEST : OF_HOST),
  ...(hasGuest ? missingForGuest() : []),
]);
if (missing.size > 0) {
  console.error(
    `npm run test:interop needs packages that are not installed: apt-get install ${[...missing].join(' ')}`,
  );
  process.exit(2);
}
const crypto = nodeProvider();
const means = { crypto, backend: userSpaceBackend(crypto), clock: systemClock, key: newKey };
const installations = new Map<DaemonName, Installation>();
await Promise.all(
  DAEMONS.filter((name) => wanted.some(({ daemon }) => daemon === name)).map(async (name) =>
    installations.set(name, await install(name)),
  ),
);
const reports: CellReport[] = [];
const here = wanted.filter((cell) => !isForGuest(cell));
const forGuest = wanted.filter(isForGuest);
const isPatient = ({ feature }: Cell) => (FEATURES[feature] as Feature).isPatient === true && !isRecording;
const busy = here.filter((cell) => !isPatient(cell));
const patient = here.filter(isPatient);
const workers = Array.from({ length: isRecording ? 1 : Number(values.jobs) }, () => work(busy));
const guests = DAEMONS.map((name) => forGuest.filter(({ daemon }) => daemon === name));
await Promise.all([...workers, work(patient), work(patient), ...guests.map((cells) => runInOneGuest(cells))]);
const again = values.here ? [] : await runAgain();
const failed = reports.filter(({ ok }) => !ok).map(({ id }) => id);
const passed = reports.filter(({ ok, lack }) => ok && lack === undefined).length;
if (values.docs !== undefined) writeMatrix(values.docs);
console.log(
  JSON.stringify({ cells: passed + failed.length, passed, failed, ...(again.length > 0 && { again }) }),
);
// A cell that has failed for taking too long goes on until what it waits for has not come, for up to 20 s: nobody wants to know.
process.exit(failed.length === 0 && passed > 0 ? 0 : 1);

function install(name: DaemonName): Promise<Installation> {
  switch (name) {
    case 'strongswan-5.9':
    case 'strongswan-6.0':
    case 'strongswan-6.1':
      return installStrongswan(name);
    case 'libreswan-4.10':
    case 'libreswan-5.2':
      return installLibreswan(name);
  }
}

async function work(queue: Cell[]): Promise<void> {
  for (let cell = queue.shift(); cell !== undefined; cell = queue.shift()) {
    const installation = installations.get(cell.daemon)!;
    const seed = seeds.get(cell);
    take(
      await (seed === undefined ? runCell(cell, installation, means) : recordCell(cell, seed, installation)),
    );
  }
}

/** libreswan wants a kernel with ESP, which has one CPU. The cells of one daemon; those that the guest did not get to have failed. */
async function runInOneGuest(cells: readonly Cell[], names: readonly string[] = values.only): Promise<void> {
  if (cells.length === 0) return;
  const only = names.flatMap((text) => ['--only', text]);
  const options = ['--json', '--here', '--jobs', '1', ...only, '--daemon', cells[0].daemon];
  const command = [process.execPath, process.argv[1], ...options];
  const done = new Set<string>();
  let text = '';
  const guest = runInGuest(command, {
    seconds: 700,
    ...(isRecording && { out: resolve(RECORDINGS) }),
    onOutput(stream, octets) {
      if (stream === 'stderr') process.stderr.write(octets);
      else text += Buffer.from(octets).toString();
      for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
        const line = text.slice(0, end);
        text = text.slice(end + 1);
        if (!line.startsWith('{"id"')) continue;
        const report: CellReport = JSON.parse(line);
        if (!cells.some(({ id }) => id === report.id)) continue;
        done.add(report.id);
        take(report);
      }
    },
  });
  await guest.catch((error: Error) => console.error(error.message));
  for (const { id, daemon, role, authentication, feature } of cells.filter((cell) => !done.has(cell.id))) {
    const cell = { id, daemon, role, authentication, feature, source: '', version: '' };
    take({ ...cell, ok: false, seconds: 0, error: 'the guest ended before it', files: [] });
  }
}

/** Daemons have races of their own. What failed is reported, and then what came of it when it was alone. */
async function runAgain(): Promise<string[]> {
  const failed = wanted.filter(({ id }) => reports.some((report) => report.id === id && !report.ok));
  if (failed.length > RUN_AGAIN) return [];
  for (const cell of failed) {
    const { id } = cell;
    reports.splice(
      reports.findIndex((report) => report.id === id),
      1,
    );
    await (isForGuest(cell) ? runInOneGuest([cell], [id]) : work([cell]));
  }
  return failed.map(({ id }) => id);
}

/** Between the marks in a file of ours. */
function writeMatrix(file: string): void {
  const [before, rest] = readFileSync(file, 'utf8').split('<!-- matrix -->\n');
  const [, after] = (rest ?? '').split('<!-- end of the matrix -->\n');
  if (after === undefined) throw new Error(`${file} does not say where the matrix is to be`);
  const text = matrix(reports, new Date().toISOString());
  writeFileSync(file, `${before}<!-- matrix -->\n${text}<!-- end of the matrix -->\n${after}`);
}

function take(report: CellReport): void {
  reports.push(report);
  const { id, ok, lack, version, seconds, error } = report;
  if (values.json) {
    console.log(JSON.stringify(report));
    return;
  }
  const result = !ok ? 'FAIL' : lack === undefined ? 'ok  ' : 'lack';
  console.log(`${result} ${id} (${version}, ${seconds} s)${lack === undefined ? '' : `: "${lack}"`}`);
  if (!ok) console.log(error!.replace(/^/gm, '     '));
}
