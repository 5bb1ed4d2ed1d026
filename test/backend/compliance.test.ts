import { describe, expect, it } from 'vitest';
import { dryRun } from '../../src/backend/dry-run.ts';
import { userSpaceBackend } from '../../src/backend/userspace/backend.ts';
import { nobleProvider } from '../../src/crypto/noble.ts';
import { nodeProvider } from '../../src/crypto/node.ts';
import type { Origin } from '../../src/link/link.ts';
import { type Packet, packetBytes, packetFrom } from '../../src/link/packet.ts';
import type { Backend, BackendFactory, SaEvent, SaLimits } from '../../src/link/sa-store.ts';
import { testPath, testPolicy, testSa, udpPacket } from '../support/sa-parameters.ts';

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

async function reserve(backend: Backend): Promise<number> {
  const [result] = await backend.apply([{ kind: 'reserve', path: testPath() }]);
  if (!result.ok) throw new Error(result.error);
  return result.spi;
}

const backends: [string, () => BackendFactory][] = [
  ['dry run', () => dryRun().backend],
  ['user space, node:crypto', () => userSpaceBackend(nodeProvider())],
  ['user space, noble', () => userSpaceBackend(nobleProvider())],
];

describe.each(backends)('every backend: %s', (_name, factory) => {
  it('reserves distinct SPIs outside the reserved range', async () => {
    const { backend } = open(factory());
    const spis = new Set<number>();
    for (let i = 0; i < 500; i++) spis.add(await reserve(backend));
    expect(spis.size).toBe(500);
    for (const spi of spis) expect(spi).toBeGreaterThan(255);
  });

  it('has no tunnel before an SA and after its close', async () => {
    const { backend } = open(factory());
    expect(() => backend.tunnel('p')).toThrow(RangeError);
    const spi = await reserve(backend);
    const policy = testPolicy('p');
    await backend.apply([{ kind: 'inbound', sa: testSa(spi, policy) }]);
    await backend.tunnel('p').close();
    expect(() => backend.tunnel('p')).toThrow(RangeError);
  });

  it('refuses a second inbound SA with the same SPI and keeps the first', async () => {
    const { backend } = open(factory());
    const spi = await reserve(backend);
    const [first, second] = await backend.apply([
      { kind: 'inbound', sa: testSa(spi, testPolicy('p')) },
      { kind: 'inbound', sa: testSa(spi, testPolicy('q')) },
    ]);
    expect(first.ok).toBe(true);
    expect(second.ok).toBe(false);
    expect(backend.tunnel('p').policy.id).toBe('p');
    expect(() => backend.tunnel('q')).toThrow(RangeError);
  });

  it('removes what is not there without complaint', async () => {
    const { backend } = open(factory());
    const results = await backend.apply([
      { kind: 'remove', direction: 'inbound', spi: 4711, path: testPath() },
      { kind: 'remove', direction: 'outbound', spi: 4711, path: testPath() },
    ]);
    expect(results.every((result) => result.ok)).toBe(true);
  });

  it('keeps outbound SAs of two tunnels apart that have the same SPI and address, as behind one NAT', async () => {
    const { backend } = open(factory());
    for (const id of ['p', 'q']) {
      const results = await backend.apply([
        { kind: 'inbound', sa: testSa(await reserve(backend), testPolicy(id)) },
        { kind: 'outbound', sa: testSa(900, testPolicy(id)) },
      ]);
      expect(results.every((result) => result.ok)).toBe(true);
    }
    const [again] = await backend.apply([{ kind: 'outbound', sa: testSa(900, testPolicy('p')) }]);
    expect(again.ok).toBe(false);
    await backend.apply([
      { kind: 'remove', direction: 'outbound', spi: 900, path: testPath(), tunnelId: 'p' },
    ]);
    const [removed, kept] = await backend.apply([
      { kind: 'outbound', sa: testSa(900, testPolicy('p')) },
      { kind: 'outbound', sa: testSa(900, testPolicy('q')) },
    ]);
    expect([removed.ok, kept.ok]).toEqual([true, false]);
  });

  it('forgets a tunnel with its last SA', async () => {
    const { backend } = open(factory());
    const spi = await reserve(backend);
    const policy = testPolicy('p');
    await backend.apply([
      { kind: 'inbound', sa: testSa(spi, policy) },
      { kind: 'outbound', sa: testSa(900, policy) },
      { kind: 'remove', direction: 'outbound', spi: 900, path: testPath(), tunnelId: 'p' },
    ]);
    expect(backend.tunnel('p').policy).toEqual(policy);
    await backend.apply([{ kind: 'remove', direction: 'inbound', spi, path: testPath(), tunnelId: 'p' }]);
    expect(() => backend.tunnel('p')).toThrow(RangeError);
  });

  it('takes 10,000 SAs, and its SPIs are free again when they are removed', async () => {
    const { backend } = open(factory());
    const spis: number[] = [];
    for (let i = 0; i < 5_000; i++) {
      const spi = await reserve(backend);
      spis.push(spi);
      const policy = testPolicy(`p${i}`);
      const results = await backend.apply([
        { kind: 'inbound', sa: testSa(spi, policy) },
        { kind: 'outbound', sa: testSa(100_000 + i, policy) },
      ]);
      expect(results.every((result) => result.ok)).toBe(true);
    }
    for (let i = 0; i < 5_000; i++) await backend.tunnel(`p${i}`).close();
    for (const spi of spis) {
      const [again] = await backend.apply([{ kind: 'inbound', sa: testSa(spi, testPolicy('again')) }]);
      expect(again.ok).toBe(true);
    }
  });

  it('sends nothing without an outbound SA, and nothing after close', async () => {
    const { backend, sent } = open(factory());
    const policy = testPolicy('p');
    await backend.apply([{ kind: 'inbound', sa: testSa(await reserve(backend), policy) }]);
    const tunnel = backend.tunnel('p');
    tunnel.send([udpPacket('10.0.0.1', '10.1.0.1', new Uint8Array(10))]);
    await backend.apply([{ kind: 'outbound', sa: testSa(900, policy) }]);
    await backend.close();
    tunnel.send([udpPacket('10.0.0.1', '10.1.0.1', new Uint8Array(10))]);
    expect(sent).toEqual([]);
  });
});

