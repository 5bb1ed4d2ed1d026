import { describe, expect, it } from 'vitest';
import { dryRun } from '../../src/backend/dry-run.ts';
import { userSpaceBackend } from '../../src/backend/userspace/backend.ts';
import { nobleProvider } from '../../src/crypto/noble.ts';
import { nodeProvider } from '../../src/crypto/node.ts';
import type { Origin } from '../../src/link/link.ts';
import { type Packet, packetBytes, packetFrom } from '../../src/link/packet.ts';
import type { Backend, BackendFactory, SaEvent } from '../../src/link/sa-store.ts';
import { testPath, testPolicy, testSa, udpPacket } from '../support/sa-parameters.ts';
import { describeBackend, describeCarrier, type End, reserve } from './compliance.ts';

interface Opened {
  readonly backend: Backend;
  readonly sent: { readonly packet: Packet; readonly to: Origin }[];
  readonly unknown: number[];
  readonly events: SaEvent[];
}

function open(factory: BackendFactory): Opened {
  const sent: Opened['sent'] = [];
  const unknown: number[] = [];
  const events: SaEvent[] = [];
  const backend = factory(
    (packets, to) => void sent.push(...packets.map((packet) => ({ packet, to }))),
    (spi) => unknown.push(spi),
    (event) => events.push(event),
  );
  return { backend, sent, unknown, events };
}
/** An end on no network: what is sent is there to be looked at. */
async function endOf(factory: BackendFactory): Promise<End> {
  const { backend, sent, events } = open(factory);
  const tunnelOf = (id: string) => {
    try {
      return backend.tunnel(id);
    } catch {
      return undefined;
    }
  };
  return {
    backend,
    events,
    async send(tunnelId, packets) {
      const from = sent.length;
      tunnelOf(tunnelId)?.send(packets);
      return sent.slice(from);
    },
    async receive(tunnelId, packets, origin) {
      const received: Uint8Array[] = [];
      tunnelOf(tunnelId)?.onPackets((inner) => {
        for (const packet of inner) received.push(packetBytes(packet).slice(20));
      });
      backend.receive(packets, origin);
      return received;
    },
    close: () => backend.close(),
  };
}

const backends: [string, () => BackendFactory][] = [
  ['dry run', () => dryRun().backend],
  ['user space, node:crypto', () => userSpaceBackend(nodeProvider())],
  ['user space, noble', () => userSpaceBackend(nobleProvider())],
];

const carrying = backends.slice(1);

for (const [name, factory] of backends)
  describeBackend(name, { open: () => endOf(factory()), tunnels: 500, sas: 20 });
for (const [name, factory] of carrying)
  describeCarrier(name, { open: () => endOf(factory()), tunnels: 1, sas: 1 });

