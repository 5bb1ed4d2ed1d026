import { parseArgs } from 'node:util';
import { nodeProvider } from '../../src/crypto/node.ts';
import { type Cell, enumerateCells } from './cells.ts';
import { DAEMONS, type DaemonName, type Installation } from './daemons/daemon.ts';
import { installLibreswan } from './daemons/libreswan.ts';
import { installStrongswan } from './daemons/strongswan.ts';
import { runInGuest } from './guest/guest.ts';
import { type CellReport, runCell } from './run-cell.ts';

// npm run test:interop -- [--json] [--daemon NAME]... [--only TEXT] [--jobs N] [--list]
// In the guest kernel it runs itself with --here.

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    daemon: { type: 'string', multiple: true, default: [] },
    only: { type: 'string', default: '' },
    jobs: { type: 'string', default: '4' },
    list: { type: 'boolean', default: false },
    here: { type: 'boolean', default: false },
  },
});
const unknown = values.daemon.find((name) => !DAEMONS.some((each) => each === name));
if (unknown !== undefined || !(Number(values.jobs) >= 1)) {
  const daemons = DAEMONS.join(', ');
  console.error(`test:interop: --daemon is one of ${daemons}; --jobs is a number from 1`);
  process.exit(2);
}
const wanted = enumerateCells().filter(
  ({ id, daemon }) =>
    (values.daemon.length === 0 || values.daemon.includes(daemon)) && id.includes(values.only),
);
if (values.list) {
  for (const { id, lack } of wanted) console.log(lack === undefined ? id : `${id} (the daemon cannot)`);
  process.exit(0);
}
const crypto = nodeProvider();
const installations = new Map<DaemonName, Installation>();
for (const name of DAEMONS.filter((each) => wanted.some(({ daemon }) => daemon === each)))
  installations.set(name, await install(name));
const reports: CellReport[] = [];
const isForGuest = ({ daemon }: Cell) => !values.here && daemon.startsWith('libreswan');
const queue = wanted.filter((cell) => !isForGuest(cell));
const forGuest = wanted.filter(isForGuest);
await Promise.all([...Array.from({ length: Number(values.jobs) }, work), runThoseForGuest()]);
const failed = reports.filter(({ ok }) => !ok).map(({ id }) => id);
const passed = reports.filter(({ ok, lack }) => ok && lack === undefined).length;
console.log(JSON.stringify({ cells: passed + failed.length, passed, failed }));
process.exitCode = failed.length === 0 && passed > 0 ? 0 : 1;

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

async function work(): Promise<void> {
  for (let cell = queue.shift(); cell !== undefined; cell = queue.shift())
    take(await runCell(cell, installations.get(cell.daemon)!, crypto));
}

/** libreswan wants a kernel with ESP; those that the guest did not get to have failed. */
async function runThoseForGuest(): Promise<void> {
  if (forGuest.length === 0) return;
  const daemons = new Set(forGuest.map(({ daemon }) => daemon));
  const options = ['--json', '--here', '--jobs', '3', '--only', values.only];
  const command = [process.execPath, process.argv[1], ...options];
  for (const daemon of daemons) command.push('--daemon', daemon);
  const done = new Set<string>();
  let text = '';
  await runInGuest(command, {
    seconds: 700,
    onOutput(stream, octets) {
      if (stream === 'stderr') process.stderr.write(octets);
      else text += Buffer.from(octets).toString();
      for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
        const line = JSON.parse(text.slice(0, end));
        text = text.slice(end + 1);
        if (line.id === undefined) continue;
        done.add(line.id);
        take(line);
      }
    },
  });
  for (const { id, daemon, role, authentication, feature } of forGuest.filter((cell) => !done.has(cell.id))) {
    const cell = { id, daemon, role, authentication, feature, source: '', version: '' };
    take({ ...cell, ok: false, seconds: 0, error: 'the guest ended before it', files: [] });
  }
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
