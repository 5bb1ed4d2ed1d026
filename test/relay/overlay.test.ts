import { describe, expect, it } from 'vitest';
import { userSpaceBackend } from '../../src/backend/userspace/backend.ts';
import { nodeProvider } from '../../src/crypto/node.ts';
import type { IkeConnection } from '../../src/endpoint/connection.ts';
import { Endpoint } from '../../src/endpoint/endpoint.ts';
import { defaultChildProposals, defaultIkeProposals } from '../../src/ike/proposal.ts';
import { packetFrom } from '../../src/link/packet.ts';
import type { BackendFactory, TunnelPolicy } from '../../src/link/sa-store.ts';
import { overlaySelectors } from '../../src/relay/overlay-selectors.ts';
import { relayProfiles } from '../../src/relay/profiles.ts';
import { hex } from '../../src/wire/bytes.ts';
import { addressSelector, type TrafficSelector } from '../../src/wire/traffic-selector.ts';
import { received } from '../support/received.ts';
import type { SeenPacket } from '../support/sim-network.ts';
import {
  RelayNetwork,
  relayAddress,
  relayConfigs,
  type SimRelay,
  sortedKeys,
} from '../support/sim-relays.ts';
import { buildInitiator } from './initiator.ts';

const crypto = nodeProvider();

const responderConfig = {
  crypto,
  ikeProposals: defaultIkeProposals,
  childProposals: defaultChildProposals,
  retransmission: { first: 500, factor: 2, cap: 2_000, tries: 5 },
  halfOpenTimeout: 15_000,
};

const PAIR: readonly SimRelay[] = [
  { name: 'a', number: 1, peers: ['b'] },
  { name: 'b', number: 2, peers: ['a'] },
];

/** The overlay to `peer` as `name` sees it; undefined while it is down. */
function overlay(relays: RelayNetwork, name: string, peer: string) {
  const { overlays } = relays.relay(name).state();
  return overlays.find((entry) => entry.peer === peer)?.up;
}

function ikeSas(relays: RelayNetwork, name: string): number {
  return relays.relay(name).state().ikeSas;
}

/** Hosts that sent an IKE_SA_INIT request over the edge: exchange type 34, the I flag, no R flag. */
function dialled(seen: readonly SeenPacket[]): ReadonlySet<string> {
  const requests = seen.filter(
    ({ bytes }) => bytes[9] === 17 && bytes[20 + 8 + 18] === 34 && bytes[20 + 8 + 19] === 8,
  );
  return new Set(requests.map(({ from }) => from));
}

/** The user-space data plane, which writes down the policies of the SAs that are installed. */
function recordingBackend(policies: TunnelPolicy[]): BackendFactory {
  return (...wiring) => {
    const backend = userSpaceBackend(crypto)(...wiring);
    const { apply } = backend;
    backend.apply = (operations) => {
      for (const operation of operations)
        if (operation.kind === 'inbound') policies.push(operation.sa.tunnel);
      return apply.call(backend, operations);
    };
    return backend;
  };
}

type Ask = (own: TrafficSelector[], peer: TrafficSelector[]) => [TrafficSelector[], TrafficSelector[]];

/** Why `name` says that its overlay to `peer` is down. */
function problem(relays: RelayNetwork, name: string, peer: string): string | undefined {
  return relays
    .relay(name)
    .state()
    .overlays.find((entry) => entry.peer === peer)?.problem;
}

describe('an overlay that is down', () => {
  it('says why, by what IKE says: no answer, a refusal, a Delete', async () => {
    const relays = new RelayNetwork([...PAIR, { name: 'stranger', number: 3, peers: ['a'] }]);
    await relays.start('stranger');
    expect(problem(relays, 'stranger', 'a')).toBeUndefined();
    await relays.clock.advance(12_000);
    expect(problem(relays, 'stranger', 'a')).toMatch(/^the peer did not answer IKE_SA_INIT/);
    for (const name of ['a', 'b']) await relays.start(name);
    await relays.clock.advance(60_000);
    expect(problem(relays, 'stranger', 'a')).toBe(
      'the peer refused IKE_AUTH: AUTHENTICATION_FAILED; does it list this relay among its peers, with the present descriptor?',
    );
    expect(overlay(relays, 'a', 'b')).toBeDefined();
    expect(problem(relays, 'a', 'b')).toBeUndefined();
    await relays.clock.until(relays.relay('b').close());
    expect(problem(relays, 'a', 'b')).toBe('its IKE SA was deleted');
  });

  it('tells only the kind of what a backend said, which may name an address', async () => {
    const relays = new RelayNetwork(PAIR);
    const backend: BackendFactory = (...wiring) => ({
      ...userSpaceBackend(crypto)(...wiring),
      apply: () => {
        throw new TypeError('no route to 192.0.2.2');
      },
    });
    await relays.start('b');
    await relays.start('a', { backend });
    await relays.clock.advance(2_000);
    expect(overlay(relays, 'a', 'b')).toBeUndefined();
    expect(problem(relays, 'a', 'b')).toBe('LocalError');
  });
});

