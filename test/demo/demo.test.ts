import { spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { DemoResult } from '../../src/demo/demo.ts';
import type { LoopbackResult } from '../../src/demo/loopback.ts';
import { ADDRESSES } from '../../src/demo/topology.ts';
import { addressBytes } from '../../src/wire/address.ts';
import { compiledSources } from '../support/compiled.ts';
import { native } from '../support/namespaces.ts';
import { until } from '../support/waiting.ts';
import { type RunningDemo, startDemo } from './demo-process.ts';

const PATIENCE = 90_000;
const { S, A, B, C, D, X } = ADDRESSES;

async function expectNothingLeft(demo: RunningDemo): Promise<void> {
  await until('the end of its processes', () => demo.processes().length === 0);
  expect(demo.temporaryFiles()).toEqual([]);
}

/** What a command of the README prints, which has its files in `seen`. */
function run(command: string, seen: string): string {
  expect(readFileSync('README.md', 'utf8')).toContain(`\n    ${command}\n`);
  const line = command
    .replace('npx ike-telescope', `${process.execPath} ${join(compiledSources(), 'cli/main.js')}`)
    .replaceAll('seen', seen);
  return spawnSync('sh', ['-c', line], { encoding: 'utf8', env: { ...process.env, DEBUG: '' } }).stdout;
}

describe('the demo', { timeout: PATIENCE }, () => {
  it('fetches the page, shows who saw what as JSON, keeps captures and keys, and leaves nothing', async () => {
    const captures = await mkdtemp(join(tmpdir(), 'demo-test-'));
    const demo = startDemo(['--json', '--keep-pcap', captures, '--keylog', captures]);
    expect([await demo.ended, demo.stderr()]).toEqual([0, '']);
    const result: DemoResult = JSON.parse(demo.stdout());
    expect(result).toMatchObject({
      ok: true,
      mode: 'namespaces',
      fetch: { status: 200, bytes: 1_048_576, sha256Match: true },
      violations: [],
    });
    const { hops, links, relays } = result;
    expect(hops.map(({ relay, mtu, roundTrips }) => [relay, mtu, roundTrips])).toEqual([
      ['A', 1446, 2],
      ['B', 1390, 2],
      ['C', 1334, 2],
    ]);
    expect(hops.map(({ source }) => source)).toEqual([S, hops[0].assigned, hops[1].assigned]);
    expect(links['S-A'].addresses).toEqual([A, S]);
    expect(links['A-B'].addresses).toEqual([A, B]);
    expect(links['B-C'].addresses).toEqual([B, C]);
    expect(links['C-D'].addresses).toEqual([C, X, D]);
    const [client] = relays.A.clients;
    const spis = [client.spiIn, client.spiOut].map((spi) => spi.toString(16).padStart(8, '0'));
    expect(links['S-A'].spis).toEqual(spis.sort());
    expect(links['C-D'].spis).toEqual([]);
    expect(Object.values(links).flatMap(({ identities }) => identities)).toEqual([]);
    expect(relays.A.knows).toEqual(['S', 'A', 'B', 'S_A']);
    expect(relays.B.knows).toEqual(['A', 'B', 'C', 'S_A', 'S_B']);
    expect(relays.C.knows).toEqual(['B', 'C', 'X', 'D', 'S_B', 'S_C', 'page']);
    for (const link of ['S-A', 'A-B', 'B-C', 'C-D']) {
      expect(readFileSync(join(captures, `${link}.pcapng`)).length).toBeGreaterThan(1_048_576);
    }
    const decoded = run(
      'npx ike-telescope decode seen/S-A.pcapng --keys seen/ikev2_decryption_table',
      captures,
    );
    expect(decoded.match(/IKE_AUTH (request|response) 1 .*\n {2}decrypted; ICV right\n/g)).toHaveLength(2);
    const tshark =
      "WIRESHARK_CONFIG_DIR=seen tshark -o esp.enable_encryption_decode:TRUE -r seen/S-A.pcapng -Y 'isakmp || http'";
    const dissected = run(tshark, captures);
    const layers = [S, hops[0].assigned, hops[1].assigned];
    for (const [index, relay] of [A, B, C].entries())
      expect(dissected).toMatch(new RegExp(`${layers[index]} +→ +${relay} +ISAKMP .* IKE_AUTH`));
    expect(dissected).toMatch(new RegExp(`${hops[2].assigned} +→ +${D} +HTTP .* GET /`));
    await rm(captures, { recursive: true });
    await expectNothingLeft(demo);
  });

  it('tells it in words, in a user namespace too', async () => {
    const demo = startDemo([], { wrapper: ['unshare', '-Urn'] });
    expect([await demo.ended, demo.stderr()]).toEqual([0, '']);
    const said = demo.stdout();
    expect(said).toMatch(
      /^Hop 1: relay A saw 198\.51\.100\.66 and assigned 10\.171\.[\d.]+; MTU 1446, 2 round trips, \d+ ms$/m,
    );
    expect(said).toMatch(/^Hop 3: .* MTU 1334, 2 round trips, \d+ ms$/m);
    expect(said).toContain('1048576 octets, status 200, SHA-256 as it should be.');
    expect(said).toMatch(/^ +S-A +A +A-B +B +B-C +C +C-D +D$/m);
    expect(said).toMatch(/^S +198\.51\.100\.66 +yes +yes( +-){6}$/m);
    expect(said).toMatch(/^D +203\.0\.113\.179( +-){5}( +yes){3}$/m);
    expect(said).toMatch(/^S_A +10\.171\.[\d.]+ +- +yes +- +yes( +-){4}$/m);
    expect(said).toContain('The page came through three relays.');
    await expectNothingLeft(demo);
  });

  it('fails, and names the leak, when a relay tells the next one of S', async () => {
    const demo = startDemo([]);
    await demo.says('The relays A, B and C are running');
    const isRelayA = (pid: number) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').endsWith('relay-A.yaml\0');
    const namespace = `/proc/${demo.processes().find(isRelayA)}/ns/net`;
    const socket = createSocket('udp4');
    socket.bind({ fd: native().withinNetworkNamespace(namespace, () => native().openUdp(A, 0)) });
    socket.send(Uint8Array.of(1, 2, ...addressBytes(S), 3), 9, B);
    expect(await demo.ended).toBe(1);
    expect(demo.stdout()).toMatch(
      /The demo has FAILED:\n {2}- S \(198\.51\.100\.66\) appears in clear on A-B: frame \d+, octet 44\n$/,
    );
    socket.close();
    await expectNothingLeft(demo);
  });

  it.each(['S 198.51.100.66 - A', 'The telescope is open'])(
    'leaves nothing when it is killed after "%s"',
    async (words) => {
      const demo = startDemo([]);
      await demo.says(words);
      demo.child.kill('SIGKILL');
      expect(await demo.ended).toBe('SIGKILL');
      await expectNothingLeft(demo);
    },
  );

  it('cleans up on Ctrl-C', async () => {
    const demo = startDemo(['--json']);
    await until('a relay', () => demo.processes().length > 8);
    demo.child.kill('SIGINT');
    expect(await demo.ended).toBe(130);
    expect(JSON.parse(demo.stdout())).toEqual({
      ok: false,
      mode: 'namespaces',
      error: 'stopped by SIGINT',
    });
    await expectNothingLeft(demo);
  });
});

describe('the loopback demo', { timeout: PATIENCE }, () => {
  it.each(['--keep-pcap', '--keylog'])('has no links to capture: %s', async (option) => {
    const demo = startDemo(['--loopback', option, 'nowhere']);
    expect(await demo.ended).toBe(64);
    expect(demo.stderr()).toContain("cannot be used with option '--loopback'");
  });

  it('needs no program and no privilege, and says that it shows nothing of observers', async () => {
    const demo = startDemo(['--loopback', '--json'], {
      wrapper: [
        'setpriv',
        '--no-new-privs',
        '--bounding-set=-all',
        '--inh-caps=-all',
        'env',
        'PATH=/nonexistent',
      ],
    });
    expect([await demo.ended, demo.stderr()]).toEqual([0, '']);
    const result: LoopbackResult = JSON.parse(demo.stdout());
    expect(result).toMatchObject({
      ok: true,
      mode: 'loopback',
      echo: { datagrams: 1024, bytes: 1_048_576, sha256Match: true },
      links: null,
    });
    expect(result.hops.map(({ relay, mtu }) => [relay, mtu])).toEqual([
      ['A', 1438],
      ['B', 1382],
      ['C', 1326],
    ]);
    const inWords = startDemo(['--loopback']);
    expect(await inWords.ended).toBe(0);
    expect(inWords.stdout()).toMatch(
      /Nothing was\s+shown about what an observer of a link, or a relay, comes to know/,
    );
  });
});
