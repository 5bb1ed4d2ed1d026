import { describe, expect, it } from 'vitest';
import { userSpaceBackend } from '../../src/backend/userspace/backend.ts';
import { AddressPool } from '../../src/cp/address-pool.ts';
import { nodeProvider } from '../../src/crypto/node.ts';
import type { IkeConnection } from '../../src/endpoint/connection.ts';
import { Endpoint } from '../../src/endpoint/endpoint.ts';
import type { AddressKey } from '../../src/forward/address-key.ts';
import { keyOfAddress } from '../../src/forward/address-key.ts';
import type { Exit, ReturnHandler } from '../../src/forward/exit.ts';
import { defaultChildProposals, defaultIkeProposals } from '../../src/ike/proposal.ts';
import { type Packet, packetBytes, packetFrom } from '../../src/link/packet.ts';
import type { BackendFactory, Tunnel, TunnelHandler } from '../../src/link/sa-store.ts';
import { Forwarder } from '../../src/relay/forwarder.ts';
import { relayProfiles } from '../../src/relay/profiles.ts';
import { RelayLink } from '../../src/relay/relay-link.ts';
import { userSpaceHops } from '../../src/telescope/backend.ts';
import { openTelescope, type Telescope } from '../../src/telescope/telescope.ts';
import { TunnelLink } from '../../src/telescope/tunnel-link.ts';
import { parsePrefix } from '../../src/wire/address.ts';
import { parseIpHeader } from '../../src/wire/ip.ts';
import { anySelector } from '../../src/wire/traffic-selector.ts';
import { ESP, ip, tcp, udp, view } from '../forward/packets.ts';
import { RelayNetwork, relayAddress, relayConfigs } from '../support/sim-relays.ts';
import { VirtualClock } from '../support/virtual-clock.ts';
import { buildInitiator } from './initiator.ts';

const crypto = nodeProvider();

/** An exit that keeps what it gets. */
class FakeExit implements Exit {
  readonly kind = 'tun';
  readonly counters = {};
  readonly sent: { readonly bytes: Uint8Array; readonly client: AddressKey }[] = [];
  readonly released: AddressKey[] = [];
  closed = false;
  problem: string | undefined;
  #handler: ReturnHandler = () => {};

  send(packet: Packet, client: AddressKey): undefined {
    this.sent.push({ bytes: packetBytes(packet).slice(), client });
  }

  onReturn(handler: ReturnHandler): void {
    this.#handler = handler;
  }

  answer(bytes: Uint8Array): void {
    this.#handler(packetFrom(bytes), 0);
  }

  releaseClient(client: AddressKey): void {
    this.released.push(client);
  }

  async close(): Promise<void> {
    this.closed = true;
  }
}

/** A tunnel with nothing behind it. */
class FakeTunnel implements Tunnel {
  readonly policy = { id: 'fake', local: [], remote: [] };
  readonly counters = {};
  readonly sent: Uint8Array[] = [];
  onSend: (packet: Packet) => void = () => {};
  #handler: TunnelHandler = () => {};

  send(packets: readonly Packet[]): void {
    for (const packet of packets) {
      this.sent.push(packetBytes(packet).slice());
      this.onSend(packet);
    }
  }

  onPackets(handler: TunnelHandler): void {
    this.#handler = handler;
  }

  deliver(...packets: readonly Uint8Array[]): void {
    this.#handler(packets.map(packetFrom));
  }

  async close(): Promise<void> {}
}

/** A client's data plane that lets it send what it likes: the selectors of its SAs are forgotten on its side. */
const lawless: BackendFactory = (...wiring) => {
  const backend = userSpaceBackend(crypto)(...wiring);
  const apply = backend.apply.bind(backend);
  const any = [anySelector(4)];
  backend.apply = (operations) =>
    apply(
      operations.map((operation) =>
        operation.kind === 'inbound' || operation.kind === 'outbound'
          ? {
              ...operation,
              sa: { ...operation.sa, tunnel: { ...operation.sa.tunnel, local: any, remote: any } },
            }
          : operation,
      ),
    );
  return backend;
};

const THREE = [
  { name: 'a', number: 1, peers: ['b'] },
  { name: 'b', number: 2, peers: ['a'], more: 'exit: { kind: sockets }' },
  { name: 'unlisted', number: 3 },
] as const;

/** A client's telescope through a and b, where b is an exit. */
async function telescope(backend: BackendFactory = userSpaceBackend(crypto)) {
  const relays = new RelayNetwork(THREE);
  const exit = new FakeExit();
  await relays.start('a');
  await relays.start('b', { exit });
  await relays.start('unlisted');
  await relays.settle();
  return { relays, exit, ...(await join(relays, 'client', '198.51.100.1', ['a', 'b'], backend)) };
}

