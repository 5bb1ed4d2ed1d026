import { parseArgs } from 'node:util';
import { nodeProvider } from '../../src/crypto/node.ts';
import { type Cell, enumerateCells } from './cells.ts';
import { DAEMONS, type DaemonName, type Installation } from './daemons/daemon.ts';
import { installStrongswan } from './daemons/strongswan.ts';
import { type CellReport, runCell } from './run-cell.ts';

// npm run test:interop -- [--json] [--daemon NAME]... [--only TEXT] [--jobs N] [--list]

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    daemon: { type: 'string', multiple: true, default: [] },
    only: { type: 'string' },
    jobs: { type: 'string', default: '4' },
    list: { type: 'boolean', default: false },
  },
});
const wanted = enumerateCells().filter(
  ({ id, daemon }) =>
    (values.daemon.length === 0 || values.daemon.includes(daemon)) &&
    (values.only === undefined || id.includes(values.only)),
);
if (values.list) {
  for (const { id, lack } of wanted) console.log(lack === undefined ? id : `${id} (the daemon cannot)`);
  process.exit(0);
}
const crypto = nodeProvider();
const installations = new Map<DaemonName, Installation>();
for (const name of DAEMONS.filter((each) => wanted.some(({ daemon }) => daemon === each)))
  installations.set(name, await install(name));
const queue = [...wanted];
const reports: CellReport[] = [];
await Promise.all(Array.from({ length: Number(values.jobs) }, work));
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
      throw new Error('libreswan is not here');
  }
}

async function work(): Promise<void> {
  for (let cell = queue.shift(); cell !== undefined; cell = queue.shift()) {
    const report = await runCell(cell, installations.get(cell.daemon)!, crypto);
    reports.push(report);
    print(cell, report);
  }
}

function print({ id }: Cell, report: CellReport): void {
  if (values.json) console.log(JSON.stringify(report));
  else {
    const result = !report.ok ? 'FAIL' : report.lack === undefined ? 'ok  ' : 'lack';
    const lack = report.lack === undefined ? '' : `: "${report.lack}"`;
    console.log(`${result} ${id} (${report.version}, ${report.seconds} s)${lack}`);
  }
  if (!report.ok && !values.json) console.log(report.error!.replace(/^/gm, '     '));
}
