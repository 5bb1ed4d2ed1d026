import { describe, expect, it } from 'vitest';
import { dryRun } from '../../src/backend/dry-run.ts';
import { userSpaceBackend } from '../../src/backend/userspace/backend.ts';
import { AddressPool } from '../../src/cp/address-pool.ts';
import type { CryptoProvider } from '../../src/crypto/provider.ts';
import type { IkeConnection } from '../../src/endpoint/connection.ts';
import { Endpoint } from '../../src/endpoint/endpoint.ts';
import { packetBytes, packetFrom } from '../../src/link/packet.ts';
import type { BackendFactory, Tunnel } from '../../src/link/sa-store.ts';
import { parsePrefix } from '../../src/wire/address.ts';
import { udp } from '../forward/packets.ts';
import { anonymousProfile, initiatorConfig, responderConfig, signature } from '../support/ike-configs.ts';
import { testCrypto } from '../support/pair.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { type Fault, SimNetwork } from '../support/sim-network.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

const crypto: CryptoProvider = testCrypto(17).provider;
const relay = signature(crypto);
const RETRANSMISSION = { first: 500, factor: 2, cap: 4_000, tries: 30 };

interface Setting {
  readonly backends?: readonly [BackendFactory, BackendFactory];
  readonly block?: string;
}

async function connected({ backends, block = '10.9.0.0/24' }: Setting = {}) {
  const [ofInitiator, ofResponder] = backends ?? [userSpaceBackend(crypto), userSpaceBackend(crypto)];
  const clock = new VirtualClock();
  const network = new SimNetwork(clock);
  const [here, there] = [network.host('i', '198.51.100.1'), network.host('r', '198.51.100.2')];
  network.join('i', 'r');
  const initiator = await Endpoint.open({ link: here, backend: ofInitiator, crypto, clock });
  const responder = await Endpoint.open({ link: there, backend: ofResponder, crypto, clock });
  const assigner = new AddressPool({ ip4: parsePrefix(block), random: seededRandom(3) });
  const answered: IkeConnection[] = [];
  responder.listen({
    config: {
      ...responderConfig(crypto, { ...anonymousProfile(relay), assigner }),
      retransmission: RETRANSMISSION,
    },
    cookieThreshold: 100,
    maxHalfOpen: 8,
    onChild: (connection) => void answered.push(connection),
    onClosed: () => {},
  });
  const config = { ...initiatorConfig(crypto, relay), retransmission: RETRANSMISSION };
  const connect = () => initiator.connect(config, here.origin('198.51.100.2', false));
  const connection = await clock.until(connect());
  return { clock, network, initiator, responder, connect, connection, peer: answered[0] };
}

/** Numbers that a tunnel has brought to the other end. */
function stream(from: Tunnel, to: Tunnel, source: string, destination: string) {
  const arrived: number[] = [];
  to.onPackets((packets) => {
    for (const packet of packets)
      arrived.push(new DataView(packetBytes(packet).slice().buffer).getUint16(22));
  });
  return {
    arrived,
    send: (number: number) => from.send([packetFrom(udp({ source, destination, sport: 9, dport: number }))]),
  };
}