const carrying = backends.slice(1);

describe.each(carrying)('backends that carry packets: %s', (_name, factory) => {
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

  it('carries a packet unchanged and hides it on the way', async () => {
    const { left, right, received } = await pair();
    const packet = udpPacket('10.0.0.5', '10.1.0.9', new TextEncoder().encode('attack at dawn'));
    const clear = packetBytes(packet).slice();
    left.backend.tunnel('l').send([packet]);
    expect(left.sent).toHaveLength(1);
    expect(Buffer.from(packetBytes(left.sent[0].packet)).includes('attack at dawn')).toBe(false);
    right.backend.receive([left.sent[0].packet], testPath());
    expect(received).toEqual([clear]);
  });

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

  it('sends where the peer has moved to', async () => {
    const { left, spi } = await pair();
    const path = testPath({ address: '192.0.2.77', port: 31_000, encapsulated: true });
    await left.backend.apply([{ kind: 'move', spi, tunnelId: 'l', path }]);
    left.backend.tunnel('l').send([udpPacket('10.0.0.5', '10.1.0.9', new Uint8Array(4))]);
    expect(left.sent.map(({ to }) => to)).toEqual([path]);
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

  describe('what an SA may carry (rule 83)', () => {
    const PACKET = 20 + 8 + 72;

    /** `left` sends to `right` on an SA with limits at one of them. */
    async function limited(limits: SaLimits, at: 'left' | 'right') {
      const left = open(factory());
      const right = open(factory());
      const spi = await reserve(right.backend);
      const policies = { left: testPolicy('l'), right: testPolicy('r', '10.1.0.0/24', '10.0.0.0/24') };
      const sa = (side: 'left' | 'right') => ({
        ...testSa(spi, policies[side]),
        ...(at === side && { limits }),
      });
      await left.backend.apply([{ kind: 'outbound', sa: sa('left') }]);
      await right.backend.apply([{ kind: 'inbound', sa: sa('right') }]);
      let received = 0;
      right.backend.tunnel('r').onPackets((packets) => {
        received += packets.length;
      });
      const send = (count: number) => {
        const from = left.sent.length;
        for (let i = 0; i < count; i++)
          left.backend.tunnel('l').send([udpPacket('10.0.0.5', '10.1.0.9', new Uint8Array(72))]);
        for (const { packet } of left.sent.slice(from)) right.backend.receive([packet], testPath());
        return received;
      };
      return { left, right, spi, send };
    }

    it.each([
      ['packets', { softPackets: 3, hardPackets: 5 }],
      ['octets', { softOctets: 3 * PACKET, hardOctets: 5 * PACKET }],
    ])('in %s: tells of each limit once, and carries nothing past the hard one', async (_unit, limits) => {
      for (const at of ['left', 'right'] as const) {
        const { left, right, spi, send } = await limited(limits, at);
        const direction = at === 'left' ? 'outbound' : 'inbound';
        const tunnelId = at === 'left' ? 'l' : 'r';
        const told = () => (at === 'left' ? left : right).events.filter(({ kind }) => kind !== 'used');
        expect(send(2)).toBe(2);
        expect(told()).toEqual([]);
        expect(send(2)).toBe(4);
        expect(told()).toEqual([{ kind: 'soft', direction, spi, tunnelId }]);
        expect(send(3)).toBe(5);
        expect(told().slice(1)).toEqual([{ kind: 'hard', direction, spi, tunnelId }]);
        const { counters } = (at === 'left' ? left : right).backend.tunnel(tunnelId);
        expect(counters['lifetime-exhausted']).toBe(2);
      }
    });

    it('tells when the first packet on an SA was verified, and only then', async () => {
      const { left, right, spi, send } = await limited({}, 'left');
      right.backend.receive([udpPacket('10.0.0.5', '10.1.0.9', new Uint8Array(72))], testPath());
      expect(right.events).toEqual([]);
      send(3);
      expect(right.events).toEqual([{ kind: 'used', direction: 'inbound', spi, tunnelId: 'r' }]);
      expect(left.events).toEqual([{ kind: 'used', direction: 'outbound', spi, tunnelId: 'l' }]);
    });
  });
});