describe('an overlay between two relays', () => {
  it('comes up, with the same SPIs at both ends', async () => {
    const relays = new RelayNetwork(PAIR);
    await relays.startAll();
    const a = overlay(relays, 'a', 'b');
    expect(overlay(relays, 'b', 'a')).toMatchObject({ spiIn: a!.spiOut, spiOut: a!.spiIn });
  });

  it('has selectors of exactly the public addresses and pools of the pair', async () => {
    const relays = new RelayNetwork(PAIR);
    const policies = { a: [] as TunnelPolicy[], b: [] as TunnelPolicy[] };
    for (const name of ['a', 'b'] as const)
      await relays.start(name, { backend: recordingBackend(policies[name]) });
    await relays.settle();
    const [a, b] = ['a', 'b'].map((name) => relays.configs.get(name)!.own);
    for (const [name, own, peer] of [
      ['a', a, b],
      ['b', b, a],
    ] as const) {
      expect(policies[name].length).toBeGreaterThan(0);
      for (const { local, remote } of policies[name]) {
        expect({ local, remote }).toEqual(overlaySelectors(own, peer));
        expect([...local, ...remote]).toHaveLength(4);
      }
    }
  });

  it.each([
    ['the first', sortedKeys(2), { a: 'initiator', b: 'responder' }],
    ['the second', [...sortedKeys(2)].reverse(), { a: 'responder', b: 'initiator' }],
  ] as const)(
    'is one IKE SA after both have dialled: that of the smaller key, %s',
    async (_, keys, roles) => {
      const relays = new RelayNetwork(PAIR, { configs: relayConfigs(PAIR, keys), latency: 400 });
      await relays.startAll();
      expect(dialled(relays.network.eavesdropper('a', 'b'))).toEqual(new Set(['a', 'b']));
      for (const [name, peer] of [
        ['a', 'b'],
        ['b', 'a'],
      ] as const) {
        expect(overlay(relays, name, peer)?.role).toBe(roles[name]);
        expect(ikeSas(relays, name)).toBe(1);
      }
      await relays.clock.advance(120_000);
      expect(overlay(relays, 'a', 'b')?.role).toBe(roles.a);
      expect([ikeSas(relays, 'a'), ikeSas(relays, 'b')]).toEqual([1, 1]);
    },
  );

  it('is one IKE SA whatever messages of the crossing dials are lost', async () => {
    for (let seed = 0; seed < 8; seed++) {
      const relays = new RelayNetwork(PAIR, { latency: 400 });
      let packets = 0;
      relays.network.setFault('a', 'b', () => ((packets++ * 7 + seed) % 4 === 0 ? [] : [0]));
      await Promise.all(['a', 'b'].map((name) => relays.start(name)));
      await relays.clock.advance(10_000);
      relays.network.setFault('a', 'b', undefined);
      await relays.clock.advance(60_000);
      const a = overlay(relays, 'a', 'b');
      expect(overlay(relays, 'b', 'a'), `seed ${seed}`).toMatchObject({ spiIn: a!.spiOut, spiOut: a!.spiIn });
      expect([ikeSas(relays, 'a'), ikeSas(relays, 'b')], `seed ${seed}`).toEqual([1, 1]);
    }
  });

  it.each([
    ['before its peer has noticed', 'b', 500],
    ['before its peer has noticed', 'a', 500],
    ['while its peer is checking', 'b', 8_000],
    ['long after its peer has noticed', 'b', 300_000],
  ])(
    'is up again within 10 seconds after a relay has crashed and started again %s (%s)',
    async (_, name, downtime) => {
      const peer = name === 'a' ? 'b' : 'a';
      const relays = new RelayNetwork(PAIR);
      await relays.startAll();
      const before = overlay(relays, peer, name);
      relays.crash(name);
      await relays.clock.advance(downtime);
      const relay = await relays.start(name);
      await relays.clock.until(relay.ready, 10_000);
      // Its last answer is still on its way, if it is the responder.
      await relays.clock.advance(500);
      const after = overlay(relays, name, peer)!;
      expect(overlay(relays, peer, name)).toMatchObject({ spiIn: after.spiOut, spiOut: after.spiIn });
      expect(after.spiIn).not.toBe(before!.spiOut);
      await relays.clock.advance(5_000);
      expect([ikeSas(relays, 'a'), ikeSas(relays, 'b')]).toEqual([1, 1]);
    },
  );

  it('is known to be down soon after the peer is gone, and dialled for again', async () => {
    const relays = new RelayNetwork(PAIR);
    await relays.startAll();
    relays.crash('b');
    await relays.clock.advance(15_000);
    expect(overlay(relays, 'a', 'b')).toBeUndefined();
    const seen = relays.network.eavesdropper('a', 'b');
    const before = seen.length;
    await relays.clock.advance(60_000);
    expect(dialled(seen.slice(before))).toEqual(new Set(['a']));
    expect(seen.length - before).toBeLessThan(40);
  });

  it('stays as it is while nothing is sent through it', async () => {
    const relays = new RelayNetwork(PAIR);
    await relays.startAll();
    const before = overlay(relays, 'a', 'b');
    await relays.clock.advance(600_000);
    expect(overlay(relays, 'a', 'b')).toEqual(before);
  });

  it('is deleted when a relay closes, and nothing of the relay is left', async () => {
    const relays = new RelayNetwork(PAIR);
    await relays.startAll();
    await relays.clock.until(relays.relay('b').close());
    expect(overlay(relays, 'a', 'b')).toBeUndefined();
    await relays.clock.until(relays.relay('a').close());
    expect(ikeSas(relays, 'a')).toBe(0);
    expect(relays.clock.pending).toBe(0);
  });
});

