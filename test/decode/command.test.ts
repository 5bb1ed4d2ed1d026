import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ikeTableLine } from '../../src/decode/key-table.ts';
import { compiledSources } from '../support/compiled.ts';
import { pcapFile } from './captures.ts';
import { conversation, SUITES } from './suites.ts';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'ike-telescope-decode-'));
  const { packets, secrets } = conversation(SUITES[2]);
  const capture = pcapFile(packets);
  writeFileSync(join(directory, 'ike.pcap'), capture);
  writeFileSync(join(directory, 'cut.pcap'), capture.subarray(0, capture.length - 1));
  writeFileSync(join(directory, 'keys'), `${ikeTableLine(secrets)}\n`);
  writeFileSync(join(directory, 'wrong'), 'wrong\n');
  compiledSources();
}, 60_000);
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function decode(...args: readonly string[]) {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [join(compiledSources(), 'cli/main.js'), 'decode', ...args],
    { cwd: directory, encoding: 'utf8', env: { ...process.env, DEBUG: '' } },
  );
  return { status, stdout, stderr };
}

describe('ike-telescope decode', () => {
  it('prints one JSON object per message', () => {
    const { status, stdout, stderr } = decode('ike.pcap', '--keys', 'keys', '--json');
    expect([status, stderr]).toEqual([0, '']);
    const messages = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(messages.map(({ exchange, decrypted, icv }) => [exchange, decrypted, icv])).toEqual([
      ['IKE_SA_INIT', false, null],
      ['IKE_SA_INIT', false, null],
      ['IKE_AUTH', true, true],
      ['IKE_AUTH', true, true],
      ['INFORMATIONAL', true, true],
      ['INFORMATIONAL', true, true],
    ]);
  });

  it('prints text', () => {
    const { status, stdout } = decode('ike.pcap', '--keys', 'keys');
    expect(status).toBe(0);
    expect(stdout).toMatch(
      /^1 {2}2023-11-14T22:13:20\.123456Z {2}192\.0\.2\.1:500 > 192\.0\.2\.2:500 {2}IKE_SA_INIT/,
    );
    expect(stdout).toContain('AUTH method=SHARED_KEY data=');
  });

  it('prints what is in clear without keys', () => {
    const { status, stdout, stderr } = decode('ike.pcap', '--json');
    expect([status, stderr]).toEqual([0, '']);
    const messages = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(messages.map(({ decrypted }) => decrypted)).toEqual(Array(6).fill(false));
    expect(messages[0].payloads.length).toBeGreaterThan(2);
  });

  it('says where a capture is damaged, after what is before it', () => {
    const { status, stdout } = decode('cut.pcap', '--keys', 'keys', '--json');
    const lines = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(status).toBe(0);
    expect(lines).toHaveLength(6);
    expect(lines[5]).toEqual({
      error: expect.stringMatching(/^the capture file is cut off or damaged at octet \d+$/),
    });
  });

  it.each([
    [['missing', '--keys', 'keys'], 'missing: cannot be read: ENOENT'],
    [['keys', '--keys', 'keys'], 'keys: not a capture file: save it as pcap or pcapng'],
    [['ike.pcap', '--keys', 'missing'], 'missing: cannot be read: ENOENT'],
    [['ike.pcap', '--keys', 'wrong'], 'wrong:1: not eight fields with commas between them; write <SPIi>'],
  ])('%j', (args, message) => {
    const { status, stdout, stderr } = decode(...args);
    expect([status, stdout]).toEqual([64, '']);
    expect(stderr).toContain(`ike-telescope: ${message}`);
  });
});