async function join(
  relays: RelayNetwork,
  name: string,
  address: string,
  path: readonly string[],
  backend: BackendFactory = userSpaceBackend(crypto),
): Promise<{ readonly opened: Telescope; readonly received: Uint8Array[] }> {
  const link = relays.client(name, address, ['a']);
  const route = path.map((relay) => relays.configs.get(relay)!.own);
  const opened = await relays.clock.until(
    openTelescope(link, route, { crypto, backend: userSpaceHops(backend), clock: relays.clock }),
  );
  const received: Uint8Array[] = [];
  opened.tunnel.onPackets((packets) => {
    for (const packet of packets) received.push(packetBytes(packet).slice());
  });
  return { opened, received };
}

/** Sends packets into a hop of a telescope and gives what the relay there counts as dropped in consequence. */
async function dropsOf(
  relays: RelayNetwork,
  relay: string,
  tunnel: Tunnel,
  ...packets: readonly Uint8Array[]
) {
  const before = relays.relay(relay).state().drops;
  tunnel.send(packets.map(packetFrom));
  await relays.clock.advance(1_000);
  const after = relays.relay(relay).state().drops;
  return Object.fromEntries(
    Object.entries(after)
      .map(([reason, count]) => [reason, count - (before[reason] ?? 0)] as const)
      .filter(([, count]) => count > 0),
  );
}

describe('a telescope through two relays', () => {
  it('carries packets to the exit and back', async () => {
    const { relays, exit, opened, received } = await telescope();
    const source = opened.assigned.ip4!;
    expect(source).toMatch(/^10\.2\./);
    opened.tunnel.send([packetFrom(udp({ source, destination: '203.0.113.9', sport: 4000, dport: 53 }))]);
    await relays.clock.advance(1_000);
    expect(exit.sent).toHaveLength(1);
    expect(exit.sent[0].client).toBe(keyOfAddress(source));
    expect(view(exit.sent[0].bytes)).toMatchObject({ source, destination: '203.0.113.9', sound: true });
    exit.answer(udp({ source: '203.0.113.9', destination: source, sport: 53, dport: 4000 }));
    await relays.clock.advance(1_000);
    expect(received.map(view)).toMatchObject([{ source: '203.0.113.9', destination: source, sound: true }]);
  });

  it('shows the second relay only the address that the first assigned, and the overlay', async () => {
    const { relays, opened } = await telescope();
    const [a] = relays.relay('a').state().clients;
    const [b] = relays.relay('b').state().clients;
    expect(a).toMatchObject({ address: '198.51.100.1', assigned: opened.hops[0].assigned });
    expect(a.overlayPeer).toBeUndefined();
    expect(b).toMatchObject({
      address: opened.hops[0].assigned.ip4,
      overlayPeer: 'a',
      assigned: opened.assigned,
    });
    for (const { bytes } of relays.network.eavesdropper('a', 'b')) {
      expect([view(bytes).source, view(bytes).destination].sort()).toEqual(['192.0.2.1', '192.0.2.2']);
    }
  });

  it('can be opened while the overlay dials cross', async () => {
    const relays = new RelayNetwork(THREE, { latency: 400 });
    await relays.start('a');
    await relays.start('b', { exit: new FakeExit() });
    await relays.clock.until(Promise.all(['a', 'b'].map((name) => relays.relay(name).ready)));
    const { opened } = await join(relays, 'client', '198.51.100.1', ['a', 'b']);
    expect(opened.assigned.ip4).toMatch(/^10\.2\./);
  });

  it('is released at both relays and at the exit when it is closed', async () => {
    const { relays, exit, opened } = await telescope();
    await relays.clock.until(opened.close());
    expect(relays.relay('a').state()).toMatchObject({ clients: [], ikeSas: 1 });
    expect(relays.relay('b').state()).toMatchObject({ clients: [], ikeSas: 1 });
    expect(exit.released).toEqual([keyOfAddress(opened.assigned.ip4!)]);
    await relays.clock.until(relays.relay('b').close());
    expect(exit.closed).toBe(true);
  });

  it('reaches from the first relay nothing but the listed one, and there only IKE and ESP', async () => {
    const { relays, exit, opened } = await telescope();
    const [{ tunnel, assigned }] = opened.hops;
    const source = assigned.ip4!;
    const ports = { sport: 500, dport: 500 };
    const to = (destination: string, more = ports) => udp({ source, destination, ...more });
    const drops = (...packets: Uint8Array[]) => dropsOf(relays, 'a', tunnel, ...packets);
    expect(await drops(to(relayAddress(3)))).toEqual({ 'not-an-exit': 1 });
    expect(await drops(to('203.0.113.9'))).toEqual({ 'not-an-exit': 1 });
    expect(await drops(to(relayAddress(1)), to(relayAddress(1), { sport: 500, dport: 53 }))).toEqual({
      'own-services': 2,
    });
    expect(await drops(to(relayAddress(2), { sport: 500, dport: 53 }))).toEqual({ 'relay-services': 1 });
    expect(await drops(tcp({ source, destination: relayAddress(2), sport: 1, dport: 22, flags: 2 }))).toEqual(
      {
        'relay-services': 1,
      },
    );
    expect(await drops(to('192.168.1.1'), to('127.0.0.1'), to('169.254.1.1'))).toEqual({
      'private-range': 3,
    });
    expect(await drops(to('10.2.0.1'))).toEqual({ 'peer-pool': 1 });
    const other = await join(relays, 'other', '198.51.100.2', ['a']);
    expect(await drops(to(other.opened.assigned.ip4!))).toEqual({ 'other-client': 1 });
    expect(other.received).toEqual([]);
    expect(exit.sent).toEqual([]);
    expect(reached(relays, '203.0.113.9')).toBe(false);
  });

  it('carries no packet with a source that was not assigned to it', async () => {
    const { relays, opened } = await telescope(lawless);
    const [{ tunnel }] = opened.hops;
    const spoofed = ['10.1.0.99', '192.0.2.1', '203.0.113.9'].map((source) =>
      ip({ source, destination: relayAddress(2), protocol: ESP, payload: new Uint8Array(40) }),
    );
    expect(await dropsOf(relays, 'a', tunnel, ...spoofed)).toEqual({ 'outside-policy': 3 });
  });
});

