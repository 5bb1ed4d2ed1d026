import { afterEach, describe, expect, it, vi } from 'vitest';
import { xfrmBackend } from '../../../src/backend/xfrm/backend.ts';
import type { XfrmRequest } from '../../../src/backend/xfrm/model.ts';
import type { SaEvent, SaOperation, SaResult } from '../../../src/link/sa-store.ts';
import { anySelector } from '../../../src/wire/traffic-selector.ts';
import { FakeKernel, fakeXfrm } from '../../support/fake-kernel.ts';
import { testPath, testPolicy, testSa } from '../../support/sa-parameters.ts';
import { seededRandom } from '../../support/seeded-random.ts';
import { describeBackend } from '../compliance.ts';

function open(kernel = new FakeKernel()) {
  const xfrm = fakeXfrm(kernel);
  const events: SaEvent[] = [];
  const marks = new Map<string, number>();
  const attach = ({ id }: { readonly id: string }) => {
    if (!marks.has(id)) marks.set(id, marks.size + 1);
    return { mark: marks.get(id) as number };
  };
  const backend = xfrmBackend({ xfrm, attach })(
    () => {},
    () => {},
    (event) => events.push(event),
  );
  return { kernel, xfrm, backend, events };
}

describeBackend('kernel, simulated', {
  tunnels: 500,
  sas: 20,
  async open() {
    const { backend, events } = open();
    const nothing = async () => [];
    return { backend, events, send: nothing, receive: nothing, close: () => backend.close() };
  },
});

const MOVED = testPath({ address: '192.0.2.77', port: 4501, localPort: 4500, encapsulated: true });

/** A tunnel that is made, rekeyed, moved and taken down. */
function life(id: string, base: number): readonly SaOperation[] {
  const policy = testPolicy(id);
  const remove = (direction: 'inbound' | 'outbound', spi: number): SaOperation => ({
    kind: 'remove',
    direction,
    spi,
    path: testPath(),
    tunnelId: id,
  });
  return [
    { kind: 'inbound', sa: testSa(base, policy) },
    { kind: 'outbound', sa: testSa(base + 1, policy) },
    { kind: 'inbound', sa: testSa(base + 2, policy) },
    { kind: 'outbound', sa: testSa(base + 3, policy) },
    remove('outbound', base + 1),
    { kind: 'move', spi: base + 3, tunnelId: id, path: MOVED },
    remove('inbound', base),
    remove('outbound', base + 3),
    remove('inbound', base + 2),
  ];
}

function content({ installed, rules }: FakeKernel) {
  return structuredClone({ installed, rules });
}

/** What must hold whenever a packet may come along: nothing of a tunnel that has SAs can leave in clear, or on an SA that is not there. */
function expectClosed(kernel: FakeKernel): void {
  const spis = new Set([...kernel.installed.values()].map(({ spi }) => spi));
  for (const { direction, action, template } of kernel.rules.values())
    if (direction === 'out' && action === 'allow') expect(spis).toContain(template.spi);
}

afterEach(() => {
  vi.useRealTimers();
});

