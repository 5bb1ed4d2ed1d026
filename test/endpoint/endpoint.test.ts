import { describe, expect, it } from 'vitest';
import { dryRun } from '../../src/backend/dry-run.ts';
import { userSpaceBackend } from '../../src/backend/userspace/backend.ts';
import type { CryptoProvider } from '../../src/crypto/provider.ts';
import type { IkeConnection } from '../../src/endpoint/connection.ts';
import { Endpoint, type EndpointOptions, type Listener } from '../../src/endpoint/endpoint.ts';
import { sourceLimits } from '../../src/endpoint/half-open.ts';
import { NotifyType } from '../../src/ike/constants.ts';
import { decodePlain, encodePlain, peekHeader } from '../../src/ike/message.ts';
import { notify, type Payload, PayloadType } from '../../src/ike/payload/index.ts';
import { findNotify } from '../../src/ike/payloads.ts';
import { PuzzleSolver } from '../../src/ike/puzzle.ts';
import type { Attachment, Link, LinkHandlers, Origin } from '../../src/link/link.ts';
import type { BackendFactory } from '../../src/link/sa-store.ts';
import { anonymousProfile, initiatorConfig, responderConfig, signature } from '../support/ike-configs.ts';
import { testCrypto } from '../support/pair.ts';
import { SimNetwork } from '../support/sim-network.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

const crypto: CryptoProvider = testCrypto(9).provider;
const relay = signature(crypto);

function listener(more: Partial<Listener> = {}): Listener {
  return {
    config: responderConfig(crypto, anonymousProfile(relay)),
    cookieThreshold: 1_000,
    maxHalfOpen: 8,
    onChild: () => {},
    onClosed: () => {},
    ...more,
  };
}

/** A link whose other side is the test. */
class BareLink implements Link {
  readonly id = 'bare';
  readonly mtu = 1500;
  readonly sent: { readonly message: Uint8Array; readonly to: Origin }[] = [];
  handlers!: LinkHandlers;

  origin(address: string): Origin {
    return {
      linkId: this.id,
      address,
      port: 500,
      localAddress: '192.0.2.1',
      localPort: 500,
      encapsulated: false,
    };
  }

  async attach(handlers: LinkHandlers): Promise<Attachment> {
    this.handlers = handlers;
    return {
      sendIke: (message, to) => void this.sent.push({ message, to }),
      sendEsp: () => {},
      close: async () => {},
    };
  }

  /** The cookie that the last message demands. */
  cookie(): Uint8Array | undefined {
    const decoded = decodePlain(this.sent.at(-1)?.message ?? new Uint8Array(0));
    return decoded.kind === 'ok' ? findNotify(decoded.payloads, NotifyType.COOKIE)?.data : undefined;
  }

  /** Notify types of what was sent unprotected. */
  notifies(): number[] {
    return this.sent.flatMap(({ message }) => {
      const decoded = decodePlain(message);
      if (decoded.kind !== 'ok') return [];
      return decoded.payloads.flatMap((payload) => (payload.kind === 'NOTIFY' ? [payload.type] : []));
    });
  }
}

/** The request again, with a cookie (RFC 7296 2.6), a solution, and as many vendor IDs as are wanted. */
function withCookie(
  request: Uint8Array,
  cookie: Uint8Array,
  solution?: Uint8Array,
  vendorIds = 0,
): Uint8Array {
  const decoded = decodePlain(request);
  if (decoded.kind !== 'ok') throw new Error(decoded.kind);
  return encodePlain(decoded.header, [
    notify(NotifyType.COOKIE, cookie),
    ...(solution === undefined ? [] : [{ kind: 'PS', data: solution } as const]),
    ...decoded.payloads,
    ...Array.from(
      { length: vendorIds % 20 },
      () => ({ kind: 'VENDOR_ID', data: new Uint8Array(4) }) as const,
    ),
  ]);
}

function solve(cookie: Uint8Array): Uint8Array {
  const solver = new PuzzleSolver(crypto, { prf: 5, difficulty: 8 }, cookie);
  return solver.work(1_000_000)!;
}

function payloadsOf(message: Uint8Array): readonly Payload[] {
  const decoded = decodePlain(message);
  if (decoded.kind !== 'ok') throw new Error(decoded.kind);
  return decoded.payloads;
}

