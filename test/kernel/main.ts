import { parseArgs } from 'node:util';
import { runInGuest } from '../guest/guest.ts';
import { strongswanRoot } from '../interop/daemons/strongswan.ts';
import { compiledSources } from '../support/compiled.ts';
import { type Network, type NetworkSpec, openNetwork } from './network.ts';
import { type Figures, GUESTS, SCENARIOS } from './scenarios.ts';

const USAGE = `npm run test:kernel -- [options]

  --json        one JSON object per scenario, and all of them as the last line
  --only A,B    only these scenarios, or others that --list has
  --qemu        with Debian's stock kernel in QEMU, which is slow, instead of User Mode Linux
  --list        only say which there are`;

/** What became of a scenario. */
interface Report {
  readonly scenario: string;
  readonly ok: boolean;
  readonly seconds: number;
  readonly figures: Figures;
  readonly error?: string;
}

/** A guest may take so long, in seconds. */
const LIMITS = { uml: 455, qemu: 7_200 } as const;

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    only: { type: 'string', default: GUESTS.flat().join() },
    qemu: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
    /** We are in a guest; the folder with strongSwan. */
    guest: { type: 'string' },
  },
});
if (values.help) {
  console.log(USAGE);
  process.exit(0);
}
if (values.list) {
  for (const [name, { title }] of Object.entries(SCENARIOS)) console.log(`${name}: ${title}`);
  process.exit(0);
}
const machine = values.qemu ? 'qemu' : 'uml';
const wanted = values.only.split(',');
const unknown = wanted.find((name) => !(name in SCENARIOS));
if (unknown !== undefined) {
  console.error(`there is no scenario '${unknown}'\n\n${USAGE}`);
  process.exit(2);
}
const reports: Report[] = [];
if (values.guest !== undefined) {
  await runHere(wanted, values.guest);
} else {
  const root = await strongswanRoot('strongswan-5.9');
  compiledSources(); // a guest would take long, and each would begin anew
  const [first, second] = GUESTS.map((names) => names.filter((name) => wanted.includes(name)));
  const others = wanted.filter((name) => !GUESTS.flat().includes(name));
  await Promise.all([runGuest([...first, ...others], root), runGuest(second, root)]);
}
const results = reports.map(({ scenario, ok }) => [scenario, ok ? 'pass' : 'fail']);
const figures = reports.flatMap(({ scenario, figures }) =>
  Object.entries(figures).map(([name, value]) => [`${scenario}: ${name}`, value]),
);
console.log(JSON.stringify({ scenarios: Object.fromEntries(results), figures: Object.fromEntries(figures) }));
// What a scenario that failed may have left open is no reason to go on.
process.exit(reports.length > 0 && reports.every(({ ok }) => ok) ? 0 : 1);

/** One after the other, in a network that they share if they want the same. */
async function runHere(names: readonly string[], root: string): Promise<void> {
  let open: { readonly spec: NetworkSpec; readonly network: Network } | undefined;
  const close = async () => {
    await open?.network.close();
    open = undefined;
  };
  for (const name of names) {
    const scenario = SCENARIOS[name];
    const started = performance.now();
    const seconds = () => Math.round((performance.now() - started) / 100) / 10;
    const say = (text: string) => console.error(`${name}: ${text} after ${seconds()} s`);
    try {
      const spec = scenario.network;
      if (open !== undefined && open.spec !== spec) await close();
      if (spec !== undefined && open === undefined) {
        open = { spec, network: await openNetwork(spec, root) };
        say('the relays are up');
      }
      const figures =
        scenario.network === undefined
          ? await scenario.run()
          : await scenario.run({ ...open!.network, root, say });
      take({ scenario: name, ok: true, seconds: seconds(), figures });
    } catch (error) {
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
      take({ scenario: name, ok: false, seconds: seconds(), figures: {}, error: text });
      await close();
    }
  }
  await close();
}

/** Scenarios that the guest did not get to have failed. */
async function runGuest(names: readonly string[], root: string): Promise<void> {
  if (names.length === 0) return;
  const left = new Set(names);
  let text = '';
  const command = [process.execPath, process.argv[1], '--json', '--guest', root, '--only', names.join()];
  const guest = runInGuest(command, {
    machine,
    seconds: LIMITS[machine],
    memory: 2048,
    onOutput(stream, octets) {
      if (stream === 'stderr') {
        process.stderr.write(octets);
        return;
      }
      text += Buffer.from(octets).toString();
      for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
        const line = text.slice(0, end);
        text = text.slice(end + 1);
        if (!line.startsWith('{"scenario":')) continue;
        const report: Report = JSON.parse(line);
        left.delete(report.scenario);
        take(report);
      }
    },
  });
  await guest.catch((error: Error) => console.error(error.message));
  for (const scenario of left)
    take({ scenario, ok: false, seconds: 0, figures: {}, error: 'the guest ended before it' });
}

function take(report: Report): void {
  reports.push(report);
  if (values.json) {
    console.log(JSON.stringify(report));
    return;
  }
  const { scenario, ok, seconds, error, figures } = report;
  console.log(`${ok ? 'ok  ' : 'FAIL'} ${scenario}: ${SCENARIOS[scenario].title} (${seconds} s)`);
  for (const [name, value] of Object.entries(figures)) console.log(`       ${name}: ${value}`);
  if (error !== undefined) console.log(error.replace(/^/gm, '     '));
}