describe('operations of the kernel backend', () => {
  it('leave nothing, and never have a policy without its SA', async () => {
    const { kernel, xfrm, backend } = open();
    kernel.watch = () => expectClosed(kernel);
    for (const operation of life('p', 300)) {
      const [result] = await backend.apply([operation]);
      expect(result).toMatchObject({ ok: true });
    }
    expect([kernel.installed.size, kernel.rules.size, xfrm.taken.size]).toEqual([0, 0, 0]);
  });

  it('change nothing when one of their requests fails, whichever it is', async () => {
    const operations = life('p', 300);
    let requests = 1;
    for (let failing = 0; failing < requests; failing++) {
      const { kernel, xfrm, backend } = open();
      let count = 0;
      kernel.refuse = () => (count++ === failing ? 'ENOMEM' : undefined);
      kernel.watch = () => expectClosed(kernel);
      for (const operation of operations) {
        const before = content(kernel);
        const [result] = await backend.apply([operation]);
        if (result.ok) continue;
        expect(result.error).toMatch(/^the kernel refuses to .*: ENOMEM$/);
        if (operation.kind === 'inbound' || operation.kind === 'outbound')
          expect(content(kernel)).toEqual(before);
        // What is asked for again is done.
        if (operation.kind !== 'move') expect(await backend.apply([operation])).toMatchObject([{ ok: true }]);
      }
      requests = Math.max(requests, count);
      await backend.close();
      expect([failing, kernel.installed.size, kernel.rules.size]).toEqual([failing, 0, 0]);
      expect(xfrm.taken.size).toBe(0);
    }
    expect(requests).toBeGreaterThan(20);
  });

  it('come to the same when the kernel takes its time, and several tunnels are changed at once', async () => {
    for (let seed = 1; seed <= 20; seed++) {
      const random = seededRandom(seed);
      const { kernel, backend } = open();
      kernel.delay = async () => {
        for (let turns = random(1)[0] % 4; turns > 0; turns--) await Promise.resolve();
      };
      kernel.watch = () => expectClosed(kernel);
      const lives = ['p', 'q', 'r'].map((id, index) => life(id, 300 + 10 * index));
      const results: Promise<readonly SaResult[]>[] = [];
      for (const left = lives.map((operations) => [...operations]); left.some(({ length }) => length > 0); ) {
        const some = left.filter(({ length }) => length > 0);
        results.push(backend.apply([some[random(1)[0] % some.length].shift() as SaOperation]));
      }
      for (const [result] of await Promise.all(results)) expect(result.ok).toBe(true);
      expect([kernel.installed.size, kernel.rules.size]).toEqual([0, 0]);
    }
  });

  it('never use a sequence number twice: an SA that moves skips those that may have been used meanwhile', async () => {
    const { kernel, backend } = open();
    await backend.apply(life('p', 300).slice(0, 2));
    const [key, state] = [...kernel.installed].find(([, { spi }]) => spi === 301)!;
    kernel.installed.set(key, { ...state, replay: { ...state.replay, sent: 1000 } });
    await backend.apply([{ kind: 'move', spi: 301, tunnelId: 'p', path: MOVED }]);
    const after = [...kernel.installed.values()];
    const [inbound, outbound] = [300, 301].map((spi) => after.find((found) => found.spi === spi)!);
    expect(outbound).toMatchObject({
      destination: '192.0.2.77',
      encapsulation: { sourcePort: 4500, destinationPort: 4501 },
    });
    expect(outbound.replay.sent).toBeGreaterThanOrEqual(1000 + 2 ** 16);
    expect(inbound).toMatchObject({
      source: '192.0.2.77',
      encapsulation: { sourcePort: 4501, destinationPort: 4500 },
    });
    expect([...kernel.rules.values()].find(({ direction }) => direction === 'out')).toMatchObject({
      action: 'allow',
      template: { spi: 301, path: { source: '192.0.2.2', destination: '192.0.2.77' } },
    });
  });

  it('leave an SA alone that is received on wherever the peer is', async () => {
    const { kernel, backend } = open();
    await backend.apply(life('p', 300).slice(0, 2));
    const requests: XfrmRequest[] = [];
    kernel.refuse = (request) => void requests.push(request);
    await backend.apply([
      { kind: 'move', spi: 301, tunnelId: 'p', path: testPath({ address: '192.0.2.9' }) },
    ]);
    const touched = requests.filter(({ kind }) => kind.endsWith('state'));
    expect(touched.map(({ kind }) => kind)).toEqual(['delete-state', 'add-state']);
  });

  it('are refused with a reason for what the kernel does not have', async () => {
    const { kernel, xfrm, backend } = open();
    const sa = testSa(300, testPolicy('p'));
    const [implicit] = await backend.apply([
      { kind: 'inbound', sa: { ...sa, suite: { ...sa.suite, encryption: 30 } } },
    ]);
    expect(implicit).toMatchObject({ ok: false, error: expect.stringContaining('no implicit IVs') });
    const ranges = Array.from({ length: 300 }, (_, index) => ({
      ...anySelector(4),
      startAddress: Uint8Array.of(10, index >> 8, index & 255, 0),
      endAddress: Uint8Array.of(10, index >> 8, index & 255, 0),
    }));
    const [wide] = await backend.apply([
      { kind: 'inbound', sa: { ...sa, tunnel: { ...sa.tunnel, local: ranges } } },
    ]);
    expect(wide).toMatchObject({ ok: false, error: expect.stringContaining('more than 256 policies') });
    expect([kernel.installed.size, kernel.rules.size, xfrm.taken.size]).toEqual([0, 0, 0]);
  });
});