/** An IKE_AUTH request whose ICV is wrong. */
function garbageAuth(response: Uint8Array): Uint8Array {
  const { spiI, spiR } = peekHeader(response)!;
  const header = encodePlain(
    { spiI, spiR, exchangeType: 35, messageId: 1, flags: { initiator: true, response: false } },
    [{ kind: 'UNKNOWN', type: PayloadType.SK, critical: false, data: new Uint8Array(100) }],
  );
  return header;
}

async function bare(more: Partial<Listener> = {}, options: Partial<EndpointOptions> = {}) {
  const link = new BareLink();
  const clock = new VirtualClock();
  const endpoint = await Endpoint.open({ link, backend: dryRun().backend, crypto, clock, ...options });
  endpoint.listen(listener(more));
  return { link, clock, endpoint };
}

/** IKE_SA_INIT requests of as many initiators. */
async function initRequests(count: number): Promise<Uint8Array[]> {
  const link = new BareLink();
  const clock = new VirtualClock();
  const endpoint = await Endpoint.open({ link, backend: dryRun().backend, crypto, clock });
  const attempts = Array.from({ length: count }, () => {
    const stop = new AbortController();
    const attempt = endpoint.connect(initiatorConfig(crypto, relay), link.origin('192.0.2.9'), stop.signal);
    attempt.catch(() => {});
    return stop;
  });
  await clock.advance(0);
  for (const stop of attempts) stop.abort();
  return link.sent.map(({ message }) => message);
}

describe('half-open IKE SAs', () => {
  it('are limited for one address, one /64, one network, one overlay peer and one of its clients', async () => {
    const maxHalfOpenPer = { address: 2, network: 3, peer: 5, client: 4 };
    const { link, endpoint } = await bare({ maxHalfOpen: 100, maxHalfOpenPer });
    const requests = await initRequests(60);
    const made = (origin: Partial<Origin>) => {
      const before = endpoint.size;
      const from = { ...link.origin('203.0.113.1'), ...origin };
      for (let i = 0; i < 6; i++) {
        const request = requests.pop()!;
        link.handlers.ike(request, from);
        const cookie = link.cookie();
        if (cookie !== undefined) link.handlers.ike(withCookie(request, cookie), from);
      }
      return endpoint.size - before;
    };
    expect(made({})).toBe(2);
    expect(made({ address: '203.0.113.77' })).toBe(1);
    expect(made({ address: '203.0.114.77' })).toBe(2);
    expect(made({ address: '2001:db8::1' })).toBe(2);
    expect(made({ address: '2001:db8::2' })).toBe(0);
    expect(made({ address: '2001:db8:0:1::2' })).toBe(1);
    expect(made({ address: '10.0.0.1', overlayPeer: 'aa' })).toBe(4);
    expect(made({ address: '10.0.0.2', overlayPeer: 'aa' })).toBe(1);
    expect(made({ address: '10.0.0.2', overlayPeer: 'bb' })).toBe(4);
  });

  it('are by default a sixteenth for an address, a quarter for a network or overlay peer, and an eighth of that for a client', () => {
    expect(sourceLimits(1000)).toEqual({ address: 62, network: 250, peer: 250, client: 31 });
    expect(sourceLimits(1000, { peer: 9 })).toEqual({ address: 62, network: 250, peer: 9, client: 31 });
    expect(sourceLimits(3)).toEqual({ address: 1, network: 1, peer: 1, client: 1 });
  });

  it('have room for known peers when they are all taken by others', async () => {
    const { link, endpoint } = await bare({}, { isKnownPeer: ({ address }) => address === '192.0.2.77' });
    const requests = await initRequests(12);
    for (let i = 0; i < 10; i++) link.handlers.ike(requests[i], link.origin(`203.0.${i}.113`));
    expect(endpoint.size).toBe(8);
    link.handlers.ike(requests[10], link.origin('192.0.2.77'));
    expect(endpoint.size).toBe(9);
    link.handlers.ike(requests[11], link.origin('203.0.113.200'));
    expect(endpoint.size).toBe(9);
  });

  it('are told apart by the whole request: two may have one SPI and one address (rule 5)', async () => {
    const { link, endpoint } = await bare({ maxHalfOpenPer: { address: 8 } });
    const [one, other] = await initRequests(2);
    const twin = other.slice();
    twin.set(one.subarray(0, 8));
    const from = link.origin('203.0.113.1');
    for (const request of [one, twin]) link.handlers.ike(request, from);
    expect(endpoint.size).toBe(2);
    const [first, second] = link.sent.map(({ message }) => message);
    expect(first.subarray(0, 8)).toEqual(second.subarray(0, 8));
    expect(first.subarray(8, 16)).not.toEqual(second.subarray(8, 16));
    // Each gets its own answer again.
    for (const request of [twin, one]) link.handlers.ike(request, from);
    expect(link.sent.slice(2).map(({ message }) => message)).toEqual([second, first]);
    expect(endpoint.size).toBe(2);
  });

  it('give their place back when they time out', async () => {
    const { link, clock, endpoint } = await bare({ maxHalfOpenPer: { address: 1 } });
    const requests = await initRequests(4);
    for (const request of requests.slice(0, 2)) link.handlers.ike(request, link.origin('203.0.113.1'));
    expect(endpoint.size).toBe(1);
    await clock.advance(60_000);
    expect(endpoint.size).toBe(0);
    for (const request of requests.slice(2)) link.handlers.ike(request, link.origin('203.0.113.1'));
    expect(endpoint.size).toBe(1);
  });
});

