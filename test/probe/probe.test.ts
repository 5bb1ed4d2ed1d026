import { describe, expect, it } from 'vitest';
import type { IkeConnection } from '../../src/endpoint/connection.ts';
import type { Endpoint } from '../../src/endpoint/endpoint.ts';
import { keyOfAddress } from '../../src/forward/address-key.ts';
import type { Exit } from '../../src/forward/exit.ts';
import type { PeerClaim, ResponderProfile } from '../../src/ike/config.ts';
import { AuthMethod } from '../../src/ike/constants.ts';
import { packetBytes, packetFrom } from '../../src/link/packet.ts';
import type { WatchPackets } from '../../src/probe/outer-headers.ts';
import type { Point } from '../../src/probe/point.ts';
import { type Address, addressBytes, parsePrefix } from '../../src/wire/address.ts';
import { equalBytes } from '../../src/wire/bytes.ts';
import { IpProtocol } from '../../src/wire/ip.ts';
import { anySelector, prefixSelector } from '../../src/wire/traffic-selector.ts';
import { anonymousProfile, pool, sharedKey, signature } from '../support/ike-configs.ts';
import { SimNat } from '../support/sim-nat.ts';
import { SimNetwork } from '../support/sim-network.ts';
import { RelayNetwork, relayAddress } from '../support/sim-relays.ts';
import { VirtualClock } from '../support/virtual-clock.ts';
import { AnsweringExit, crypto, probeOver, RESPONDER, respond } from './probed.ts';

/** Somewhere beyond the exit. */
const ECHO = '198.51.100.80';

describe('a relay of ours', () => {
  const more = 'exit: { kind: sockets }\npublicSharedKey: anonymous';
  const open = async () => {
    const relays = new RelayNetwork([
      { name: 'a', number: 1, peers: ['b'], more },
      { name: 'b', number: 2, peers: ['a'] },
      { name: 'c', number: 3 },
    ]);
    await relays.start('a', { exit: new AnsweringExit() });
    await relays.start('b');
    await relays.start('c');
    await relays.settle();
    return relays;
  };

  it('can serve as a relay, point by point', async () => {
    const relays = await open();
    const { publicKey } = relays.configs.get('a')!.own;
    const { network, clock } = relays;
    const { watch } = watcher(network);
    const { points, canServe, status } = await probeOver(network, clock, 'a', {
      publicKey,
      echo: ECHO,
      relays: [relayAddress(2)],
      watch,
    });
    expect(points.filter((point) => point.status !== 'pass')).toEqual([]);
    expect(Object.keys(status)).toHaveLength(14);
    expect(canServe).toBe(true);
    const reasons = Object.fromEntries(points.map(({ id, reason }) => [id, reason]));
    expect(reasons['ike-sa-init']).toBe('AES_GCM_16-256, HMAC_SHA2_256, CURVE25519');
    expect(reasons['client-authentication']).toBe(
      'NULL: yes; the public shared key with keyid:anonymous: yes',
    );
    expect(reasons.proof).toBe('Ed25519, by the key that was named');
    expect(reasons.address).toMatch(/^10\.1\./);
    expect(reasons.ttl).toBe('always 64 here; it is no hop of its own inside');
    expect(relays.relay('a').state().clients).toHaveLength(0);
  });

  it('does not forward to a relay that it has no overlay with', async () => {
    const relays = await open();
    const { points, canServe } = await probeOver(relays.network, relays.clock, 'a', {
      relays: [relayAddress(3)],
    });
    expect(points.find(({ id }) => id === 'relay')).toMatchObject({
      status: 'fail',
      reason: '192.0.2.3 does not answer IKE_SA_INIT through the tunnel',
      remedy: expect.stringContaining('overlay'),
    });
    expect(canServe).toBe(false);
  });

  it('is not taken in by a relay that is reached by the exit', async () => {
    const relays = new RelayNetwork([
      { name: 'a', number: 1, pool: '10.1.0.7/32', more },
      { name: 'c', number: 3 },
    ]);
    const { network, clock } = relays;
    await relays.start('a', { exit: translatingExit(network, '10.1.0.7') });
    await relays.start('c');
    network.join('nat', 'c');
    const { points } = await probeOver(network, clock, 'a', { relays: [relayAddress(3)] });
    expect(points.find(({ id }) => id === 'relay')).toMatchObject({
      status: 'fail',
      reason: '192.0.2.3 sees another address than the one assigned: by an exit, not by an overlay',
    });
  });

  it('leaves open what it does not let out, without an exit, and which key is right', async () => {
    const relays = await open();
    const { points, canServe, status } = await probeOver(relays.network, relays.clock, 'b', {
      address: relayAddress(2),
      echo: ECHO,
    });
    expect(status).toMatchObject({
      icmp: 'unknown',
      udp: 'unknown',
      tcp: 'unknown',
      dscp: 'unknown',
      proof: 'unknown',
    });
    expect(points.find(({ id }) => id === 'client-authentication')?.reason).toBe(
      'NULL: yes; the public shared key with keyid:anonymous: the peer refused IKE_AUTH: AUTHENTICATION_FAILED',
    );
    expect(canServe).toBe(true);
  });

  it('is another one than was named', async () => {
    const relays = await open();
    const { publicKey } = relays.configs.get('b')!.own;
    const { status, canServe } = await probeOver(relays.network, relays.clock, 'a', { publicKey });
    expect({ proof: status.proof, canServe }).toEqual({ proof: 'fail', canServe: false });
  });
});

