import { spawnSync } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

/** What npm publishes, unpacked into an empty project: its dependencies are those of the clone, nothing is fetched. */
const project = mkdtempSync(join(tmpdir(), 'package-test-'));
const installed = join(project, 'node_modules/ike-telescope');
const manifest = JSON.parse(readFileSync('package.json', 'utf8'));
const subpaths = Object.keys(manifest.exports).filter((name) => name !== './package.json');
let tarball: string;

function run(command: string, args: readonly string[], cwd = project): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd, encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${error ?? `${stdout}${stderr}`}`);
  return stdout;
}

function link(name: string): void {
  const at = join(project, 'node_modules', name);
  mkdirSync(dirname(at), { recursive: true });
  symlinkSync(resolve('node_modules', name), at);
}

beforeAll(() => {
  const pack = ['pack', '--ignore-scripts', '--json', '--pack-destination', project];
  const [{ filename }] = JSON.parse(run('npm', pack, process.cwd()));
  tarball = join(project, filename);
  mkdirSync(installed, { recursive: true });
  run('tar', ['-xzf', tarball, '-C', installed, '--strip-components=1']);
  const { dependencies, optionalDependencies } = manifest;
  for (const name of Object.keys({ ...dependencies, ...optionalDependencies, '@types/node': '' })) link(name);
  writeFileSync(join(project, 'package.json'), '{ "type": "module", "private": true }');
}, 60_000);

afterAll(() => rmSync(project, { recursive: true }));

describe('the package', { timeout: 60_000 }, () => {
  it('has the program, its declarations and what to read, and nothing else', () => {
    expect(readdirSync(installed).sort()).toEqual([
      'ARCHITECTURE.md',
      'CHANGELOG.md',
      'LICENSE',
      'README.md',
      'SECURITY.md',
      'dist',
      'package.json',
    ]);
    const names = readdirSync(join(installed, 'dist'), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ name }) => name.replace(/^[^.]*/, ''));
    expect(new Set(names)).toEqual(new Set(['.d.ts', '.js']));
  });

  it('is declared as its files are', async () => {
    const { messages, pkg } = await publint({ pkgDir: installed, pack: false, strict: true });
    expect(messages.map((message) => formatMessage(message, pkg))).toEqual([]);
  });

  it('has types that every way of resolving ES modules finds', () => {
    run(process.execPath, [
      resolve('node_modules/@arethetypeswrong/cli/dist/index.js'),
      '--profile',
      'esm-only',
      tarball,
    ]);
  });

  it('is imported by every subpath', () => {
    const script = subpaths.map((name) => {
      const specifier = join('ike-telescope', name);
      return `console.log(${JSON.stringify(name)}, Object.keys(await import('${specifier}')).length)`;
    });
    const lines = run(process.execPath, ['--input-type=module', '-e', script.join(';')])
      .trim()
      .split('\n');
    expect(lines.map((line) => line.split(' ')[0])).toEqual(subpaths);
    for (const line of lines) expect(Number(line.split(' ')[1]), line).toBeGreaterThan(0);
  });

  it('has a program that says its version', () => {
    const program = join(installed, manifest.bin['ike-telescope']);
    expect(run(process.execPath, [program, '--version'])).toBe(`${manifest.version}\n`);
  });
});

describe('the examples', { timeout: 60_000 }, () => {
  beforeAll(() => {
    cpSync('examples', join(project, 'examples'), { recursive: true });
    const imports = subpaths.map(
      (name, index) => `import * as _${index} from '${join('ike-telescope', name)}';`,
    );
    writeFileSync(join(project, 'examples/subpaths.ts'), `${imports.join('\n')}\n`);
    const { extends: _, compilerOptions } = JSON.parse(readFileSync('tsconfig.json', 'utf8'));
    const { paths: __, noEmit: ___, noUnusedLocals: ____, ...options } = compilerOptions;
    // Our own declarations are checked as well, not only what is made of them.
    const own = { ...options, skipLibCheck: false, rootDir: 'examples', outDir: 'compiled' };
    writeFileSync(
      join(project, 'tsconfig.json'),
      JSON.stringify({ compilerOptions: own, include: ['examples'] }),
    );
    run(process.execPath, [resolve('node_modules/typescript/bin/tsc')]);
  }, 60_000);

  const example = (name: string) => run(process.execPath, [join(project, `compiled/${name}.js`)]);

  it('embed a client', () => {
    expect(example('embed-client')).toMatch(
      /^a saw 127\.77\.1\.100, MTU 1438\nb saw 10\.201\.\S+, MTU 1382\nc saw 10\.202\.\S+, MTU 1326\nhello from 203\.0\.113\.7\n$/,
    );
  });

  it('embed relays', () => {
    const quiet =
      '  a: overlays with b,c; clients: 0\n  b: overlays with a,c; clients: 0\n  c: overlays with a,b; clients: 0\n';
    const busy = quiet
      .replace(/(a: .*) 0/, '$1 1 from the network')
      .replace(/(b: .*) 0/, '$1 1 from a')
      .replace(/(c: .*) 0/, '$1 1 from b');
    expect(example('embed-relay')).toBe(`before:\n${quiet}with a telescope:\n${busy}after:\n${quiet}`);
  });

  it('have a backend of their own', () => {
    expect(example('custom-backend')).toMatch(
      /^6 SAs carry 3 hops\n6 SAs removed; ESP packets: [1-9]\d* out, [1-9]\d* in\n$/,
    );
  });

  it('have a set of relays of their own', () => {
    const paths = example('custom-relay-set').trim().split('\n');
    expect(paths.map((path) => path.split(' ').sort().join(' '))).toEqual(['a', 'a b', 'a b c']);
  });
});
