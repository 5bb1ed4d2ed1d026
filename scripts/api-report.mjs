// The public surface, as declarations in docs/api/: fails if it is another one than the reports say, if a member has no
// docstring, or if a type that it mentions cannot be imported from any entry point. --update writes the reports.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { CompilerState, Extractor, ExtractorConfig } from '@microsoft/api-extractor';

const REPORTS = 'docs/api';
const GENERATED = process.argv.includes('--update') ? REPORTS : 'build/api';
/** What has one value only: it says all there is to say. */
const LITERAL = /^\s*readonly \w+(: | = )("[^"]*"|'[^']*');/;

const { exports } = JSON.parse(readFileSync('package.json', 'utf8'));
const entries = Object.entries(exports).flatMap(([name, { types }]) =>
  types === undefined
    ? []
    : [{ report: name === '.' ? 'index' : name.slice(2).replaceAll('/', '-'), types: resolve(types) }],
);
const files = entries.map(({ types }) => types);

rmSync(GENERATED, { recursive: true, force: true });
mkdirSync(GENERATED, { recursive: true });
const configs = entries.map(({ report, types }) =>
  ExtractorConfig.prepare({
    packageJsonFullPath: resolve('package.json'),
    configObject: {
      projectFolder: process.cwd(),
      mainEntryPointFilePath: types,
      newlineKind: 'lf',
      compiler: {
        overrideTsconfig: {
          compilerOptions: {
            target: 'es2023',
            lib: ['es2023'],
            module: 'nodenext',
            types: ['node'],
            strict: true,
            skipLibCheck: true,
          },
          files,
        },
      },
      apiReport: {
        enabled: true,
        reportFileName: report,
        reportFolder: resolve(GENERATED),
        reportTempFolder: resolve('build/api-extractor'),
      },
      docModel: { enabled: false },
      dtsRollup: { enabled: false },
      tsdocMetadata: { enabled: false },
      messages: {
        compilerMessageReporting: { default: { logLevel: 'error' } },
        extractorMessageReporting: {
          'ae-undocumented': { logLevel: 'error' },
          'ae-forgotten-export': { logLevel: 'error' },
        },
      },
    },
  }),
);

const compilerState = CompilerState.create(configs[0], { additionalEntryPoints: files });
const messages = new Map();
for (const config of configs) {
  Extractor.invoke(config, {
    compilerState,
    localBuild: true,
    messageCallback(message) {
      message.handled = true;
      if (message.logLevel !== 'error') return;
      const { sourceFilePath: file, sourceFileLine: line } = message;
      const source = relative('', file).replace(/^dist/, 'src').replace('.d.ts', '.ts');
      messages.set(`${source}: line ${line} of its declarations: ${message.text}`, message);
    },
  });
}

const exported = new Set(
  entries.flatMap(({ report }) =>
    Array.from(
      readFileSync(join(GENERATED, `${report}.api.md`), 'utf8').matchAll(
        /^export (?:abstract )?(?:class|const|function|interface|type) (\w+)/gm,
      ),
      ([, name]) => name,
    ),
  ),
);
const problems = [];
for (const [text, { messageId, sourceFilePath, sourceFileLine }] of messages) {
  const [, name] = /"(\w+)"/.exec(text) ?? [];
  if (messageId === 'ae-forgotten-export') {
    if (!exported.has(name))
      problems.push(`${text.replace(/ by the entry point.*/, '')}: no entry point does`);
  } else if (messageId === 'ae-undocumented') {
    const line = readFileSync(sourceFilePath, 'utf8').split('\n')[sourceFileLine - 1];
    if (!LITERAL.test(line)) problems.push(text);
  } else problems.push(text);
}
for (const problem of problems) console.error(problem);

if (GENERATED !== REPORTS) {
  const { status, stdout } = spawnSync('diff', ['-ruN', REPORTS, GENERATED], { encoding: 'utf8' });
  if (status !== 0) {
    problems.push(stdout);
    console.error(
      `${stdout}\nThe public API has changed. If that is meant: npm run api, and commit ${REPORTS}.`,
    );
  }
}
if (problems.length > 0) process.exit(1);
console.log(`api: ${exported.size} exports of ${entries.length} entry points, documented and as reported`);
