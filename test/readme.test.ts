import { spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect, it } from 'vitest';
import { startPageServer } from '../src/demo/page-server-process.ts';
import { ADDRESSES, openTopology } from '../src/demo/topology.ts';
import { compiledSources } from './support/compiled.ts';
import { native, within } from './support/namespaces.ts';
import { until } from './support/waiting.ts';

const DIRECTORY = resolve('build/readme');

/** The first TypeScript block of the README, type-checked and compiled against the package as its users import it. */
function compileExample(): string {
  const [, example] = /```ts\n([\s\S]*?)```/.exec(readFileSync('README.md', 'utf8'))!;
  mkdirSync(DIRECTORY, { recursive: true });
  writeFileSync(`${DIRECTORY}/example.ts`, example);
  const options = [
    '--module',
    'nodenext',
    '--target',
    'es2023',
    '--types',
    'node',
    '--strict',
    '--skipLibCheck',
  ];
  const tsc = ['node_modules/typescript/bin/tsc', ...options, '--ignoreConfig', `${DIRECTORY}/example.ts`];
  const { status, stdout } = spawnSync(process.execPath, tsc, { encoding: 'utf8' });
  expect(stdout).toBe('');
  expect(status).toBe(0);
  return `${DIRECTORY}/example.js`;
}

it('has an example of 12 lines that sends a datagram through three relays and prints the answer', {
  timeout: 60_000,
}, async () => {
  rmSync(DIRECTORY, { recursive: true, force: true });
  const script = compileExample();
  const lines = readFileSync(`${DIRECTORY}/example.ts`, 'utf8').split('\n');
  expect(lines.filter((line) => line !== '')).toHaveLength(12);
  const topology = await openTopology({ compiled: compiledSources() });
  const echo = createSocket('udp4', (message, { port, address }) => echo.send(message, port, address));
  try {
    await topology.startRelays();
    echo.bind({ fd: within(topology.namespaces.D, () => native().openUdp(ADDRESSES.D, 7)) });
    const { S } = topology.namespaces;
    const { stdout } = await S.exec([
      'sh',
      '-c',
      `cd ${topology.directory} && exec ${process.execPath} ${script}`,
    ]);
    expect(stdout).toMatch(
      new RegExp(
        `^A saw ${ADDRESSES.S} MTU 1446\nB saw 10\\.171\\.\\S+ MTU 1390\nC saw 10\\.187\\.\\S+ MTU 1334\nhello\n$`,
      ),
    );
  } finally {
    echo.close();
    await topology.close();
  }
});

it('tells how to set up three relays of one’s own, and a telescope through them', {
  timeout: 60_000,
}, async () => {
  const readme = readFileSync('README.md', 'utf8');
  const [, files] = /```sh\n([\s\S]*?)```/.exec(readme)!;
  const start = 'npx ike-telescope relay --config relay-a.yaml';
  const extend = 'npx ike-telescope extend --path path.yaml -- ';
  for (const command of [start, `${extend}curl https://example.org`])
    expect(readme).toContain(`\n    ${command}\n`);
  const directory = mkdtempSync(join(tmpdir(), 'readme-test-'));
  const program = [process.execPath, join(compiledSources(), 'cli/main.js')].join(' ');
  writeFileSync(`${directory}/npx`, `#!/bin/sh\nshift\nexec ${program} "$@"\n`, { mode: 0o700 });
  const inDirectory = (script: string) => [
    'sh',
    '-c',
    `export RUNTIME_DIRECTORY=${directory}; PATH=${directory}:$PATH; cd ${directory} && ${script}`,
  ];
  const topology = await openTopology({ compiled: compiledSources() });
  try {
    const { S, A, B, C } = topology.namespaces;
    const { stderr } = await S.exec(inDirectory(files));
    expect(stderr).toBe('');
    const relays = Object.entries({ a: A, b: B, c: C }).map(([name, namespace]) => {
      const child = namespace.spawn(inDirectory(`exec ${start.replace('relay-a', `relay-${name}`)}`));
      const relay = { said: '', peers: name === 'b' ? 2 : 1 };
      for (const stream of [child.stdout!, child.stderr!])
        stream.setEncoding('utf8').on('data', (text: string) => {
          relay.said += text;
        });
      return relay;
    });
    await until('the overlay tunnels', () =>
      relays.every(({ said, peers }) => said.match(/overlay tunnel to . is up/g)?.length === peers),
    );
    const page = await startPageServer(topology, 10_000, async () => {});
    const fetch = topology.node('demo/fetch-page.js', page.url).join(' ');
    const { stdout } = await S.exec(inDirectory(extend + fetch));
    expect(JSON.parse(stdout)).toMatchObject({ status: 200, sha256: page.sha256 });
    expect(page.clients).toEqual([ADDRESSES.C]);
  } finally {
    await topology.close();
    rmSync(directory, { recursive: true });
  }
});