describe('a tunnel that moves', () => {
  const move: SaOperation = { kind: 'move', spi: 301, tunnelId: 'p', path: MOVED };

  /** Both SAs, of which the outbound one may carry 10 packets, and has carried 3. */
  async function moving() {
    vi.useFakeTimers();
    const opened = open();
    const [inbound] = life('p', 300);
    const limits = { softPackets: 5, hardPackets: 10, hardOctets: 2000 };
    const sa = { ...testSa(301, testPolicy('p'), testPath(), 9), limits, lifetime: 5_400_000 };
    await opened.backend.apply([inbound, { kind: 'outbound', sa }]);
    opened.kernel.carry(301, 3);
    const outbound = () => [...opened.kernel.installed.values()].find(({ spi }) => spi === 301)!;
    return { ...opened, outbound };
  }

  it('has its SAs keep their keys, which the kernel does not tell, the rest of their limits, and their counters', async () => {
    const { kernel, backend, events, outbound } = await moving();
    const { algorithms, lifetime } = outbound();
    expect(lifetime).toBe(5400 + 300);
    for (const path of [MOVED, testPath({ address: '192.0.2.9' })]) {
      expect(await backend.apply([{ ...move, path }])).toMatchObject([{ ok: true }]);
      expect(outbound()).toMatchObject({ algorithms, lifetime, destination: path.address, packets: 0 });
      expect(outbound().limits).toEqual({ softPackets: 2, hardPackets: 7, hardOctets: 1700 });
    }
    kernel.carry(301, 1);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(backend.tunnel('p').counters).toEqual({ packetsOut: 4, octetsOut: 400 });
    expect(events.map(({ kind }) => kind)).toEqual(['used']);
    kernel.carry(301, 1);
    // From before it moved: not to be counted again.
    kernel.tell({ kind: 'expired', hard: false, state: { ...outbound(), packets: 3, octets: 300 } });
    await vi.advanceTimersByTimeAsync(0);
    expect(backend.tunnel('p').counters).toEqual({ packetsOut: 5, octetsOut: 500 });
    expect(events.map(({ kind }) => kind)).toEqual(['used', 'soft']);
  });

  it('stays where it was, and goes on, when that fails at any request, and says so', async () => {
    const places = ({ installed }: FakeKernel) =>
      [...installed.values()].map(({ spi, source, destination, encapsulation, algorithms }) =>
        structuredClone({ spi, source, destination, encapsulation, algorithms }),
      );
    // Blocked, two SAs deleted and added, sent on.
    for (let failing = 0; failing < 5; failing++) {
      const { kernel, backend, outbound } = await moving();
      const [before, rules] = [places(kernel), structuredClone(kernel.rules)];
      let count = 0;
      kernel.refuse = () => (count++ === failing ? 'ENOMEM' : undefined);
      kernel.watch = () => expectClosed(kernel);
      expect(await backend.apply([move])).toMatchObject([{ ok: false }]);
      expect(kernel.rules).toEqual(rules);
      expect(places(kernel).sort((a, b) => a.spi - b.spi)).toEqual(before);
      // Whether it was added again or not.
      const { packets, limits } = outbound();
      expect(packets + (limits.hardPackets as number)).toBe(packets === 3 ? 13 : 7);
      kernel.carry(301, 1);
      await vi.advanceTimersByTimeAsync(2_000);
      expect(backend.tunnel('p').counters).toEqual({ packetsOut: 4, octetsOut: 400 });
      expect(await backend.apply([move])).toMatchObject([{ ok: true }]);
      expect(outbound().destination).toBe(MOVED.address);
    }
  });

  it('stays where it was, and goes on, when the kernel does not tell of its SAs', async () => {
    const { kernel, backend } = await moving();
    const before = content(kernel);
    kernel.fails = true;
    const [result] = await backend.apply([move]);
    expect(result).toEqual({ ok: false, error: 'the kernel does not tell of its IPsec: EIO' });
    expect(content(kernel)).toEqual(before);
  });
});

