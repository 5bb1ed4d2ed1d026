import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Origin } from '../../src/link/link.ts';
import { type Packet, packetBytes, packetFrom } from '../../src/link/packet.ts';
import type { Backend, SaEvent, SaLimits, SaOperation } from '../../src/link/sa-store.ts';
import { testPath, testPolicy, testSa, udpPacket } from '../support/sa-parameters.ts';

/** A packet of ESP, from the SPI on, and where it went. */
export interface Sent {
  readonly packet: Packet;
  readonly to: Pick<Origin, 'address' | 'port' | 'encapsulated'>;
}

/** A backend whose peers are at the address of `testPath()`, and what carries its packets. */
export interface End {
  readonly backend: Backend;
  readonly events: readonly SaEvent[];
  /** Hands inner packets to a tunnel; what came of them. */
  send(tunnelId: string, packets: readonly Packet[]): Promise<readonly Sent[]>;
  /** Has ESP arrive from `origin`; the inner packets that came out of a tunnel, from their transport header on. */
  receive(tunnelId: string, packets: readonly Packet[], origin: Origin): Promise<readonly Uint8Array[]>;
  close(): Promise<void>;
}

/** The backends under test. */
export interface Subject {
  open(): Promise<End>;
  /** How many tunnels it is to hold at once, and how many SAs each. */
  readonly tunnels: number;
  readonly sas: number;
}

/** An SPI of `backend`'s. */
export async function reserve(backend: Backend): Promise<number> {
  const [result] = await backend.apply([{ kind: 'reserve', path: testPath() }]);
  if (!result.ok) throw new Error(result.error);
  return result.spi;
}

/** Waits for what may come with a delay. */
async function eventually(check: () => void): Promise<void> {
  await vi.waitFor(check, { timeout: 30_000, interval: 5 });
}

/** Ends that are closed after the test. */
function ends({ open }: Subject): () => Promise<End> {
  const opened: End[] = [];
  afterEach(async () => {
    for (const end of opened.splice(0)) await end.close();
  });
  return async () => {
    const end = await open();
    opened.push(end);
    return end;
  };
}

