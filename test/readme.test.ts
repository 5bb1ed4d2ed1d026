import { spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, it } from 'vitest';
import { ADDRESSES, openTopology } from '../src/demo/topology.ts';
import { compiledSources } from './support/compiled.ts';
import { native, within } from './support/namespaces.ts';

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