describe('keys', () => {
  it('are overwritten when an SA is removed, when its tunnel is, and when it was not installed', async () => {
    const keys: Uint8Array[] = [];
    const { kernel, backend } = open();
    kernel.refuse = (request) => {
      if (request.kind !== 'add-state') return undefined;
      keys.push(request.state.algorithms.key);
      return request.state.spi === 304 ? 'ENOMEM' : undefined;
    };
    const isKnown = () => keys.map((key) => key.some((octet) => octet !== 0));
    const operations = life('p', 300);
    await backend.apply(operations.slice(0, 4));
    expect(isKnown()).toEqual([true, true, true, true]);
    await backend.apply(operations.slice(4, 5));
    expect(isKnown()).toEqual([true, false, true, true]);
    await backend.apply([{ kind: 'inbound', sa: testSa(304, testPolicy('p')) }]);
    expect(isKnown()).toEqual([true, false, true, true, false]);
    await backend.tunnel('p').close();
    expect(isKnown()).toEqual([false, false, false, false, false]);
  });
});

describe('what the kernel tells', () => {
  async function limited() {
    vi.useFakeTimers();
    const opened = open();
    const sa = { ...testSa(300, testPolicy('p')), limits: { softPackets: 3, hardPackets: 5 } };
    await opened.backend.apply([{ kind: 'inbound', sa }, ...life('p', 300).slice(1, 2)]);
    const told = () =>
      opened.events.map((event) => ('spi' in event ? `${event.kind} ${event.spi}` : event.kind));
    return { ...opened, told };
  }

  it('is passed on as it comes, each thing once', async () => {
    const { kernel, told } = await limited();
    const soft = kernel.carry(300, 3);
    kernel.tell({ kind: 'expired', hard: false, state: soft });
    await vi.advanceTimersByTimeAsync(0);
    expect(told()).toEqual(['used 300', 'soft 300']);
    const hard = kernel.carry(300, 2);
    kernel.tell({ kind: 'expired', hard: true, state: hard });
    kernel.tell({ kind: 'expired', hard: true, state: hard });
    await vi.advanceTimersByTimeAsync(10_000);
    expect(told()).toEqual(['used 300', 'soft 300', 'hard 300']);
  });

  it('is found out within two seconds when it was lost', async () => {
    const { kernel, backend, told } = await limited();
    kernel.carry(300, 3);
    kernel.carry(301, 1);
    expect(told()).toEqual([]);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(told().sort()).toEqual(['soft 300', 'used 300', 'used 301']);
    expect(backend.tunnel('p').counters).toEqual({
      packetsIn: 3,
      octetsIn: 300,
      packetsOut: 1,
      octetsOut: 100,
    });
    kernel.installed.clear(); // by somebody else: `ip xfrm state flush`
    kernel.tell({ kind: 'lost' });
    await vi.advanceTimersByTimeAsync(0);
    expect(told().slice(3).sort()).toEqual(['hard 300', 'hard 301']);
  });

  it('is of no concern when it is about SAs of others', async () => {
    const { kernel, told } = await limited();
    const state = kernel.carry(300, 5);
    kernel.tell({ kind: 'expired', hard: true, state: { ...state, reqid: 7 } });
    kernel.tell({ kind: 'expired', hard: true, state: { ...state, destination: '192.0.2.99' } });
    const id = { destination: state.destination, spi: 300 };
    kernel.tell({ kind: 'moved', id, reqid: 7, address: '192.0.2.77', port: 1 });
    kernel.tell({ kind: 'moved', id: { ...id, spi: 9 }, reqid: state.reqid, address: '192.0.2.77', port: 1 });
    expect(told()).toEqual([]);
    kernel.tell({ kind: 'moved', id, reqid: state.reqid, address: '192.0.2.77', port: 1 });
    expect(told()).toEqual(['moved']);
  });
});
