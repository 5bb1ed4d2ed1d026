import { createHash, randomBytes } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { stringify } from 'yaml';
import { defaultProvider } from '../crypto/default.ts';
import { systemClock } from '../endpoint/system-clock.ts';
import { parseRelayConfig, type RelayConfig } from '../relay/config.ts';
import { encodeKeyFile } from '../relay/key-file.ts';
import { Relay } from '../relay/relay.ts';
import { openTelescope, type Telescope } from '../telescope/telescope.ts';
import { openUdp } from '../telescope/udp.ts';
import { HostLink } from '../transport/host-link.ts';
import type { Address } from '../wire/address.ts';
import { abortion } from './abortion.ts';
import { type HopReport, hopLine } from './hop-report.ts';
import { RELAYS, type RelayName } from './knowledge.ts';
import { LoopbackExit } from './loopback-exit.ts';

/** All of 127.0.0.0/8 is this machine; the ports are above those that need privileges. */
const LOCAL: Readonly<Record<'S' | 'D' | RelayName, Address>> = {
  S: '127.77.0.1',
  A: '127.77.0.2',
  B: '127.77.0.3',
  C: '127.77.0.4',
  D: '127.77.0.5',
};
const PORTS = { ikePort: 20_500, encapsulatedPort: 24_500 };
/** What S calls D: relays let nobody out to 127.0.0.0/8. */
const D_ADDRESS = '203.0.113.179';
const ECHO_PORT = 7;
const SOURCE_PORT = 40_000;

const DATAGRAMS = 1024;
const DATAGRAM_OCTETS = 1024;
/** Datagrams on their way at once. */
const WINDOW = 32;
/** Milliseconds without any echo after which the missing datagrams are sent again. */
const IMPATIENCE = 1_000;

/** What `ike-telescope demo --loopback --json` prints. Nothing is known of observers, so there are no links. */
export interface LoopbackResult {
  readonly ok: boolean;
  readonly mode: 'loopback';
  readonly hops: readonly HopReport[];
  readonly echo: { readonly datagrams: number; readonly bytes: number; readonly sha256Match: boolean };
  readonly links: null;
}

/** Sends numbered datagrams through a telescope of ESP in UDP over the loopback interface, to an echo and back. */
export async function runLoopbackDemo(
  narrate: (text: string) => void,
  signal: AbortSignal,
): Promise<LoopbackResult> {
  const crypto = defaultProvider();
  const closers: (() => unknown)[] = [];
  try {
    const echo = await openEcho();
    closers.push(() => echo.close());
    const configs = relayConfigs();
    const local = { address: LOCAL.D, port: echo.address().port };
    const relays: Relay[] = [];
    for (const config of configs) {
      const exit = config.exit && new LoopbackExit({ address: D_ADDRESS, port: ECHO_PORT, local });
      relays.push(await Relay.open({ config, crypto, clock: systemClock, exit }));
    }
    closers.push(() => Promise.all(relays.map((relay) => relay.close())));
    await Promise.race([Promise.all(relays.map(({ ready }) => ready)), abortion(signal)]);
    narrate(
      'The relays A, B and C are running in this process, and the overlay tunnels A=B and B=C are up.\n',
    );
    const link = new HostLink({
      address: LOCAL.S,
      mtu: 1500,
      ikePort: 0,
      encapsulatedPort: 0,
      peerIkePort: PORTS.ikePort,
      peerEncapsulatedPort: PORTS.encapsulatedPort,
      encapsulatedOnly: true,
    });
    const hops: HopReport[] = [];
    const telescope = await openTelescope(
      link,
      configs.map(({ own }) => own),
      {
        crypto,
        clock: systemClock,
        encapsulated: true,
        signal,
        onHop: ({ relay, source, assigned, mtu, roundTrips, milliseconds }) => {
          const ms = Math.round(milliseconds);
          hops.push({ relay: relay.name, source, assigned: assigned.ip4!, mtu, roundTrips, ms });
          narrate(hopLine(hops.length, hops[hops.length - 1]));
        },
      },
    );
    closers.push(() => telescope.close());
    narrate(`\nSending ${DATAGRAMS} datagrams of ${DATAGRAM_OCTETS} octets to D and back ...`);
    const sent = numberedDatagrams();
    const received = await echoAll(telescope, sent, signal);
    const sha256Match = digest(sent) === digest(received);
    const bytes = received.reduce((sum, { length }) => sum + length, 0);
    narrate(`${bytes} octets came back, SHA-256 ${sha256Match ? 'as it should be' : 'WRONG'}.\n`);
    narrate(
      'This was one machine talking to itself over 127.0.0.0/8: three hops of IKEv2 and ESP in UDP work here. Nothing was\n' +
        'shown about what an observer of a link, or a relay, comes to know; the demo without --loopback shows that.',
    );
    return {
      ok: sha256Match,
      mode: 'loopback',
      hops,
      echo: { datagrams: received.length, bytes, sha256Match },
      links: null,
    };
  } finally {
    for (const close of closers.reverse()) await close();
  }
}