/** Whether any packet to `address` crossed any edge of relay a. */
function reached(relays: RelayNetwork, address: string): boolean {
  return ['client', 'b', 'unlisted'].some((other) =>
    relays.network.eavesdropper('a', other).some(({ bytes }) => view(bytes).destination === address),
  );
}

describe('an exit', () => {
  it('is closed first when its relay is, and gets no packet any more', async () => {
    const { relays, exit, opened } = await telescope();
    const b = relays.relay('b');
    let clients = 0;
    exit.close = async () => {
      clients = b.state().clients.length;
    };
    const packet = udp({ source: opened.assigned.ip4!, destination: '198.51.100.80', sport: 1, dport: 2 });
    opened.tunnel.send([packetFrom(packet)]);
    await relays.clock.advance(100);
    const closing = b.close();
    opened.tunnel.send([packetFrom(packet)]);
    await relays.clock.until(closing);
    expect(clients).toBe(1);
    expect(exit.sent).toHaveLength(1);
  });

  it('says in the state what is wrong with it', async () => {
    const { relays, exit } = await telescope();
    expect(relays.relay('b').state()).not.toHaveProperty('exitProblem');
    exit.problem = 'its table is gone';
    expect(relays.relay('b').state().exitProblem).toBe('its table is gone');
  });
});

describe('the forwarder', () => {
  const [a] = relayConfigs(THREE).values();
  const b = a.peers[0].keyId;

  function setUp() {
    const link = new RelayLink({});
    const forwarder = new Forwarder(a, link, undefined);
    const [client, overlay] = [new FakeTunnel(), new FakeTunnel()];
    const removeClient = forwarder.addClient({ ip4: '10.1.0.5', dns: [] }, client);
    forwarder.addOverlay(b, overlay);
    link.setOverlay(b, overlay);
    return { link, forwarder, client, overlay, removeClient };
  }

  const towardsPeer = udp({ source: '10.1.0.5', destination: '192.0.2.2', sport: 500, dport: 500 });
  const fromPeer = udp({ source: '192.0.2.2', destination: '10.1.0.5', sport: 500, dport: 500 });

  it('does not rely on the selectors of an SA: a spoofed source is dropped by name', () => {
    const { forwarder, client, overlay } = setUp();
    client.deliver(
      udp({ source: '10.1.0.6', destination: '192.0.2.2', sport: 500, dport: 500 }),
      towardsPeer,
    );
    expect(forwarder.drops).toEqual({ 'spoofed-source': 1 });
    expect(overlay.sent).toEqual([towardsPeer]);
  });

  it("drops an overlay peer's packets with a source outside its pool (T25)", () => {
    const { forwarder, client, overlay } = setUp();
    overlay.deliver(
      udp({ source: '10.1.0.7', destination: '192.0.2.1', sport: 500, dport: 500 }),
      udp({ source: '203.0.113.1', destination: '10.1.0.5', sport: 500, dport: 500 }),
      fromPeer,
    );
    expect(forwarder.drops).toEqual({ 'outside-peer-pool': 2 });
    expect(client.sent).toEqual([fromPeer]);
  });

  it('drops by name while the overlay is down', () => {
    const { link, forwarder, client } = setUp();
    link.setOverlay(b, undefined);
    client.deliver(towardsPeer);
    expect(forwarder.drops).toEqual({ 'overlay-down': 1 });
  });

  it('knows a client that has left no more', () => {
    const { forwarder, client, overlay, removeClient } = setUp();
    removeClient();
    overlay.deliver(fromPeer);
    expect(forwarder.drops).toEqual({ 'no-such-client': 1 });
    expect(client.sent).toEqual([]);
  });
});

