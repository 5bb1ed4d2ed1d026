// What test titles cite of fixtures/wire-rules.json, and how the tests that do are run. Syntax: CONTRIBUTING.md.
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';

const KINDS = { rule: 'rules', 'bad input': 'badInput', scenario: 'scenarios' };
const NUMBERS = /(?:\(|, )(rule|bad input)s? (\d+(?:, \d+)*)(?=[,)])/g;
const SCENARIO = /^scenario: ([^(]+)/;

/** A regular expression that finds every title that cites. */
export const ANY = '(\\(|, )(rule|bad input)s? \\d+[,)]|scenario: ';

/** One that finds the titles that cite `reference`: "rule 3", "bad input 4", "scenario: child rekey: collision". */
export function patternOf(reference) {
  const [, kind, number] = /^(rule|bad input) (\d+)$/.exec(reference) ?? [];
  return kind === undefined ? `${reference}( \\(|$)` : `(\\(|, )${kind}s? (\\d+, )*${number}[,)]`;
}

/** What the titles of a test and of its describe blocks cite: `{ kind: 'rules' | 'badInput' | 'scenarios', name }`. */
export function citations(titles) {
  return titles.flatMap((title) => {
    const scenario = SCENARIO.exec(title);
    return [
      ...(scenario ? [{ kind: KINDS.scenario, name: scenario[1].trim() }] : []),
      ...[...title.matchAll(NUMBERS)].flatMap(([, kind, numbers]) =>
        numbers.split(', ').map((name) => ({ kind: KINDS[kind], name })),
      ),
    ];
  });
}

/** The test files whose text has `pattern`. */
export function filesWith(pattern) {
  const expression = new RegExp(pattern.replace('( \\(|$)', ''));
  return readdirSync('test', { recursive: true })
    .map((name) => join('test', name))
    .filter((name) => name.endsWith('.test.ts') && expression.test(readFileSync(name, 'utf8')));
}

/**
 * From the report of vitest's JSON reporter. `tests`: `{ file, titles, status }` of each whose titles match `pattern`, `status`
 * being vitest's; `failures`: what went wrong outside of any test.
 */
export function readReport(report, pattern, cwd = process.cwd()) {
  const { testResults } = JSON.parse(readFileSync(report, 'utf8'));
  const matches = new RegExp(pattern);
  const tests = testResults.flatMap(({ name, assertionResults }) =>
    assertionResults
      .filter(({ fullName }) => matches.test(fullName.trim()))
      .map(({ ancestorTitles, title, status }) => ({
        file: relative(cwd, name),
        titles: [...ancestorTitles, title],
        status,
      })),
  );
  const failures = testResults
    .filter(
      (file) => file.status === 'failed' && file.assertionResults.every((one) => one.status !== 'failed'),
    )
    .map(({ name, message }) => `${relative(cwd, name)}: ${message}`);
  return { tests, failures };
}

/** Runs the tests of `files` whose titles match `pattern`, in the tree at `cwd`; gives what `readReport` does. */
export async function runTests(files, pattern, { cwd = process.cwd(), options = [], timeout = 0 } = {}) {
  const directory = mkdtempSync(join(tmpdir(), 'ike-telescope-rules-'));
  const report = join(directory, 'report.json');
  try {
    const status = await vitest(
      [
        'run',
        ...files,
        `--testNamePattern=${pattern}`,
        '--reporter=json',
        `--outputFile=${report}`,
        ...options,
      ],
      cwd,
      timeout,
    );
    if (status === null) return { tests: [], failures: [`the tests did not end within ${timeout / 1000} s`] };
    const { tests, failures } = readReport(report, pattern, cwd);
    if (status !== 0 && failures.length === 0 && tests.every((test) => test.status === 'passed')) {
      failures.push(`vitest ended with ${status}`);
    }
    return { tests, failures };
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/**
 * The exit code; null if it was ended for taking too long. Errors go to our stderr, or nowhere if its time is limited; what
 * it says besides is where it has written its report, which is not there any more when that is read.
 * Without processes of its own there is nothing left when it is ended.
 */
function vitest(args, cwd, timeout) {
  return new Promise((resolve, reject) => {
    const isLimited = timeout > 0;
    const child = spawn(
      process.execPath,
      [join('node_modules', 'vitest', 'vitest.mjs'), ...args, ...(isLimited ? ['--pool=threads'] : [])],
      { cwd, timeout, killSignal: 'SIGKILL', stdio: isLimited ? 'ignore' : ['ignore', 'ignore', 2] },
    );
    child.on('error', reject);
    child.on('close', resolve);
  });
}