describe('puzzles', () => {
  const puzzles = { threshold: 0, difficulty: 8 };

  it('are worth one IKE SA each', async () => {
    // Nobody wins the lottery of those who solve none.
    const random = (length: number) => (length === 1 ? Uint8Array.of(255) : crypto.random(length));
    const limits = { cookieThreshold: 0, maxHalfOpen: 1_000 };
    const { link, endpoint } = await bare({ ...limits, puzzles }, { crypto: { ...crypto, random } });
    const [request] = await initRequests(1);
    const from = link.origin('203.0.113.1');
    link.handlers.ike(request, from);
    const cookie = link.cookie()!;
    const solved = withCookie(request, cookie, solve(cookie));
    link.handlers.ike(solved, from);
    expect(endpoint.halfOpen).toBe(1);
    // Other octets, with the same cookie and solution.
    for (let i = 0; i < 40; i++) link.handlers.ike(withCookie(request, cookie, solve(cookie), i), from);
    expect(endpoint.halfOpen).toBe(1);
  });

  it('are demanded in IKE_AUTH too when many IKE_AUTH requests were forged', async () => {
    const { link, clock, endpoint } = await bare({ cookieThreshold: 0, maxHalfOpen: 1_000, puzzles });
    const requests = await initRequests(13);
    const answer = (request: Uint8Array, address: string) => {
      link.handlers.ike(request, link.origin(address));
      const cookie = link.cookie()!;
      link.handlers.ike(withCookie(request, cookie, solve(cookie)), link.origin(address));
      return link.sent.at(-1)!.message;
    };
    for (const [i, request] of requests.slice(0, 12).entries()) {
      const response = answer(request, `203.0.${i}.113`);
      expect(payloadsOf(response).some(({ kind }) => kind === 'SA')).toBe(true);
      expect(findNotify(payloadsOf(response), NotifyType.PUZZLE)).toBeUndefined();
      link.handlers.ike(garbageAuth(response), link.origin(`203.0.${i}.113`));
    }
    await clock.advance(60_000);
    expect(endpoint.halfOpen).toBe(0);
    const response = payloadsOf(answer(requests[12], '203.0.113.99'));
    expect(findNotify(response, NotifyType.PUZZLE)!.data).toEqual(Uint8Array.of(0, 5, 8));
  });
});

describe('answers to strangers', () => {
  it('are rate limited for errors and not for cookies', async () => {
    const { link } = await bare({ cookieThreshold: 0 });
    const [request] = await initRequests(1);
    for (let i = 0; i < 300; i++) link.handlers.ike(request, link.origin('203.0.113.1'));
    expect(link.notifies()).toEqual(Array(300).fill(NotifyType.COOKIE));
    link.sent.length = 0;
    const version3 = request.slice();
    version3[17] = 0x30;
    for (let i = 0; i < 300; i++) link.handlers.ike(version3, link.origin('203.0.113.1'));
    expect(link.notifies()).toEqual(Array(100).fill(NotifyType.INVALID_MAJOR_VERSION));
  });

  it('that ask for an IKE SA there is not are rate limited too (rule 92)', async () => {
    const { link, clock } = await bare();
    const unknown = (await initRequests(1))[0].slice();
    unknown[18] = 37;
    unknown.fill(9, 8, 16);
    for (let i = 0; i < 300; i++) link.handlers.ike(unknown, link.origin('203.0.113.1'));
    expect(link.notifies()).toEqual(Array(100).fill(NotifyType.INVALID_IKE_SPI));
    await clock.advance(10_000);
    link.handlers.ike(unknown, link.origin('203.0.113.1'));
    expect(link.notifies()).toHaveLength(101);
  });

  it('are not given once it has stopped listening, nor is anything accepted', async () => {
    const { link, endpoint } = await bare();
    endpoint.stopListening();
    for (const request of await initRequests(3)) link.handlers.ike(request, link.origin('203.0.113.1'));
    expect([endpoint.size, link.sent]).toEqual([0, []]);
  });
});

