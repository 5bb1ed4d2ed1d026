import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ADDRESSES, openTopology, type Topology } from '../../src/demo/topology.ts';
import { compiledSources } from '../support/compiled.ts';
import { eventually } from './running-client.ts';

const PATIENCE = 60_000;
const CLIENT = fileURLToPath(new URL('socks-client.mjs', import.meta.url));
const NAME = 'host.example';
/**
 * In D: TCP says who is there and, once that has ended, what it sent, in upper case; UDP sends it back; DNS knows one name, at D itself.
 */
const SERVER = `
const { createServer } = require('net');
createServer({ allowHalfOpen: true }, (s) => {
  let text = '';
  s.on('data', (d) => { text += d; }).on('end', () => s.end(s.remoteAddress + ' ' + text.toUpperCase()));
}).listen(8080, '0.0.0.0', () => console.log('up'));
const udp = (port, answer) => {
  const socket = require('dgram').createSocket('udp4');
  socket.on('message', (m, r) => { const a = answer(m, r); if (a) socket.send(a, r.port, r.address); }).bind(port);
};
udp(7, (m, r) => Buffer.from(r.address + ' ' + m));
udp(53, (m) => {
  const known = m.includes('host') && m.readUInt16BE(m.length - 4) === 1;
  const answer = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, ${ADDRESSES.D.split('.').join()}];
  const head = Buffer.from([m[0], m[1], 0x81, known ? 0x80 : 0x83, 0, 1, 0, known ? 1 : 0, 0, 0, 0, 0]);
  return Buffer.concat([head, m.subarray(12), Buffer.from(known ? answer : [])]);
});`;

const NOBODY = 65_534;
/** With a TUN driver that everybody may open, as udev makes it, in a mount namespace that ends with the test. */
const AS_NOBODY = [
  ...['unshare', '--mount', 'sh', '-c'],
  `mount -t tmpfs tmpfs /dev/net && mknod -m 666 /dev/net/tun c 10 200 && exec setpriv --reuid=${NOBODY} --regid=${NOBODY} --clear-groups "$@"`,
  'sh',
];

let topology: Topology;
/** Of an unprivileged user's. */
let own: string;
beforeAll(async () => {
  own = mkdtempSync(join(tmpdir(), 'ike-telescope-up-'));
  chmodSync(own, 0o755);
  topology = await openTopology({ compiled: compiledSources(), relayConfig: { dns: [ADDRESSES.D] } });
  await topology.startRelays();
  const served = topology.namespaces.D.spawn([process.execPath, '-e', SERVER], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await new Promise((resolve) => served.stdout?.once('data', resolve));
}, PATIENCE);
afterAll(async () => {
  await topology.close();
  rmSync(own, { recursive: true });
});

it(
  'keeps telescopes ready, serves SOCKS clients through them without root, and leaves nothing',
  async () => {
    const { namespaces, keys } = topology;
    const [relays, state] = [join(own, 'relays'), join(own, 'state')];
    mkdirSync(relays);
    mkdirSync(state);
    chownSync(state, NOBODY, NOBODY);
    for (const { relay } of keys)
      writeFileSync(join(relays, `${relay}.yaml`), readFileSync(join(topology.directory, `${relay}.yaml`)));
    // S reaches A only: that is where it begins.
    const guard = { keyId: keys[0].keyId, sampledAt: Date.now(), confirmedAt: Date.now() };
    writeFileSync(join(state, 'guards.json'), JSON.stringify({ version: 1, guards: [guard] }));

    const args = ['up', '--relays', relays, '--state', state, '--socks', '127.0.0.1:0', '--near', '--json'];
    const up = namespaces.S.spawn([...AS_NOBODY, ...topology.node('cli/main.js'), ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let output = '';
    up.stdout!.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    const ended = new Promise((resolve) => up.once('close', (...status) => resolve(status)));
    const events = () =>
      output
        .split('\n')
        .slice(0, -1)
        .map((line) => JSON.parse(line) as { readonly event: string; readonly port?: number });
    const built = () => events().filter(({ event }) => event === 'built').length;
    const port = await eventually(
      'its port',
      () => events().find(({ event }) => event === 'listening')?.port,
    );
    const ask = async (...words: readonly string[]) =>
      (await namespaces.S.exec([process.execPath, CLIENT, String(port), ...words])).stdout;

    // Nothing is ready yet; what is sent meanwhile is kept.
    expect(await ask('early', NAME, '8080', 'hello')).toBe(`${ADDRESSES.X} HELLO`);
    expect(await ask('connect', NAME, '8080', 'hello')).toBe(`${ADDRESSES.X} HELLO`);
    expect(await ask('connect', ADDRESSES.D, '8080', 'hello', 'alice')).toBe(`${ADDRESSES.X} HELLO`);
    expect(await ask('udp', NAME, '7', 'ping', 'alice')).toBe(`${ADDRESSES.X} ping`);
    expect(await ask('connect', 'nowhere.example', '8080', 'hello')).toBe('reply 4');
    expect(await ask('connect', ADDRESSES.D, '9', 'hello')).toBe('reply 5');
    expect(await ask('connect', '10.0.0.1', '8080', 'hello')).toBe('reply 2');
    expect(await ask('connect', ADDRESSES.D, '25', 'hello')).toBe('reply 1');
    // Two were taken, and those that took their place.
    await eventually('two more telescopes', () => built() >= 4);
    expect(output).not.toMatch(/\d+\.\d+\.\d+\.\d+|relay|"A"|guard/);

    const held = namespaces.S.spawn(
      [process.execPath, CLIENT, String(port), 'hold', ADDRESSES.D, '8080', ''],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    await once(held.stdout!, 'data');
    const left = once(held, 'exit');
    up.kill('SIGTERM');
    expect(await ended).toEqual([0, null]);
    await left;
    const links = await namespaces.S.exec(['ip', '-json', 'link']);
    expect(JSON.parse(links.stdout).map(({ ifname }: { ifname: string }) => ifname)).toEqual(['lo', 'toA']);
    for (const file of ['guards.json', 'build-times.json'])
      expect(statSync(join(state, file)).mode & 0o777).toBe(0o600);
    const { guards } = JSON.parse(readFileSync(join(state, 'guards.json'), 'utf8'));
    expect(guards[0]).toEqual(guard);
    const { times } = JSON.parse(readFileSync(join(state, 'build-times.json'), 'utf8'));
    expect(times).toHaveLength(built());
  },
  PATIENCE,
);
