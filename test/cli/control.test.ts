import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { nodeProvider } from '../../src/crypto/node.ts';
import { encodeKeyFile } from '../../src/relay/key-file.ts';
import { compiledSources } from '../support/compiled.ts';
import { ed25519Key } from '../support/signing-keys.ts';
import { relayConfigs } from '../support/sim-relays.ts';
import { until } from '../support/waiting.ts';

const PATIENCE = 90_000;
const METRICS = 19_464;
const directory = mkdtempSync(join(tmpdir(), 'cli-control-'));
const config = join(directory, 'relay.yaml');
const socket = join(directory, 'a.sock');

/** A relay that needs no privilege, on loopback. */
function write(...more: readonly string[]): void {
  const lines = [
    'name: a',
    'key: a.pem',
    'address: { ip4: 127.0.78.1 }',
    'pool: { ip4: 10.1.0.0/16 }',
    'encapsulation: udp',
    'ikePort: 15541',
    'encapsulatedPort: 15542',
    'mtu: 1500',
    'control: a.sock',
    `metrics: 127.0.0.1:${METRICS}`,
  ];
  writeFileSync(config, [...lines, ...more, ''].join('\n'));
}

function run(...args: readonly string[]) {
  const command = [join(compiledSources(), 'cli/main.js'), ...args];
  const { status, stdout, stderr } = spawnSync(process.execPath, command, { encoding: 'utf8' });
  return { status, stdout, stderr };
}

let relay: ChildProcess;
let said = '';
beforeAll(async () => {
  writeFileSync(join(directory, 'a.pem'), encodeKeyFile(ed25519Key(nodeProvider(), 99)), { mode: 0o600 });
  const peer = relayConfigs([{ name: 'b', number: 2 }]).get('b')!;
  writeFileSync(join(directory, 'b.yaml'), peer.descriptor);
  write();
  const command = [join(compiledSources(), 'cli/main.js'), 'relay', '--config', config, '--json'];
  relay = spawn(process.execPath, command, { stdio: ['ignore', 'pipe', 'inherit'] });
  relay.stdout?.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  await until('the relay', () => said.includes('listening'));
}, PATIENCE);
afterAll(() => {
  relay.kill('SIGKILL');
  rmSync(directory, { recursive: true });
});

describe('a running relay', () => {
  it('tells how it is, by its control socket', { timeout: PATIENCE }, () => {
    const { status, stdout } = run('status', '--socket', socket, '--json');
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ name: 'a', backend: 'userspace', clients: 0 });
    expect(run('status', '--socket', socket).stdout).toMatch(
      /^relay a \(key id .*\), userspace, version \d.*\nclients 0, half-open 0/,
    );
  });

  it('says what it has not got', { timeout: PATIENCE }, () => {
    expect(run('close', '7', '--socket', socket)).toEqual({
      status: 71,
      stdout: '',
      stderr: "ike-telescope: there is no client or overlay '7'; see list\n",
    });
    expect(run('list', '--socket', join(directory, 'no.sock'))).toMatchObject({
      status: 71,
      stderr: expect.stringMatching(/no\.sock: there is no such socket: is the relay running/),
    });
  });

  it('reads its configuration again, by command or SIGHUP, and keeps the one it has if the new one is wrong', {
    timeout: PATIENCE,
  }, async () => {
    write('peers: [b.yaml]', 'maxClients: 5');
    expect(run('reload', '--socket', socket).stdout).toBe('changed: peers, maxClients\n');
    expect(run('list', '--socket', socket).stdout).toMatch(/^overlay {2}o1 {2}b {2}down/);
    write('peer: [b.yaml]');
    expect(run('reload', '--socket', socket)).toMatchObject({
      status: 71,
      stderr: expect.stringMatching(
        /relay\.yaml: line 11, column 1: peer: no such key; .* did you mean peers\?/,
      ),
    });
    write('overlayMtu: 1300');
    relay.kill('SIGHUP');
    await until('the refusal', () => said.includes('restart the relay for overlayMtu, or'));
    write();
    relay.kill('SIGHUP');
    await until('the change', () => said.includes('{"event":"reloaded","changed":["peers","maxClients"]}'));
  });

  it('tells its metrics', async () => {
    const response = await fetch(`http://127.0.0.1:${METRICS}/metrics`);
    expect(await response.text()).toMatch(/\nike_telescope_relay_clients 0\n/);
  });

  it('ends in order, and takes its socket away', { timeout: PATIENCE }, async () => {
    const closed = once(relay, 'close');
    relay.kill('SIGTERM');
    expect(await closed).toEqual([0, null]);
    expect(statSync(socket, { throwIfNoEntry: false })).toBeUndefined();
  });
});
