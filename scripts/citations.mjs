// What test titles cite of fixtures/wire-rules.json, and how the tests that do are run. Syntax: CONTRIBUTING.md.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';

const NUMBERS = /\((rule|bad input)s? (\d+(?:, \d+)*)\)/g;
const SCENARIO = /^scenario: ([^(]+)/;
const PATTERN = '\\((rule|bad input)s? \\d|scenario: ';

/** Whether a test file can have titles that cite. */
export function cites(source) {
  return /\((rule|bad input)s? |scenario: /.test(source);
}

/** What the titles of a test and of its describe blocks cite: `{ kind: 'rules' | 'badInput' | 'scenarios', name }`. */
export function citations(titles) {
  return titles.flatMap((title) => {
    const scenario = SCENARIO.exec(title);
    return [
      ...(scenario ? [{ kind: 'scenarios', name: scenario[1].trim() }] : []),
      ...[...title.matchAll(NUMBERS)].flatMap(([, kind, numbers]) =>
        numbers.split(', ').map((name) => ({ kind: kind === 'rule' ? 'rules' : 'badInput', name })),
      ),
    ];
  });
}

/**
 * Runs the citing tests of some files. `tests`: `{ file, titles, status }` of each test that cites, `status` being vitest's;
 * `failures`: what went wrong outside of any test.
 */
export function runVitest(files, { cwd = process.cwd(), pattern = PATTERN } = {}) {
  const directory = mkdtempSync(join(tmpdir(), 'ike-telescope-rules-'));
  const report = join(directory, 'report.json');
  try {
    const { status } = spawnSync(
      process.execPath,
      [
        join('node_modules', 'vitest', 'vitest.mjs'),
        'run',
        ...files,
        `--testNamePattern=${pattern}`,
        '--reporter=json',
        `--outputFile=${report}`,
      ],
      { cwd, stdio: ['ignore', 2, 2] },
    );
    const { testResults } = JSON.parse(readFileSync(report, 'utf8'));
    const tests = testResults.flatMap(({ name, assertionResults }) =>
      assertionResults
        .map(({ ancestorTitles, title, status: outcome }) => ({
          file: relative(cwd, name),
          titles: [...ancestorTitles, title],
          status: outcome,
        }))
        .filter(({ titles }) => citations(titles).length > 0),
    );
    const failures = testResults
      .filter(
        (file) => file.status === 'failed' && file.assertionResults.every((one) => one.status !== 'failed'),
      )
      .map(({ name, message }) => `${relative(cwd, name)}: ${message}`);
    if (status !== 0 && failures.length === 0 && tests.every((test) => test.status === 'passed')) {
      failures.push(`vitest ended with ${status}`);
    }
    return { tests, failures };
  } finally {
    rmSync(directory, { recursive: true });
  }
}
