import { readdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { captureLink } from '../../src/demo/capture.ts';
import { ADDRESSES, openTopology, type Topology } from '../../src/demo/topology.ts';
import type { CapturedFrame } from '../../src/native/native.ts';
import { addressText } from '../../src/wire/address.ts';
import { parseIpHeader } from '../../src/wire/ip.ts';
import {
  eventually,
  initOf,
  networkNamespaceOf,
  processesIn,
  type RunningClient,
  startClient,
} from '../cli/running-client.ts';
import { compiledSources, nodeCommand } from '../support/compiled.ts';
import { native } from '../support/namespaces.ts';

const PORT = 8080;
const ECHO_PORT = 7008;
const LIAR_PORT = 7009;
const NAME_SERVER = '203.0.113.53';
const ETHERNET = 14;
/** Prints the address that D sees. */
const ASK = `require('net').connect(${PORT}, '${ADDRESSES.D}').on('data', (d) => process.stdout.write(d))`;
/** Sends to D, again and again, what applications should not: DF clear, with DSCP and ECN; and DNS to D. */
const CHATTER = `
  use Socket; socket(my $s, PF_INET, SOCK_DGRAM, 0) or die;
  setsockopt($s, 0, 10, pack("i", 0)) or die; setsockopt($s, 0, 1, pack("i", 0xb9)) or die;
  $| = 1; print "started\\n";
  for (;;) { for my $port (7007, ${LIAR_PORT}, 53, 853) { send($s, "x" x 600, 0, sockaddr_in($port, inet_aton("${ADDRESSES.D}"))); }
    select(undef, undef, undef, 0.02); }`;

/** Answers datagrams with ICMP: too big, the MTU is 600. */
const LIAR = `
  use Socket; socket(my $u, PF_INET, SOCK_DGRAM, 0) or die; socket(my $r, PF_INET, SOCK_RAW, 1) or die;
  my $self = inet_aton("${ADDRESSES.D}"); bind($u, sockaddr_in(${LIAR_PORT}, $self)) or die;
  sub sum { my $s = unpack("%32n*", $_[0]); $s = ($s & 0xffff) + ($s >> 16) while $s >> 16; ~$s & 0xffff }
  for (;;) {
    my $from = recv($u, my $data, 2000, 0); my ($port, $address) = sockaddr_in($from);
    my $quoted = pack("CCnnnCCna4a4", 0x45, 0, 628, 0, 0x4000, 60, 17, 0, $address, $self);
    substr($quoted, 10, 2) = pack("n", sum($quoted));
    my $icmp = pack("CCnnn", 3, 4, 0, 0, 600) . $quoted . pack("nnnn", $port, ${LIAR_PORT}, 608, 0);
    substr($icmp, 2, 2) = pack("n", sum($icmp));
    send($r, $icmp, 0, sockaddr_in(0, $address));
  }`;

let topology: Topology;
beforeAll(async () => {
  topology = await openTopology({ compiled: compiledSources(), relayConfig: { dns: [NAME_SERVER] } });
  // One after the other: a guest's CPU is slow.
  for (const name of ['A', 'B', 'C'] as const) await topology.startRelays([name]);
  const server = `
    const echo = require('dgram').createSocket('udp4');
    echo.on('message', (message, { address, port }) => echo.send(message, port, address)).bind(${ECHO_PORT});
    require('net').createServer((s) => s.end(s.remoteAddress)).listen(${PORT}, () => console.log('up'))`;
  const served = topology.namespaces.D.spawn([process.execPath, '-e', server], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await new Promise((resolve) => served.stdout?.once('data', resolve));
  topology.namespaces.D.spawn(['perl', '-e', LIAR], { stdio: 'inherit' });
}, 300_000);
afterAll(() => topology.close());

function start(options: readonly string[], ...command: readonly string[]): RunningClient {
  return startClient(topology, [
    ...['--path', topology.pathFile, ...options],
    ...(command.length > 0 ? ['--', ...command] : []),
  ]);
}

const KERNEL = ['--backend', 'xfrm'];

/** SAs and policies of S's own namespace. */
async function inKernel(): Promise<string> {
  const { S } = topology.namespaces;
  const [states, policies] = [await S.exec(['ip', 'xfrm', 'state']), await S.exec(['ip', 'xfrm', 'policy'])];
  return states.stdout + policies.stdout;
}

/** The namespace that has a client's SAs with `relay`: S's own, or one between two hops. */
async function namespaceOfSasWith(client: RunningClient, relay: 'A' | 'B' | 'C'): Promise<string> {
  const directory = `/proc/${initOf(client.processes())}/fd`;
  const own = networkNamespaceOf(initOf(client.processes()));
  const files = readdirSync(directory)
    .map((fd) => join(directory, fd))
    .filter((file) => /^net:/.test(linkOf(file)) && linkOf(file) !== own);
  const { S } = topology.namespaces;
  for (const file of [S.file, ...files]) {
    const { stdout } = await S.exec(['nsenter', `--net=${file}`, 'ip', 'xfrm', 'state']);
    if (stdout.includes(`dst ${ADDRESSES[relay]}`)) return file;
  }
  throw new Error(`there are no SAs with ${relay}`);
}

function linkOf(file: string): string {
  try {
    return readlinkSync(file);
  } catch {
    return ''; // closed meanwhile
  }
}

/** What S has sent, each form once: "50 DF TTL 64 TOS 0 ID 0 192.0.2.113" (protocol, header, destination). */
function sentBy(frames: readonly CapturedFrame[]): string[] {
  const forms = frames.flatMap(({ bytes }) => {
    const header = parseIpHeader(bytes, ETHERNET, bytes.length);
    if (header === undefined) return [];
    const view = new DataView(bytes.buffer, bytes.byteOffset + ETHERNET);
    const text = (from: number) => addressText(bytes.subarray(from, from + 4));
    if (text(header.source) === ADDRESSES.A) return [];
    const fragmentation = view.getUint16(6) === 0x4000 ? 'DF' : `fragmentation ${view.getUint16(6)}`;
    const own = `TTL ${view.getUint8(8)} TOS ${view.getUint8(1)} ID ${view.getUint16(4)}`;
    const port = header.protocol === 17 ? ` port ${view.getUint16(header.payload - ETHERNET + 2)}` : '';
    return [`${header.protocol} ${fragmentation} ${own} to ${text(header.destination)}${port}`];
  });
  return [...new Set(forms)].sort();
}

/** The ports of D that packets have come to. */
function portsOf(frames: readonly CapturedFrame[]): number[] {
  const ports = frames.flatMap(({ bytes }) => {
    const header = parseIpHeader(bytes, ETHERNET, bytes.length);
    if (header === undefined) return [];
    const isToD = addressText(bytes.subarray(header.destination, header.destination + 4)) === ADDRESSES.D;
    return isToD ? [(bytes[header.payload + 2] << 8) | bytes[header.payload + 3]] : [];
  });
  return [...new Set(ports)].sort((a, b) => a - b);
}

const HEADER = `DF TTL 64 TOS 0 ID 0 to ${ADDRESSES.A}`;
/** S and A speak MOBIKE, so they move to port 4500 at once (RFC 4555 3.3). */
const IKE = [`17 ${HEADER} port 4500`, `17 ${HEADER} port 500`];
const ESP = `50 ${HEADER}`;

describe('a telescope that the kernel carries', () => {
  it('leads to the destination, with one header and MTU for all packets, and no DNS but to the assigned servers', async () => {
    const { S, D } = topology.namespaces;
    const captures = [captureLink(native(), S, 'toA'), captureLink(native(), D, 'toC')];
    const script = `perl -e '${CHATTER}' & sleep 1
      grep Icmp: /proc/net/snmp; ip route get ${ADDRESSES.D}; exec "$0" "$@"`;
    const client = start(KERNEL, 'sh', '-c', script, process.execPath, '-e', ASK);
    expect(await client.ended).toEqual({ status: 0, signal: null });
    expect(client.stdout()).toContain(ADDRESSES.X);
    const hops = client.events.flatMap((event) => (event.event === 'hop' ? [event] : []));
    expect(hops.map(({ relay, mtu, source }) => [relay, mtu, source])).toEqual([
      ['A', 1446, ADDRESSES.S],
      ['B', 1390, hops[0].assigned[0]],
      ['C', 1334, hops[1].assigned[0]],
    ]);
    expect(await client.event('established')).toMatchObject({ mtu: 1280, dns: [NAME_SERVER] });
    const closed = client.events.flatMap((event) => (event.event === 'hop-closed' ? [event.hop] : []));
    expect(closed).toEqual([3, 2, 1]);
    for (const capture of captures) capture.close();
    expect(sentBy(captures[0].frames)).toEqual([...IKE, ESP]);
    expect(portsOf(captures[1].frames)).toEqual([7007, LIAR_PORT, PORT]);
    const seen = sentBy(captures[1].frames).filter((form) => form.endsWith(` to ${ADDRESSES.D} port 7007`));
    expect(seen).toEqual([`17 DF TTL 63 TOS 0 ID 0 to ${ADDRESSES.D} port 7007`]);
    // The lie has arrived, and is not believed.
    expect(client.stdout()).toMatch(/^Icmp: [1-9]\d* /m);
    expect(client.stdout()).toMatch(/ mtu lock 1280/);
    expect(client.stdout()).not.toMatch(/ mtu 600/);
    expect(await inKernel()).toBe('');
  });

  it('sends nothing in clear when SAs, then policies, of each hop are gone', async () => {
    const client = start(KERNEL, 'perl', '-e', CHATTER);
    await eventually('the command', () => client.stdout().includes('started'));
    // It would notice, and close everything.
    const init = initOf(client.processes());
    process.kill(init, 'SIGSTOP');
    for (const relay of ['C', 'B', 'A'] as const) {
      const file = await namespaceOfSasWith(client, relay);
      for (const what of ['state', 'policy']) {
        await topology.namespaces.S.exec(['nsenter', `--net=${file}`, 'ip', 'xfrm', what, 'flush']);
        const capture = captureLink(native(), topology.namespaces.S, 'toA');
        await new Promise((resolve) => setTimeout(resolve, 500));
        capture.close();
        const sent = sentBy(capture.frames);
        expect(sent).toEqual(sent.filter((form) => IKE.includes(form) || (form === ESP && relay !== 'A')));
      }
    }
    process.kill(init, 'SIGCONT');
    client.press('SIGINT');
    await client.ended;
    expect(await inKernel()).toBe('');
  });

  it('ends, and says why, when the SAs of a hop are gone', async () => {
    const client = start(KERNEL, 'perl', '-e', CHATTER);
    await eventually('the command', () => client.stdout().includes('started'));
    const file = await namespaceOfSasWith(client, 'B');
    await topology.namespaces.S.exec(['nsenter', `--net=${file}`, 'ip', 'xfrm', 'state', 'flush']);
    expect((await client.ended).status).toBe(69);
    expect(await client.event('error')).toMatchObject({ kind: 'telescope', relay: 'B' });
    expect(await inKernel()).toBe('');
  });

  it('leaves nothing when a process of it is killed', async () => {
    const client = start(KERNEL);
    const { pid } = await client.event('established');
    const namespace = networkNamespaceOf(pid!);
    expect(await inKernel()).toContain(ADDRESSES.A);
    process.kill(initOf(client.processes()), 'SIGKILL');
    expect((await client.ended).status).toBe(71);
    expect(await inKernel()).toBe('');
    expect(processesIn(namespace)).toEqual([]);
  });

  it('leaves nothing that the next one does not remove when all of it is killed at once', async () => {
    const client = start(KERNEL);
    await client.event('established');
    client.press('SIGKILL');
    await client.ended;
    await eventually('the end of its processes', () => client.processes().length === 0);
    const next = start(KERNEL, process.execPath, '-e', ASK);
    expect((await next.ended).status).toBe(0);
    expect(next.stdout()).toContain(ADDRESSES.X);
    expect(await inKernel()).toBe('');
  });

  it('is refused where there is one through that entry already, unless user space will do', async () => {
    const first = start(KERNEL);
    await first.event('established');
    const second = start(KERNEL, 'true');
    expect((await second.ended).status).toBe(71);
    const error = await second.event('error');
    expect(error.message).toMatch(
      /could not tell the packets of two telescopes .* through the entry .* apart/,
    );
    const third = start(['--backend', 'auto'], process.execPath, '-e', ASK);
    expect((await third.ended).status).toBe(0);
    expect(third.stdout()).toContain(ADDRESSES.X);
    expect(third.stderr()).toMatch(/"event":"fallback","backend":"userspace","message":"[^"]*apart/);
    first.press('SIGINT');
    expect((await first.ended).status).toBe(0);
  });
});

/** As a library: every hop rekeyed while D echoes datagrams; prints which of them came back, and counters. */
const REKEYING = `
  import { spawn } from 'node:child_process';
  import { once } from 'node:events';
  import { setTimeout as delay } from 'node:timers/promises';
  const { defaultProvider, openHost, openTelescope, readPath } = await import(SRC + '/index.js');
  const host = await openHost('${ADDRESSES.A}', 'xfrm');
  const telescope = await openTelescope(host.link, readPath(process.argv[1], defaultProvider()), host.options);
  const namespace = await host.enter(telescope);
  const application = \`
    const socket = require('dgram').createSocket('udp4'), back = new Set();
    let sent = 0;
    socket.on('message', (message) => back.add(message.readUInt32BE()));
    const timer = setInterval(() => {
      const message = Buffer.alloc(1000);
      message.writeUInt32BE(sent++);
      socket.send(message, ${ECHO_PORT}, '${ADDRESSES.D}');
    }, 20);
    process.on('SIGTERM', () => {
      clearInterval(timer);
      setTimeout(() => { console.log(JSON.stringify({ sent, back: back.size })); process.exit(); }, 3000);
    });\`;
  const child = namespace.within(() =>
    spawn(process.execPath, ['-e', application], { stdio: ['ignore', 'inherit', 'inherit'] }));
  await delay(1000);
  for (const { connection } of telescope.hops) {
    connection.rekeyChildren();
    await delay(1000);
    connection.rekey();
    await delay(1000);
  }
  child.kill();
  await once(child, 'exit');
  await delay(2500);
  console.log(JSON.stringify(telescope.hops.map(({ tunnel }) => tunnel.counters)));
  namespace.close();
  await telescope.close();
  await host.close();
  process.exit();`;

it('is at the service of programs, loses nothing when every hop is rekeyed, and counts', async () => {
  const [program, ...args] = nodeCommand(REKEYING, topology.pathFile);
  const { stdout } = await topology.namespaces.S.exec([program, ...args]);
  const [{ sent, back }, ...counters] = stdout
    .trim()
    .split('\n')
    .flatMap((line) => JSON.parse(line));
  expect(sent).toBeGreaterThan(100);
  expect(back).toBe(sent);
  expect(counters).toHaveLength(3);
  for (const { packetsIn, packetsOut } of counters) {
    expect(packetsIn).toBeGreaterThan(0);
    expect(packetsOut).toBeGreaterThan(0);
  }
  expect(await inKernel()).toBe('');
});