/** The configurations of A, B and C, neighbours being peers, and C an exit. */
function relayConfigs(): readonly RelayConfig[] {
  const crypto = defaultProvider();
  const yaml = (name: RelayName, peers: readonly RelayName[]) =>
    stringify({
      name,
      key: 'key',
      address: { ip4: LOCAL[name] },
      pool: { ip4: `10.${171 + RELAYS.indexOf(name)}.0.0/16` },
      peers,
      ...PORTS,
      mtu: 1500,
      encapsulation: 'udp',
      ...(name === 'C' && { exit: { kind: 'sockets' } }),
    });
  const keys = { A: '', B: '', C: '' };
  const descriptors = { A: '', B: '', C: '' };
  for (const name of RELAYS) {
    keys[name] = encodeKeyFile(crypto.signatures.generate('ed25519'));
    descriptors[name] = parseRelayConfig(yaml(name, []), name, () => keys[name], crypto).descriptor;
  }
  return RELAYS.map((name, index) => {
    const peers = RELAYS.filter((_, other) => Math.abs(other - index) === 1);
    const read = (file: string) => (file === 'key' ? keys[name] : descriptors[file as RelayName]);
    return parseRelayConfig(yaml(name, peers), name, read, crypto);
  });
}

async function openEcho(): Promise<Socket> {
  const socket = createSocket('udp4');
  socket.on('message', (message, { port, address }) => socket.send(message, port, address));
  socket.bind(0, LOCAL.D);
  await once(socket, 'listening');
  return socket;
}

/** Random datagrams that start with their number. */
function numberedDatagrams(): readonly Uint8Array[] {
  return Array.from({ length: DATAGRAMS }, (_, number) => {
    const payload = randomBytes(DATAGRAM_OCTETS);
    payload.writeUInt32BE(number);
    return payload;
  });
}

/** Sends each until it has come back. @returns what came back, in order */
async function echoAll(
  telescope: Telescope,
  payloads: readonly Uint8Array[],
  signal: AbortSignal,
): Promise<readonly Uint8Array[]> {
  const received = new Map<number, Uint8Array>();
  const udp = openUdp(telescope, SOURCE_PORT);
  const send = (number: number) => udp.send(payloads[number], { address: D_ADDRESS, port: ECHO_PORT });
  let next = 0;
  const sendNext = () => {
    if (next < payloads.length) send(next++);
  };
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => {
      for (let number = 0; number < next; number++) if (!received.has(number)) send(number);
      timer.refresh();
    }, IMPATIENCE);
    const stop = (settle: () => void) => {
      udp.onMessage(() => {});
      clearTimeout(timer);
      settle();
    };
    signal.addEventListener('abort', () => stop(() => reject(signal.reason)), { once: true });
    void telescope.closed.then((error) => stop(() => reject(error)));
    udp.onMessage((message) => {
      const number = new DataView(message.buffer, message.byteOffset).getUint32(0);
      if (received.has(number)) return;
      received.set(number, message);
      timer.refresh();
      sendNext();
      if (received.size === payloads.length) stop(resolve);
    });
    for (let i = 0; i < WINDOW; i++) sendNext();
  });
  return payloads.map((_, number) => received.get(number) ?? new Uint8Array(0));
}

function digest(payloads: readonly Uint8Array[]): string {
  const hash = createHash('sha256');
  for (const payload of payloads) hash.update(payload);
  return hash.digest('hex');
}