describe('two endpoints', () => {
  async function pair(
    backends: { initiator?: BackendFactory; responder?: BackendFactory } = {},
    more: Partial<Listener> = {},
  ) {
    const clock = new VirtualClock();
    const network = new SimNetwork(clock);
    const [one, two] = [network.host('i', '198.51.100.1'), network.host('r', '198.51.100.2')];
    network.join('i', 'r');
    const openOn = (link: Link, backend = userSpaceBackend(crypto)) =>
      Endpoint.open({ link, backend, crypto, clock });
    const initiator = await openOn(one, backends.initiator);
    const responder = await openOn(two, backends.responder);
    responder.listen(listener(more));
    const connect = () =>
      initiator.connect(initiatorConfig(crypto, relay), one.origin('198.51.100.2', false));
    return { clock, network, initiator, responder, connect };
  }

  it('overwrite keys once they are installed', async () => {
    const record = dryRun();
    const { clock, connect } = await pair({ initiator: record.backend });
    await clock.until(connect());
    const keys = record.operations.flatMap((operation) =>
      operation.kind === 'inbound' || operation.kind === 'outbound' ? [operation.sa.keys.encryption] : [],
    );
    expect(keys).toHaveLength(2);
    for (const key of keys) expect(key.every((octet) => octet === 0)).toBe(true);
  });

  it('lose one IKE SA, and only that, when a handler throws', async () => {
    let bad = true;
    const { clock, network, connect, responder } = await pair(
      {},
      {
        onChild: () => {
          if (bad) throw new Error('a defect');
        },
      },
    );
    const first = connect();
    first.catch(() => {});
    await clock.advance(1_000);
    // The peer must not be told that all is well with an IKE SA that is gone: nothing protected is sent.
    const answers = network.eavesdropper('i', 'r').filter(({ from }) => from === 'r');
    expect(answers.length).toBeGreaterThan(0);
    expect(answers.map(({ bytes }) => bytes[20 + 8 + 16])).not.toContain(PayloadType.SK);
    expect(responder.size).toBe(0);
    bad = false;
    await clock.until(connect());
    expect(responder.size).toBe(1);
  });

  it('go on when a handler throws at the end of one, which nobody waits for', async () => {
    const closed: IkeConnection[] = [];
    const onClosed = (connection: IkeConnection) => {
      closed.push(connection);
      throw new Error('a defect');
    };
    const { clock, connect, initiator, responder } = await pair({}, { onClosed });
    for (const round of [1, 2]) {
      const connection = await clock.until(connect());
      await clock.until(initiator.closeConnection(connection));
      expect([closed.length, responder.size]).toEqual([round, 0]);
    }
  });

  it.each([
    ['initiator', 0],
    ['initiator', 1],
    ['initiator', 2],
    ['responder', 0],
    ['responder', 1],
    ['responder', 2],
  ] as const)('leave nothing installed when operation %s %i fails, late', async (side, failing) => {
    const record = dryRun();
    const { clock, connect, initiator, responder } = await pair({
      [side]: slowAndFailing(record.backend, () => clock, failing),
    });
    await expect(clock.until(connect())).rejects.toThrow();
    await clock.advance(60_000);
    expect([...record.installed]).toEqual([]);
    expect([initiator.size, responder.size]).toEqual([0, 0]);
  });
});

/** A data plane that takes 50 ms for every operation, and whose `failing`th one fails. */
function slowAndFailing(factory: BackendFactory, clock: () => VirtualClock, failing: number): BackendFactory {
  let count = 0;
  return (...wiring) => {
    const backend = factory(...wiring);
    return {
      name: backend.name,
      receive: (packets, origin) => backend.receive(packets, origin),
      tunnel: (id) => backend.tunnel(id),
      close: () => backend.close(),
      apply: async (operations) => {
        await new Promise<void>((resolve) => clock().at(clock().now() + 50, resolve));
        if (count++ === failing) return [{ ok: false, error: 'the backend is broken' }];
        return backend.apply(operations);
      },
    };
  };
}