/** An exit for one client, whose packets get another address on their way to the network beyond `nat`. */
function translatingExit(network: SimNetwork, client: Address): Exit {
  const inside = network.host('inside', client);
  new SimNat(network, 'nat', '198.51.100.1', (address) => address === client, 60_000);
  network.join('inside', 'nat');
  return {
    kind: 'socket',
    counters: {},
    send: (packet) => {
      network.transmit('inside', packetBytes(packet).slice());
      return undefined;
    },
    onReturn(handler) {
      inside.receive = (bytes) => handler(packetFrom(bytes), keyOfAddress(client));
    },
    releaseClient() {},
    async close() {},
  };
}

/** Sees the packets of every edge to a client; `mark` changes the outer DSCP and ECN, or the TTL, of its ESP. */
function watcher(network: SimNetwork, mark?: { readonly octet: 1 | 8; readonly value: number }) {
  const watch: WatchPackets = (handler) => {
    const join = network.join.bind(network);
    network.join = (client, name, latency) => {
      join(client, name, latency);
      network.setFault(client, name, ({ to, bytes }) => {
        if (to !== client) return [0];
        const packet = bytes.slice();
        if (mark !== undefined && packet[9] === IpProtocol.ESP) packet[mark.octet] = mark.value;
        handler(packet);
        return [0];
      });
    };
    return () => {};
  };
  return { watch };
}

