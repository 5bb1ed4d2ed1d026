// npm run test:rules [-- [--json] [--report FILE]]: which wire rules, bad inputs and scenarios of fixtures/wire-rules.json hold, by
// the test runner's own results: of the tests that cite them, which are run, or in the report of a run of all tests by vitest's JSON
// reporter. Fails unless every one has a test and every test of it passes. The syntax of titles: CONTRIBUTING.md.
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { ANY, citations, filesWith, readReport, runTests } from './citations.mjs';

const { values: options } = parseArgs({ options: { json: { type: 'boolean' }, report: { type: 'string' } } });
const table = JSON.parse(readFileSync('fixtures/wire-rules.json', 'utf8'));
const scenarios = Object.entries(table.scenarios).flatMap(([suite, names]) =>
  names.map((name) => `${suite}: ${name}`),
);
const result = {
  rules: unproved(table.rules.map(({ number }) => number)),
  badInput: unproved(table.badInput.map(({ number }) => number)),
  scenarios: unproved(scenarios),
};
const { tests, failures: problems } =
  options.report === undefined ? await runTests(filesWith(ANY), ANY) : readReport(options.report, ANY);
for (const test of tests) {
  if (test.status !== 'passed') problems.push(`${test.file}: ${test.titles.join(' > ')}: ${test.status}`);
  for (const { kind, name } of citations(test.titles)) {
    const statuses = result[kind];
    if (!(name in statuses)) problems.push(`${test.file}: fixtures/wire-rules.json has no ${kind} ${name}`);
    else if (test.status !== 'passed') statuses[name] = 'failed';
    else if (statuses[name] === 'missing') statuses[name] = 'passed';
  }
}

if (options.json) console.log(JSON.stringify(result));
else printTable();
for (const problem of problems) console.error(problem);
const statuses = Object.values(result).flatMap((group) => Object.values(group));
if (problems.length > 0 || statuses.some((status) => status !== 'passed')) process.exitCode = 1;

function unproved(names) {
  return Object.fromEntries(names.map((name) => [name, 'missing']));
}

function printTable() {
  const described = [
    ...table.rules.map(({ number, source, rule }) =>
      row('rules', number, `rule ${number}`, `${rule} (${source})`),
    ),
    ...table.badInput.map(({ number, input, outcome }) =>
      row('badInput', number, `bad input ${number}`, `${input}: ${outcome}`),
    ),
    ...scenarios.map((name) => row('scenarios', name, 'scenario', name)),
  ];
  for (const status of ['missing', 'failed', 'passed']) {
    const rows = described.filter((entry) => entry.status === status);
    for (const { label, text } of rows) console.log(`${status.padEnd(8)}${label.padEnd(14)}${text}`);
  }
  for (const status of ['missing', 'failed', 'passed']) {
    console.log(`${described.filter((entry) => entry.status === status).length} ${status}`);
  }
}

function row(kind, name, label, text) {
  return { status: result[kind][name], label, text };
}