/** What every backend does with SAs. */
export function describeBackend(name: string, subject: Subject): void {
  describe(`every backend: ${name}`, () => {
    const open = ends(subject);

    it('reserves distinct SPIs outside the reserved range', async () => {
      const { backend } = await open();
      const spis = new Set<number>();
      for (let i = 0; i < 500; i++) spis.add(await reserve(backend));
      expect(spis.size).toBe(500);
      for (const spi of spis) expect(spi).toBeGreaterThan(255);
    });

    it('has no tunnel before an SA and after its close', async () => {
      const { backend } = await open();
      expect(() => backend.tunnel('p')).toThrow(RangeError);
      const spi = await reserve(backend);
      const policy = testPolicy('p');
      await backend.apply([{ kind: 'inbound', sa: testSa(spi, policy) }]);
      await backend.tunnel('p').close();
      expect(() => backend.tunnel('p')).toThrow(RangeError);
    });

    it('refuses a second inbound SA with the same SPI and keeps the first', async () => {
      const { backend } = await open();
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
      const { backend } = await open();
      const results = await backend.apply([
        { kind: 'remove', direction: 'inbound', spi: 4711, path: testPath() },
        { kind: 'remove', direction: 'outbound', spi: 4711, path: testPath() },
      ]);
      expect(results.every((result) => result.ok)).toBe(true);
    });

    it('keeps outbound SAs of two tunnels apart that have the same SPI and address, as behind one NAT', async () => {
      const { backend } = await open();
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
      const { backend } = await open();
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

    it(`takes ${subject.tunnels * subject.sas} SAs, and its SPIs are free again when they are removed`, async () => {
      const { backend } = await open();
      const spis: number[] = [];
      for (let i = 0; i < subject.tunnels; i++) {
        const policy = testPolicy(`p${i}`, '10.0.0.0/24', `10.${1 + (i >> 8)}.${i & 255}.0/24`);
        const operations: SaOperation[] = [{ kind: 'outbound', sa: testSa(100_000 + i, policy) }];
        while (operations.length < subject.sas) {
          const spi = await reserve(backend);
          spis.push(spi);
          operations.push({ kind: 'inbound', sa: testSa(spi, policy) });
        }
        const results = await backend.apply(operations);
        expect(results.every((result) => result.ok)).toBe(true);
      }
      for (let i = 0; i < subject.tunnels; i++) await backend.tunnel(`p${i}`).close();
      for (const spi of spis.slice(0, 5)) {
        const [again] = await backend.apply([{ kind: 'inbound', sa: testSa(spi, testPolicy('again')) }]);
        expect(again.ok).toBe(true);
      }
    });

    it('sends nothing without an outbound SA, and nothing after close', async () => {
      const { backend, send } = await open();
      const policy = testPolicy('p');
      await backend.apply([{ kind: 'inbound', sa: testSa(await reserve(backend), policy) }]);
      const tunnel = backend.tunnel('p');
      expect(await send('p', [udpPacket('10.0.0.5', '10.1.0.9', new Uint8Array(10))])).toEqual([]);
      await backend.apply([{ kind: 'outbound', sa: testSa(900, policy) }]);
      await backend.close();
      tunnel.send([udpPacket('10.0.0.5', '10.1.0.9', new Uint8Array(10))]);
      expect(await send('p', [udpPacket('10.0.0.5', '10.1.0.9', new Uint8Array(10))])).toEqual([]);
    });
  });
}

/** What backends do that carry packets. */
export function describeCarrier(name: string, subject: Subject): void {
  describe(`backends that carry packets: ${name}`, () => {
    const open = ends(subject);

    /** Two ends with the same keys, `left` sending to `right`. */
    async function pair({ path = testPath(), left: atLeft = {}, right: atRight = {} }: PairOptions = {}) {
      const [left, right] = [await open(), await open()];
      const spi = await reserve(right.backend);
      const policies = { left: testPolicy('l'), right: testPolicy('r', '10.1.0.0/24', '10.0.0.0/24') };
      const [sealing] = await left.backend.apply([
        { kind: 'outbound', sa: { ...testSa(spi, policies.left), limits: atLeft } },
      ]);
      const [opening] = await right.backend.apply([
        { kind: 'inbound', sa: { ...testSa(spi, policies.right, path), limits: atRight } },
      ]);
      expect([sealing.ok, opening.ok]).toEqual([true, true]);
      const seal = async (...packets: readonly Packet[]) =>
        (await left.send('l', packets)).map(({ packet }) => packetBytes(packet).slice());
      const arrive = (packets: readonly Uint8Array[], from: Origin = path) =>
        right.receive('r', packets.map(packetFrom), from);
      return { left, right, spi, seal, arrive };
    }

    const datagram = (payload: Uint8Array, from = '10.0.0.5', to = '10.1.0.9') =>
      udpPacket(from, to, payload);

    it('carries a packet unchanged and hides it on the way', async () => {
      const { seal, arrive } = await pair();
      const packet = datagram(new TextEncoder().encode('attack at dawn'));
      const clear = packetBytes(packet).slice(20);
      const sealed = await seal(packet);
      expect(sealed).toHaveLength(1);
      expect(Buffer.from(sealed[0]).includes('attack at dawn')).toBe(false);
      expect(await arrive(sealed)).toEqual([clear]);
    });

    it('refuses a packet that it has had, and one that was tampered with', async () => {
      const { seal, arrive } = await pair();
      const sealed = await seal(datagram(Uint8Array.of(1)), datagram(Uint8Array.of(2)));
      const tampered = sealed[1].slice();
      tampered[tampered.length - 1] ^= 1;
      expect(await arrive([sealed[0]])).toHaveLength(1);
      expect(await arrive([sealed[0], tampered])).toEqual([]);
      expect(await arrive([sealed[1]])).toHaveLength(1);
    });

    it('tells when the newest packet in UDP comes from elsewhere, and of no other packet (rule 74)', async () => {
      const home = testPath({ port: 4500, localPort: 4500, encapsulated: true });
      const { right, seal, arrive } = await pair({ path: home });
      const away = { ...home, port: 31_000 };
      const sealed = await seal(...Array.from({ length: 6 }, (_, index) => datagram(new Uint8Array(index))));
      const moved = () => right.events.filter(({ kind }) => kind === 'moved');
      expect(await arrive([sealed[1]])).toHaveLength(1);
      expect(await arrive([sealed[1]], away)).toEqual([]); // replayed
      expect(await arrive([sealed[2]], { ...home, address: '192.0.2.77' })).toHaveLength(1);
      await eventually(() => expect(moved()).toHaveLength(1));
      expect(await arrive([sealed[3]], away)).toHaveLength(1);
      await eventually(() => expect(moved()).toHaveLength(2));
      expect(moved()).toEqual([
        { kind: 'moved', tunnelId: 'r', path: { ...home, address: '192.0.2.77' } },
        { kind: 'moved', tunnelId: 'r', path: away },
      ]);
    });

    it('sends where the peer has moved to, and goes on with its sequence numbers', async () => {
      const { left, right, spi, arrive } = await pair();
      const path = testPath({ address: '192.0.2.77', port: 31_000, localPort: 4500, encapsulated: true });
      const before = await left.send('l', [datagram(new Uint8Array(4))]);
      const [result] = await left.backend.apply([{ kind: 'move', spi, tunnelId: 'l', path }]);
      expect(result.ok).toBe(true);
      const after = await left.send('l', [datagram(new Uint8Array(4))]);
      expect(before.map(({ to }) => to)).toMatchObject([{ address: '192.0.2.1', encapsulated: false }]);
      expect(after.map(({ to }) => to)).toMatchObject([
        { address: '192.0.2.77', port: 31_000, encapsulated: true },
      ]);
      const bytes = [...before, ...after].map(({ packet }) => packetBytes(packet).slice());
      expect(await arrive(bytes)).toHaveLength(2);
      expect(right.events.filter(({ kind }) => kind === 'moved')).toEqual([]);
    });

    it('drops packets outside the policy on either side (rule 90)', async () => {
      const { right, spi, seal, arrive } = await pair();
      const payload = new Uint8Array(4);
      expect(await seal(datagram(payload, '10.9.0.5'), datagram(payload, '10.0.0.5', '10.9.0.9'))).toEqual(
        [],
      );
      const rogue = await open();
      await rogue.backend.apply([
        { kind: 'outbound', sa: testSa(spi, testPolicy('x', '0.0.0.0/0', '0.0.0.0/0')) },
      ]);
      const sent = await rogue.send('x', [
        datagram(payload, '10.9.0.5'),
        datagram(payload, '10.0.0.5', '10.2.0.9'),
        datagram(payload),
      ]);
      const [badSource, badDestination, good] = sent.map(({ packet }) => packetBytes(packet).slice());
      expect(await arrive([badSource, badDestination])).toEqual([]);
      expect(await arrive([good])).toHaveLength(1);
      expect(right.events.filter(({ kind }) => kind === 'moved')).toEqual([]);
    });

    it('sends on its newest SA, and on the one before it when that is removed', async () => {
      const { left, spi } = await pair();
      const sendOne = async () => {
        const [{ packet }] = await left.send('l', [datagram(new Uint8Array(4))]);
        const bytes = packetBytes(packet);
        return new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
      };
      expect(await sendOne()).toBe(spi);
      await left.backend.apply([{ kind: 'outbound', sa: testSa(901, testPolicy('l')) }]);
      expect(await sendOne()).toBe(901);
      await left.backend.apply([
        { kind: 'remove', direction: 'outbound', spi: 901, path: testPath(), tunnelId: 'l' },
      ]);
      expect(await sendOne()).toBe(spi);
    });

    it('receives on every SA of a tunnel', async () => {
      const { left, right, arrive, seal } = await pair();
      const policy = testPolicy('r', '10.1.0.0/24', '10.0.0.0/24');
      const spi = await reserve(right.backend);
      await right.backend.apply([{ kind: 'inbound', sa: testSa(spi, policy) }]);
      const old = await seal(datagram(Uint8Array.of(1)), datagram(Uint8Array.of(2)));
      await left.backend.apply([{ kind: 'outbound', sa: testSa(spi, testPolicy('l')) }]);
      const fresh = await seal(datagram(Uint8Array.of(3)));
      expect(await arrive([old[0], fresh[0], old[1]])).toHaveLength(3);
    });

    describe('what an SA may carry (rule 83)', () => {
      const PACKET = 20 + 8 + 72;

      const inPackets = { softPackets: 3, hardPackets: 5 };
      const inOctets = { softOctets: 3 * PACKET, hardOctets: 5 * PACKET };
      it.each([
        ['packets', 'left', inPackets],
        ['packets', 'right', inPackets],
        ['octets', 'left', inOctets],
        ['octets', 'right', inOctets],
      ] as const)(
        'in %s, on the %s: tells of each limit once, and carries nothing past the hard one',
        async (_unit, at, limits) => {
          const { left, right, spi, seal, arrive } = await pair({ [at]: limits });
          const direction = at === 'left' ? 'outbound' : 'inbound';
          const tunnelId = at === 'left' ? 'l' : 'r';
          const carry = async (count: number) =>
            (await arrive(await seal(...Array.from({ length: count }, () => datagram(new Uint8Array(72))))))
              .length;
          const told = () => (at === 'left' ? left : right).events.filter(({ kind }) => kind !== 'used');
          expect(await carry(2)).toBe(2);
          expect(told()).toEqual([]);
          expect(await carry(2)).toBe(2);
          await eventually(() => expect(told()).toEqual([{ kind: 'soft', direction, spi, tunnelId }]));
          expect(await carry(3)).toBe(1);
          await eventually(() =>
            expect(told().slice(1)).toEqual([{ kind: 'hard', direction, spi, tunnelId }]),
          );
          expect(await carry(1)).toBe(0);
        },
      );

      it('tells when the first packet on an SA was verified, and only then', async () => {
        const { left, right, spi, seal, arrive } = await pair();
        await right.receive('r', [datagram(new Uint8Array(72))], testPath());
        expect(right.events).toEqual([]);
        const sealed = await seal(...Array.from({ length: 3 }, () => datagram(new Uint8Array(72))));
        expect(await arrive(sealed)).toHaveLength(3);
        const used = { kind: 'used', spi };
        await eventually(() =>
          expect(right.events).toEqual([{ ...used, direction: 'inbound', tunnelId: 'r' }]),
        );
        await eventually(() =>
          expect(left.events).toEqual([{ ...used, direction: 'outbound', tunnelId: 'l' }]),
        );
      });

      it('counts packets and octets', async () => {
        const { left, right, seal, arrive } = await pair();
        await arrive(await seal(datagram(new Uint8Array(72)), datagram(new Uint8Array(72))));
        const counted = (end: End, tunnelId: string) => end.backend.tunnel(tunnelId).counters;
        await eventually(() =>
          expect(counted(left, 'l')).toMatchObject({ packetsOut: 2, octetsOut: 2 * PACKET }),
        );
        await eventually(() =>
          expect(counted(right, 'r')).toMatchObject({ packetsIn: 2, octetsIn: 2 * PACKET }),
        );
      });
    });
  });
}

interface PairOptions {
  readonly path?: Origin;
  readonly left?: SaLimits;
  readonly right?: SaLimits;
}