describe.each(carrying)('backends in user space: %s', (_name, factory) => {
  /** Two ends with the same keys, `left` sending to `right`. */
  async function pair(path = testPath()) {
    const left = open(factory());
    const right = open(factory());
    const spi = await reserve(right.backend);
    await left.backend.apply([{ kind: 'outbound', sa: testSa(spi, testPolicy('l')) }]);
    await right.backend.apply([
      { kind: 'inbound', sa: testSa(spi, testPolicy('r', '10.1.0.0/24', '10.0.0.0/24'), path) },
    ]);
    const received: Uint8Array[] = [];
    right.backend.tunnel('r').onPackets((packets) => {
      for (const packet of packets) received.push(packetBytes(packet).slice());
    });
    return { left, right, spi, received };
  }

  it('tells once when the newest packet in UDP comes from elsewhere, and of no other packet (rule 74)', async () => {
    const home = testPath({ port: 4500, localPort: 4500, encapsulated: true });
    const { left, right, received } = await pair(home);
    const away = { ...home, port: 31_000 };
    for (let i = 0; i < 8; i++)
      left.backend.tunnel('l').send([udpPacket('10.0.0.5', '10.1.0.9', new Uint8Array(i))]);
    const arrive = (index: number, from: Origin) => {
      right.backend.receive([packetFrom(packetBytes(left.sent[index].packet))], from);
      return right.events.filter(({ kind }) => kind === 'moved');
    };
    expect(arrive(1, home)).toEqual([]);
    expect(arrive(0, away)).toEqual([]); // late
    expect(arrive(1, away)).toEqual([]); // replayed
    expect(arrive(2, testPath({ port: 0 }))).toEqual([]); // not in UDP, where there are no ports
    const moved = { kind: 'moved', tunnelId: 'r' };
    expect(arrive(3, away)).toEqual([{ ...moved, path: away }]);
    expect(arrive(4, away)).toHaveLength(1);
    expect(arrive(5, home)).toEqual([
      { ...moved, path: away },
      { ...moved, path: home },
    ]);
    expect(received).toHaveLength(6);
  });

  it('drops packets outside the policy on either side (rule 90)', async () => {
    const { left, right, spi, received } = await pair();
    left.backend.tunnel('l').send([udpPacket('10.9.0.5', '10.1.0.9', new Uint8Array(4))]);
    left.backend.tunnel('l').send([udpPacket('10.0.0.5', '10.9.0.9', new Uint8Array(4))]);
    expect(left.sent).toEqual([]);
    const rogue = open(factory());
    await rogue.backend.apply([
      { kind: 'outbound', sa: testSa(spi, testPolicy('x', '0.0.0.0/0', '0.0.0.0/0')) },
    ]);
    rogue.backend.tunnel('x').send([udpPacket('10.9.0.5', '10.1.0.9', new Uint8Array(4))]);
    rogue.backend.tunnel('x').send([udpPacket('10.0.0.5', '10.2.0.9', new Uint8Array(4))]);
    right.backend.receive(
      rogue.sent.map(({ packet }) => packet),
      testPath(),
    );
    expect(received).toEqual([]);
    expect(right.backend.tunnel('r').counters['outside-policy']).toBe(2);
  });

  it('keeps some packets that come before the SA that they are on, for as long as it may come', async () => {
    const left = open(factory());
    const right = open(factory());
    const [spi, given] = [await reserve(right.backend), await reserve(right.backend)];
    await left.backend.apply([{ kind: 'outbound', sa: testSa(spi, testPolicy('l')) }]);
    for (let number = 0; number < 70; number++)
      left.backend.tunnel('l').send([udpPacket('10.0.0.5', '10.1.0.9', Uint8Array.of(number))]);
    const early = left.sent.map(({ packet }) => packet);
    const stranger = testPath({ overlayPeer: 'aa' });
    right.backend.receive([packetFrom(packetBytes(early[69]))], stranger);
    right.backend.receive(early, testPath());
    // The slots are somebody else's again.
    for (const packet of early) packet.buffer.fill(0);
    const policy = testPolicy('r', '10.1.0.0/24', '10.0.0.0/24');
    const received: number[] = [];
    await right.backend.apply([{ kind: 'inbound', sa: testSa(given, policy) }]);
    right.backend
      .tunnel('r')
      .onPackets((packets) => void received.push(...packets.map(({ buffer, end }) => buffer[end - 1])));
    await right.backend.apply([{ kind: 'inbound', sa: testSa(spi, policy) }]);
    expect(received).toEqual(Array.from({ length: 64 }, (_, number) => number));
    expect(right.unknown).toEqual([]);
    const gone = await reserve(right.backend);
    await right.backend.apply([{ kind: 'remove', direction: 'inbound', spi: gone, path: testPath() }]);
    await left.backend.apply([{ kind: 'outbound', sa: testSa(gone, testPolicy('m')) }]);
    left.backend.tunnel('m').send([udpPacket('10.0.0.5', '10.1.0.9', Uint8Array.of(1))]);
    right.backend.receive([left.sent[70].packet], testPath());
    expect(right.unknown).toEqual([gone]);
  });

  it('installs an SA whatever the handler makes of what came before it, and delivers that before what comes later', async () => {
    const left = open(factory());
    const right = open(factory());
    const [spi, given] = [await reserve(right.backend), await reserve(right.backend)];
    await left.backend.apply([{ kind: 'outbound', sa: testSa(spi, testPolicy('l')) }]);
    for (let number = 0; number < 4; number++)
      left.backend.tunnel('l').send([udpPacket('10.0.0.5', '10.1.0.9', Uint8Array.of(number))]);
    const [first, second, third, fourth] = left.sent.map(({ packet }) => packet);
    const policy = testPolicy('r', '10.1.0.0/24', '10.0.0.0/24');
    await right.backend.apply([{ kind: 'inbound', sa: testSa(given, policy) }]);
    const received: number[] = [];
    right.backend.tunnel('r').onPackets((packets) => {
      received.push(...packets.map(({ buffer, end }) => buffer[end - 1]));
      if (received.length === 1) throw new Error('the handler has a defect');
    });
    right.backend.receive([first, second], testPath());
    const installed = right.backend.apply([{ kind: 'inbound', sa: testSa(spi, policy) }]);
    right.backend.receive([third], testPath());
    expect(await installed).toEqual([{ ok: true, spi }]);
    right.backend.receive([fourth], testPath());
    expect(received).toEqual([0, 1, 2, 3]);
    expect(right.backend.tunnel('r').counters.packetsIn).toBe(4);
  });

  it('forgets what came before an SA that is removed at once', async () => {
    const left = open(factory());
    const right = open(factory());
    const spi = await reserve(right.backend);
    await left.backend.apply([{ kind: 'outbound', sa: testSa(spi, testPolicy('l')) }]);
    left.backend.tunnel('l').send([udpPacket('10.0.0.5', '10.1.0.9', Uint8Array.of(1))]);
    right.backend.receive([left.sent[0].packet], testPath());
    const policy = testPolicy('r', '10.1.0.0/24', '10.0.0.0/24');
    await right.backend.apply([
      { kind: 'inbound', sa: testSa(spi, policy) },
      { kind: 'remove', direction: 'inbound', spi, path: testPath(), tunnelId: 'r' },
    ]);
    expect(right.events).toEqual([]);
    expect(right.unknown).toEqual([]);
  });

  it('reports an unknown SPI and is deaf to octets that are no ESP', async () => {
    const { right, received } = await pair();
    const junk = udpPacket('10.0.0.5', '10.1.0.9', new Uint8Array(40));
    right.backend.receive([junk, { buffer: new Uint8Array(4), start: 0, end: 4 }], testPath());
    expect(right.unknown).toHaveLength(1);
    expect(received).toEqual([]);
  });

  it('keeps apart two overlay peers that offer the same address and port', async () => {
    const { backend, unknown } = open(factory());
    const paths = [
      testPath({ overlayPeer: 'aa', address: '10.5.0.5' }),
      testPath({ overlayPeer: 'bb', address: '10.5.0.5' }),
    ];
    const seen: string[] = [];
    const senders = [];
    for (const [index, path] of paths.entries()) {
      const spi = await reserve(backend);
      const policy = testPolicy(`p${index}`, '10.1.0.0/24', '10.0.0.0/24');
      await backend.apply([
        { kind: 'inbound', sa: testSa(spi, policy, path, index + 1) },
        { kind: 'outbound', sa: testSa(5_000 + index, policy, path, index + 1) },
      ]);
      backend.tunnel(`p${index}`).onPackets((packets) => void seen.push(...packets.map(() => `p${index}`)));
      const sender = open(factory());
      await sender.backend.apply([{ kind: 'outbound', sa: testSa(spi, testPolicy('s'), path, index + 1) }]);
      sender.backend.tunnel('s').send([udpPacket('10.0.0.5', '10.1.0.9', new Uint8Array(4))]);
      sender.backend.tunnel('s').send([udpPacket('10.0.0.5', '10.1.0.9', new Uint8Array(4))]);
      senders.push(sender);
    }
    backend.receive([senders[0].sent[0].packet], paths[1]);
    expect(seen).toEqual([]);
    backend.receive([senders[0].sent[1].packet], paths[0]);
    backend.receive([senders[1].sent[0].packet], paths[1]);
    expect(seen).toEqual(['p0', 'p1']);
    expect(unknown).toEqual([]);
  });
});