describe('a responder that is no relay', () => {
  const relay = signature(crypto, 'ecdsa-p256', true);
  const good = anonymousProfile(relay);

  async function probeResponder(
    profile: (claim: PeerClaim) => ResponderProfile | undefined,
    misbehave: (endpoint: () => Endpoint, connections: IkeConnection[]) => void = () => {},
    onContact?: (endpoint: () => Endpoint, connections: IkeConnection[], fresh: IkeConnection) => void,
  ) {
    const clock = new VirtualClock();
    const network = new SimNetwork(clock);
    const connections: IkeConnection[] = [];
    let endpoint!: Endpoint;
    endpoint = await respond(network, clock, profile, {
      onChild(connection) {
        connections.push(connection);
        misbehave(() => endpoint, connections);
      },
      onInitialContact: (connection) => onContact?.(() => endpoint, connections, connection),
    });
    return probeOver(network, clock, 'r');
  }

  const one = (points: readonly Point[], id: Point['id']) => points.find((point) => point.id === id);

  it('answers nothing', async () => {
    const clock = new VirtualClock();
    const { points, canServe } = await probeOver(new SimNetwork(clock), clock, 'r');
    expect(one(points, 'ike-sa-init')).toMatchObject({
      status: 'fail',
      reason: expect.stringContaining('did not answer IKE_SA_INIT'),
      remedy: expect.stringContaining('500'),
    });
    expect(points.filter(({ status }) => status === 'unknown')).toHaveLength(13);
    expect(canServe).toBe(false);
  });

  it('shows its key, and is one if it does all that is needed', async () => {
    const { points, canServe } = await probeResponder(() => good);
    const { publicKey } = relay.remote as { publicKey: Uint8Array };
    expect(one(points, 'proof')).toEqual({
      id: 'proof',
      status: 'pass',
      reason: `ecdsa with sha256; publicKey: ${Buffer.from(publicKey).toString('base64')}`,
    });
    expect(canServe).toBe(true);
  });

  it('refuses clients that prove nothing', async () => {
    const { points, canServe, status } = await probeResponder(() => undefined);
    expect(one(points, 'client-authentication')).toMatchObject({
      status: 'fail',
      reason: expect.stringMatching(/^NULL: the peer refused.*; the public shared key .*: the peer refused/),
      remedy: expect.stringContaining('psk'),
    });
    expect({ proof: status.proof, canServe }).toEqual({ proof: 'unknown', canServe: false });
  });

  it('takes the public shared key alone, which is enough', async () => {
    const { remote } = sharedKey('anonymous');
    const { status, canServe } = await probeResponder(({ method }) =>
      method === AuthMethod.SHARED_KEY ? { ...good, remote } : undefined,
    );
    expect({ ...status, canServe }).toMatchObject({
      'client-authentication': 'pass',
      address: 'pass',
      canServe: true,
    });
  });

  it('proves itself by what everybody knows', async () => {
    const { local } = sharedKey('anonymous');
    const { points, canServe } = await probeResponder(() => ({ ...good, local }));
    expect(one(points, 'client-authentication')?.status).toBe('pass');
    expect(one(points, 'proof')).toMatchObject({
      status: 'fail',
      reason: 'it proves itself by SHARED_KEY, which anybody can',
    });
    expect(canServe).toBe(false);
  });

  it('is not where it says', async () => {
    const clock = new VirtualClock();
    const network = new SimNetwork(clock);
    await respond(network, clock, () => good);
    const [inside, outside] = [RESPONDER, '192.0.2.99'].map(addressBytes);
    network.join('gateway', 'r');
    network.middlebox('gateway', '192.0.2.99', (bytes) => {
      const changed = bytes.slice();
      if (equalBytes(bytes.subarray(16, 20), outside)) changed.set(inside, 16);
      else if (equalBytes(bytes.subarray(12, 16), inside)) changed.set(outside, 12);
      if (equalBytes(changed, bytes)) return undefined;
      if (bytes[9] === IpProtocol.UDP) changed.fill(0, 26, 28); // no checksum
      return changed;
    });
    const { points, canServe } = await probeOver(network, clock, 'gateway', { address: '192.0.2.99' });
    expect(points.find(({ id }) => id === 'nat-traversal')).toMatchObject({
      status: 'fail',
      reason: expect.stringContaining('behind a NAT, or has all ESP go in UDP'),
      remedy: expect.stringContaining('encap = no'),
    });
    expect(canServe).toBe(false);
  });

  it('assigns no address', async () => {
    const { points, canServe } = await probeResponder(() => ({
      ...good,
      assigner: undefined,
      tsRemote: [anySelector(4)],
    }));
    expect(one(points, 'address')).toMatchObject({
      status: 'fail',
      remedy: expect.stringContaining('pools'),
    });
    expect(canServe).toBe(false);
  });

  it('narrows what it carries, so that it reaches a part of the Internet only', async () => {
    const { points, canServe } = await probeResponder(() => ({
      ...good,
      tsLocal: [prefixSelector(parsePrefix('198.51.100.0/24'))],
    }));
    expect(one(points, 'selectors')).toMatchObject({
      status: 'fail',
      reason: expect.stringContaining('TSr'),
      remedy: expect.stringContaining('0.0.0.0/0'),
    });
    expect(canServe).toBe(false);
  });

  it('heeds the INITIAL_CONTACT of a client whom nobody can tell from others', async () => {
    const remote = sharedKey('anonymous').remote;
    const { points } = await probeResponder(
      ({ method }) => (method === AuthMethod.SHARED_KEY ? { ...good, remote, contactKey: 'all' } : undefined),
      undefined,
      (endpoint, connections, fresh) => {
        for (const other of connections) if (other !== fresh) void endpoint().closeConnection(other);
      },
    );
    expect(one(points, 'shared-identity')?.reason).toBe(
      'a second client of the same identity ended the first one',
    );
  });

  it('lets the second client of an identity end the first one', async () => {
    const { points, canServe } = await probeResponder(
      () => good,
      (endpoint, connections) => {
        const before = connections.at(-2);
        if (before !== undefined) queueMicrotask(() => void endpoint().closeConnection(before));
      },
    );
    expect(one(points, 'shared-identity')).toMatchObject({
      status: 'fail',
      reason: 'a second client of the same identity ended the first one',
      remedy: expect.stringContaining('unique = never'),
    });
    expect(canServe).toBe(false);
  });

  it('assigns both clients the same address', async () => {
    const assigned = { ip4: '10.9.0.7', dns: [] };
    const assigner = { assign: () => assigned, release() {} };
    const { points } = await probeResponder(() => ({ ...good, assigner }));
    expect(one(points, 'shared-identity')).toMatchObject({
      status: 'fail',
      reason: 'both clients were assigned 10.9.0.7',
    });
  });

  it('has room for one client only', async () => {
    const assigner = pool('10.9.0.7/32');
    const { points } = await probeResponder(({ method }) =>
      method === AuthMethod.NULL ? { ...good, assigner } : undefined,
    );
    expect(one(points, 'shared-identity')?.reason).toMatch(/^a second client is refused: /);
  });
});

describe('outer headers', () => {
  async function probeMarked(octet: 1 | 8, value: number) {
    const relays = new RelayNetwork([{ name: 'a', number: 1, more: 'exit: { kind: sockets }' }]);
    await relays.start('a', { exit: new AnsweringExit() });
    const { watch } = watcher(relays.network, { octet, value });
    return probeOver(relays.network, relays.clock, 'a', { echo: ECHO, watch });
  }

  it.each([
    ['DSCP', 1, 0xb8, { dscp: 'fail', ecn: 'pass', ttl: 'pass' }],
    ['ECN', 1, 0x02, { dscp: 'pass', ecn: 'fail', ttl: 'pass' }],
    ['the TTL', 8, 63, { dscp: 'pass', ecn: 'pass', ttl: 'fail' }],
  ] as const)('tell %s of what is inside', async (_, octet, value, expected) => {
    const { status, canServe } = await probeMarked(octet, value);
    expect({ ...status, canServe }).toMatchObject({ ...expected, canServe: false });
  });
});