describe('a connection whose IKE SA is rekeyed', () => {
  it.each([
    ['the initiator', [0]],
    ['the responder', [1]],
    ['both at once', [0, 1]],
  ] as const)('stays, with its tunnel, when %s rekeys (rule 66)', async (_, who) => {
    const { clock, initiator, responder, connection, peer } = await connected();
    const { info, tunnel } = connection.child!;
    const up = stream(tunnel, peer.child!.tunnel, info.assigned!.ip4!, '203.0.113.9');
    const ends = [connection, peer];
    for (let round = 0; round < 5; round++) {
      for (const index of who) ends[index].rekey();
      for (let step = 0; step < 4; step++) {
        up.send(round * 4 + step);
        await clock.advance(1);
      }
      await clock.advance(1_000);
    }
    await clock.advance(200_000);
    expect(up.arrived).toEqual(Array.from({ length: 20 }, (_, index) => index));
    expect([initiator.size, responder.size]).toEqual([1, 1]);
    expect(connection.child!.tunnel).toBe(tunnel);
    expect(await clock.until(connection.checkLiveness())).toBe(true);
    expect(await clock.until(peer.checkLiveness())).toBe(true);
  });

  it('survives loss, delay and reordering while both ends rekey', async () => {
    const { clock, network, initiator, responder, connection, peer } = await connected();
    const random = seededRandom(5);
    const chance = () => random(1)[0] / 256;
    const fault: Fault = () => (chance() < 0.3 ? [] : [300 * chance()]);
    network.setFault('i', 'r', fault);
    for (let round = 0; round < 10; round++) {
      connection.rekey();
      await clock.advance(700 * chance());
      peer.rekey();
      await clock.advance(20_000);
    }
    network.setFault('i', 'r', undefined);
    await clock.advance(300_000);
    expect([initiator.size, responder.size]).toEqual([1, 1]);
    const { info, tunnel } = connection.child!;
    const up = stream(tunnel, peer.child!.tunnel, info.assigned!.ip4!, '203.0.113.9');
    up.send(7);
    await clock.advance(10);
    expect(up.arrived).toEqual([7]);
    expect(await clock.until(connection.checkLiveness())).toBe(true);
  });

  it('keeps its address as long as it lives, and then gives it back (rule 59)', async () => {
    const { clock, connect, initiator, responder, connection, peer } = await connected({
      block: '10.9.0.1/32',
    });
    const { assigned } = connection.child!.info;
    expect(assigned!.ip4).toBe('10.9.0.1');
    for (const end of [connection, peer, connection]) {
      end.rekey();
      await clock.advance(200_000);
      // There is only one, and it is taken.
      await expect(clock.until(connect())).rejects.toThrow('INTERNAL_ADDRESS_FAILURE');
    }
    expect(connection.child!.info.assigned).toEqual(assigned);
    connection.rekey();
    await clock.advance(1_000);
    // Both generations are still there, and count as one.
    expect([initiator.size, responder.size]).toEqual([1, 1]);
    connection.abort();
    peer.abort();
    const next = await clock.until(connect());
    expect(next.child!.info.assigned!.ip4).toBe('10.9.0.1');
  });

  it.each([0, 1, 2, 3, 4, 5])('leaves nothing when it is closed %i ms into a rekey', async (delay) => {
    const records = [dryRun(), dryRun()] as const;
    const backends = [records[0].backend, records[1].backend] as const;
    const { clock, initiator, responder, connection, peer } = await connected({ backends });
    connection.rekey();
    peer.rekey();
    await clock.advance(delay);
    await clock.until(initiator.closeConnection(connection));
    expect(await connection.closed).toBeUndefined();
    await clock.advance(400_000);
    await peer.closed;
    for (const { installed } of records) expect([...installed]).toEqual([]);
    expect([initiator.size, responder.size]).toEqual([0, 0]);
    expect(clock.pending).toBe(0);
  });

  it('leaves nothing when it is aborted in the middle of a rekey', async () => {
    const record = dryRun();
    const { clock, initiator, connection } = await connected({
      backends: [record.backend, dryRun().backend],
    });
    connection.rekey();
    await clock.advance(2);
    connection.abort();
    await clock.advance(10);
    expect(initiator.size).toBe(0);
    expect([...record.installed]).toEqual([]);
  });

  it('holds no more after 200 rekeys than after one', async () => {
    const { clock, initiator, responder, connection, peer } = await connected();
    for (let round = 0; round < 200; round++) {
      (round % 2 === 0 ? connection : peer).rekey();
      await clock.advance(50);
    }
    expect([initiator.size, responder.size]).toEqual([1, 1]);
    await clock.advance(200_000);
    expect(clock.pending).toBe(0);
    expect(await clock.until(connection.checkLiveness())).toBe(true);
  });
});