describe('a relay', () => {
  /** A stand-in for b that answers a, and writes down what a says. */
  async function standIn(relays: RelayNetwork) {
    const contacts: IkeConnection[] = [];
    const accepted: IkeConnection[] = [];
    const b = relays.configs.get('b')!;
    const link = relays.network.host('b', relayAddress(2));
    const endpoint = await Endpoint.open({
      link,
      backend: userSpaceBackend(crypto),
      crypto,
      clock: relays.clock,
    });
    endpoint.listen({
      config: {
        ...responderConfig,
        profile: relayProfiles(b, { assign: () => undefined, release: () => {} }),
      },
      cookieThreshold: 100,
      maxHalfOpen: 100,
      onChild: (connection) => accepted.push(connection),
      onClosed: () => {},
      onInitialContact: (connection) => contacts.push(connection),
    });
    return { endpoint, contacts, accepted };
  }

  it('says INITIAL_CONTACT to a peer once after its start, and not when it dials again', async () => {
    const relays = new RelayNetwork(PAIR);
    const { endpoint, contacts, accepted } = await standIn(relays);
    await relays.start('a');
    await relays.clock.advance(2_000);
    expect([accepted.length, contacts.length]).toEqual([1, 1]);
    await relays.clock.until(endpoint.closeConnection(accepted[0]));
    await relays.clock.advance(5_000);
    expect([accepted.length, contacts.length]).toEqual([2, 1]);
  });

  it('tells listed relays, and nobody else, of an SPI that it does not know', async () => {
    const relays = new RelayNetwork([...PAIR, { name: 'stranger', number: 3 }]);
    await relays.start('a');
    for (const [name, hints] of [
      ['b', 1],
      ['stranger', 0],
    ] as const) {
      const host = relays.network.host(name, relayAddress(name === 'b' ? 2 : 3));
      const answers = received();
      const attachment = await host.attach(answers);
      attachment.sendEsp([packetFrom(new Uint8Array(64).fill(7))], host.origin(relayAddress(1), false));
      await relays.clock.advance(100);
      // INFORMATIONAL (37) whose only payload ends with INVALID_SPI (11) and the SPI, RFC 7296 1.5.
      const said = answers.ikeMessages
        .filter(({ bytes }) => bytes[18] === 37)
        .map(({ bytes }) => hex(bytes.slice(-6)));
      expect(said).toEqual(Array(hints).fill('000b07070707'));
    }
  });
});

