import { spawnSync } from 'node:child_process';
import { pathToFileURL } from 'node:url';
import { expect, it } from 'vitest';

/** Runs the tests of a file that cite, as `npm run test:rules` does. */
const SCRIPT = `
  import { ANY, runTests } from ${JSON.stringify(pathToFileURL('scripts/citations.mjs').href)};
  const { tests, failures } = await runTests(['test/rules/esp.test.ts'], ANY);
  console.log(JSON.stringify([tests.length > 1, tests.every(({ status }) => status === 'passed'), failures]));
`;

it('has tests that cite run, and says nothing of a report that is gone', () => {
  const node = spawnSync(process.execPath, ['--input-type=module', '--eval', SCRIPT], { encoding: 'utf8' });
  expect(JSON.parse(node.stdout)).toEqual([true, true, []]);
  expect(node.stderr).not.toMatch(/report|written/i);
});
