// npm run test:mutate [-- --json]: breaks the code in one place at a time, as scripts/mutations.json has it, and sees the tests
// fail that cite the rule which that place keeps. Fails if one of them does not, or if an entry no longer fits the code.
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { filesWith, patternOf, runTests } from './citations.mjs';

/** In `file`, where it is there once, `find` becomes `replace`; a test that cites `cites` has to fail of it. */
const mutations = JSON.parse(readFileSync('scripts/mutations.json', 'utf8'));
const COPIED = ['src', 'test', 'fixtures', 'package.json', 'tsconfig.json', 'vitest.config.ts'];
/** Machines with two cores run the tests; each mutant uses one. */
const AT_ONCE = 2;
/** Of the tests of one rule. */
const TIMEOUT = 120_000;

const problems = [];
for (const { cites, file, find } of mutations) {
  const count = readFileSync(file, 'utf8').split(find).length - 1;
  if (count !== 1) problems.push(`${cites}: ${file} has ${count} times: ${find}`);
  if (filesWith(patternOf(cites)).length === 0) problems.push(`${cites}: no test cites it`);
}
const results = problems.length > 0 ? [] : await runAll();
report();

async function runAll() {
  const directory = mkdtempSync(join(tmpdir(), 'ike-telescope-mutants-'));
  try {
    const trees = Array.from({ length: AT_ONCE }, (_, i) => copyTree(join(directory, String(i))));
    await checkUnbroken(trees[0]);
    if (problems.length > 0) return [];
    const done = [];
    const queue = [...mutations.entries()];
    await Promise.all(
      trees.map(async (tree) => {
        for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
          const [index, mutation] = next;
          done[index] = await runMutant(tree, mutation);
        }
      }),
    );
    return done;
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function copyTree(tree) {
  for (const name of COPIED) cpSync(name, join(tree, name), { recursive: true });
  symlinkSync(resolve('node_modules'), join(tree, 'node_modules'));
  return tree;
}

/** A test that fails anyway proves nothing. */
async function checkUnbroken(tree) {
  const pattern = [...new Set(mutations.map(({ cites }) => patternOf(cites)))].join('|');
  const { tests, failures } = await runTests(filesWith(pattern), pattern, { cwd: tree });
  for (const { file, titles, status } of tests) {
    if (status !== 'passed') problems.push(`${file}: ${titles.join(' > ')}: ${status}, with nothing broken`);
  }
  problems.push(...failures);
}

async function runMutant(tree, { cites, file, find, replace }) {
  const path = join(tree, file);
  const original = readFileSync(path, 'utf8');
  writeFileSync(
    path,
    original.replace(find, () => replace),
  );
  try {
    const pattern = patternOf(cites);
    const options = ['--maxWorkers=1'];
    const { tests, failures } = await runTests(filesWith(pattern), pattern, {
      cwd: tree,
      options,
      timeout: TIMEOUT,
    });
    const failed = tests.filter(({ status }) => status === 'failed').map(({ titles }) => titles.join(' > '));
    return { cites, file, find, replace, killed: failed.length > 0, failed, failures };
  } finally {
    writeFileSync(path, original);
  }
}

function report() {
  const survivors = results.filter(({ killed }) => !killed);
  if (process.argv.includes('--json')) {
    const mutants = results.map(({ cites, file, killed, failed }) => ({ cites, file, killed, failed }));
    console.log(
      JSON.stringify({ mutants, killed: results.length - survivors.length, survived: survivors.length }),
    );
  } else {
    for (const { cites, file, killed, failed } of results) {
      console.log(
        `${killed ? 'killed  ' : 'SURVIVED'} ${cites.padEnd(14)} ${file.padEnd(42)} ${failed.length} failed`,
      );
    }
    console.log(`${results.length - survivors.length} of ${mutations.length} killed`);
  }
  for (const { cites, file, find, replace, failures } of survivors) {
    console.error(`${cites}: its tests pass with ${file} broken:\n- ${find}\n+ ${replace}`);
    for (const failure of failures) console.error(failure.split('\n', 1)[0]);
  }
  for (const problem of problems) console.error(problem);
  if (problems.length + survivors.length > 0) process.exitCode = 1;
}