describe('overlays between three relays', () => {
  it('are one for each pair', async () => {
    const relays = new RelayNetwork(
      ['a', 'b', 'c'].map((name, i, all) => ({
        name,
        number: i + 1,
        peers: all.filter((peer) => peer !== name),
      })),
    );
    await relays.startAll();
    for (const name of ['a', 'b', 'c']) {
      const { overlays, ikeSas } = relays.relay(name).state();
      expect(overlays.filter(({ up }) => up !== undefined)).toHaveLength(2);
      expect(ikeSas).toBe(2);
    }
  });

  it('are refused to a relay that is not listed', async () => {
    const relays = new RelayNetwork([...PAIR, { name: 'stranger', number: 3, peers: ['a'] }]);
    for (const name of ['a', 'b', 'stranger']) await relays.start(name);
    await relays.clock.advance(30_000);
    expect(dialled(relays.network.eavesdropper('a', 'stranger'))).toEqual(new Set(['stranger']));
    expect(overlay(relays, 'stranger', 'a')).toBeUndefined();
    expect(relays.relay('a').state().overlays).toMatchObject([{ peer: 'b', up: {} }]);
    expect(ikeSas(relays, 'a')).toBe(1);
  });
});

describe('relays that do not agree on their pools', () => {
  it('have no overlay: b says that it has part of the pool of a', async () => {
    const keys = sortedKeys(2);
    const then = relayConfigs(PAIR, keys).get('a')!; // b's old pool, 10.2.0.0/16, in a's list
    const moved = relayConfigs(
      [
        { ...PAIR[0], pool: '10.9.0.0/16' },
        { ...PAIR[1], pool: '10.1.128.0/17' },
      ],
      keys,
    ).get('b')!;
    const relays = new RelayNetwork(PAIR, {
      configs: new Map([
        ['a', then],
        ['b', moved],
      ]),
    });
    for (const name of ['a', 'b']) await relays.start(name);
    for (let second = 0; second < 60; second++) {
      await relays.clock.advance(1_000);
      expect([overlay(relays, 'a', 'b'), overlay(relays, 'b', 'a')]).toEqual([undefined, undefined]);
    }
    expect(dialled(relays.network.eavesdropper('a', 'b'))).toEqual(new Set(['a', 'b']));
    expect(problem(relays, 'a', 'b')).toMatch(/^relay 'b' and this one do not agree|TS_UNACCEPTABLE/);
    expect(problem(relays, 'b', 'a')).toMatch(/^relay 'a' and this one do not agree|TS_UNACCEPTABLE/);
  });

  it.each<[string, Ask]>([
    ['less than its pool', (own, peer) => [own.slice(0, 1), peer]],
    ['less than our pool', (own, peer) => [own, peer.slice(0, 1)]],
    ['one address of its pool', (own, peer) => [[own[0], addressSelector('10.2.0.7')], peer]],
  ])('an initiator with the key of a listed relay that asks for %s loses its IKE SA', async (_, ask) => {
    const relays = new RelayNetwork(PAIR);
    await relays.start('a');
    const { own, key } = relays.configs.get('b')!;
    const pair = overlaySelectors(own, relays.configs.get('a')!.own);
    const [tsI, tsR] = ask([...pair.local], [...pair.remote]);
    const link = relays.network.host('b', relayAddress(2));
    const endpoint = await Endpoint.open({
      link,
      backend: userSpaceBackend(crypto),
      crypto,
      clock: relays.clock,
    });
    const config = buildInitiator(crypto, relays.configs.get('a')!.own, { key, keyId: own.keyId, tsI, tsR });
    const connection: IkeConnection = await relays.clock.until(
      endpoint.connect(config, link.origin(relayAddress(1), false)),
    );
    await relays.clock.until(connection.closed, 3_000);
    expect(overlay(relays, 'a', 'b')).toBeUndefined();
  });
});