describe('two clients with the same address and port, through different overlays', () => {
  it('are told apart', async () => {
    const clock = new VirtualClock();
    const [config] = relayConfigs(THREE).values();
    const link = new RelayLink({});
    const relay = await Endpoint.open({ link, backend: userSpaceBackend(crypto), crypto, clock });
    const accepted: IkeConnection[] = [];
    const pool = new AddressPool({ ip4: parsePrefix('10.1.0.0/16'), random: crypto.random });
    relay.listen({
      config: {
        crypto,
        ikeProposals: defaultIkeProposals,
        childProposals: defaultChildProposals,
        retransmission: { first: 500, factor: 2, cap: 2_000, tries: 5 },
        profile: relayProfiles(config, pool),
        halfOpenTimeout: 15_000,
      },
      cookieThreshold: 100,
      maxHalfOpen: 100,
      onChild: (connection) => accepted.push(connection),
      onClosed: () => {},
    });

    const clients = await Promise.all(
      ['peer-1', 'peer-2'].map(async (peer) => {
        const [outer, overlay] = [new FakeTunnel(), new FakeTunnel()];
        const later = (action: () => void) => clock.at(clock.now() + 1, action);
        outer.onSend = (packet) =>
          later(() => {
            const header = parseIpHeader(packet.buffer, packet.start, packet.end)!;
            if (header.protocol === ESP) link.receiveEsp(peer, [{ packet, header }]);
            else link.receiveUdp(peer, packet, header);
          });
        overlay.onSend = (packet) => later(() => outer.deliver(packetBytes(packet)));
        link.setOverlay(peer, overlay);
        const inner = new TunnelLink(outer, '10.0.0.5', 1446);
        const endpoint = await Endpoint.open({
          link: inner,
          backend: userSpaceBackend(crypto),
          crypto,
          clock,
        });
        const any = [anySelector(4)];
        const ask = buildInitiator(crypto, config.own, { tsI: any, tsR: any, address: true });
        return { peer, inner, endpoint, ask, overlay };
      }),
    );
    const connections = await clock.until(
      Promise.all(
        clients.map(({ endpoint, ask, inner }) => endpoint.connect(ask, inner.origin(relayAddress(1)))),
      ),
    );

    expect(accepted.map(({ origin }) => [origin.overlayPeer, origin.address, origin.port]).sort()).toEqual([
      ['peer-1', '10.0.0.5', 500],
      ['peer-2', '10.0.0.5', 500],
    ]);
    const addresses = connections.map(({ child }) => child!.info.assigned!.ip4!);
    expect(new Set(addresses).size).toBe(2);

    for (const [i, { peer }] of clients.entries()) {
      const [source, received] = [addresses[i], [] as Uint8Array[]];
      const ours = accepted.find(({ origin }) => origin.overlayPeer === peer)!.child!.tunnel;
      connections[i].child!.tunnel.onPackets((packets) =>
        received.push(...packets.map((p) => packetBytes(p).slice())),
      );
      ours.onPackets((packets) => ours.send(packets.map((p) => packetFrom(turned(packetBytes(p))))));
      connections[i].child!.tunnel.send([
        packetFrom(udp({ source, destination: '203.0.113.9', sport: 1, dport: 2 })),
      ]);
      await clock.advance(100);
      expect(received.map(view)).toMatchObject([{ source: '203.0.113.9', destination: source, sound: true }]);
    }
  });

  /** The same packet in the other direction. */
  function turned(bytes: Uint8Array): Uint8Array {
    const { source, destination, first, second } = view(bytes);
    return udp({ source: destination, destination: source, sport: second, dport: first });
  }
});
