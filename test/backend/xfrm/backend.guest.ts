import { describe, expect, it } from 'vitest';
import { xfrmAlgorithms } from '../../../src/backend/xfrm/algorithms.ts';
import { type XfrmBackendOptions, xfrmBackend } from '../../../src/backend/xfrm/backend.ts';
import type { XfrmChannel } from '../../../src/backend/xfrm/channel.ts';
import { ipChannel } from '../../../src/backend/xfrm/ip-channel.ts';
import type { InstalledState, XfrmEvent, XfrmRequest, XfrmState } from '../../../src/backend/xfrm/model.ts';
import { netlinkChannel } from '../../../src/backend/xfrm/netlink-channel.ts';
import { openXfrm, type XfrmOptions } from '../../../src/backend/xfrm/xfrm.ts';
import {
  EncryptionTransform,
  encryptionOf,
  IntegrityTransform,
  protectionKeyLengths,
} from '../../../src/crypto/transforms.ts';
import type { NetworkNamespace } from '../../../src/host/namespace.ts';
import type { Backend, EspSuite, SaEvent } from '../../../src/link/sa-store.ts';
import { native, within, withNamespaces } from '../../support/namespaces.ts';
import { testPath, testPolicy, testSa } from '../../support/sa-parameters.ts';

interface Opened {
  readonly backend: Backend;
  readonly events: SaEvent[];
  states(): Promise<string>;
  policies(): Promise<string>;
}

/** Runs `action` with a backend in a new namespace, which has to leave nothing there. */
async function withBackend(
  action: (opened: Opened) => Promise<void>,
  attach?: XfrmBackendOptions['attach'],
): Promise<void> {
  await withNamespaces(1, async (namespace: NetworkNamespace) => {
    const show = async (what: string) => (await namespace.exec(['ip', '-s', 'xfrm', what])).stdout;
    const [states, policies] = [() => show('state'), () => show('policy')];
    const xfrm = await openXfrm({ native: native(), namespace: namespace.file });
    const events: SaEvent[] = [];
    const backend = xfrmBackend({ xfrm, ...(attach && { attach }) })(
      () => {},
      () => {},
      (event) => events.push(event),
    );
    await action({ backend, events, states, policies });
    await backend.close();
    expect([await states(), await policies()]).toEqual(['', '']);
    await xfrm.close();
  });
}

const { NULL, AES_CBC } = EncryptionTransform;

/** Every ESP suite that the crypto providers have. */
const suites = Object.values(EncryptionTransform).flatMap((encryption) => {
  const { keyLengths, aead } = encryptionOf(encryption);
  const integrities = Object.values(IntegrityTransform).filter((integrity) => (integrity === 0) === aead);
  return keyLengths.flatMap((keyLength) =>
    integrities.flatMap((integrity) =>
      [false, true].map((esn): EspSuite => ({ encryption, keyLength, integrity, esn })),
    ),
  );
});

function keysOf(suite: EspSuite) {
  const lengths = protectionKeyLengths(suite);
  return {
    encryption: new Uint8Array(lengths.encryption).fill(1),
    integrity: new Uint8Array(lengths.integrity).fill(2),
  };
}

describe('SAs in the kernel', () => {
  it('copy neither ECN nor DSCP, are for either family, and have a window of 1024', () =>
    withBackend(
      async ({ backend, states }) => {
        await backend.apply([
          { kind: 'inbound', sa: testSa(800, testPolicy('p')) },
          { kind: 'outbound', sa: testSa(900, testPolicy('p')) },
        ]);
        const shown = await states();
        expect(shown.match(/flag noecn af-unspec/g)).toHaveLength(2);
        expect(shown.match(/extra_flag dont-encap-dscp/g)).toHaveLength(2);
        expect(shown.match(/replay_window 1024/g)).toHaveLength(2);
        expect(shown.match(/mark 0x7\/0xffffffff/g)).toHaveLength(2);
      },
      () => ({ mark: 7 }),
    ));

  it('are of every suite that has no implicit IV', () =>
    withBackend(async ({ backend, states }) => {
      for (const [index, suite] of suites.entries()) {
        const sa = { ...testSa(1000 + index, testPolicy('p')), suite, keys: keysOf(suite) };
        const [result] = await backend.apply([{ kind: 'inbound', sa }]);
        const { implicitIv } = encryptionOf(suite.encryption);
        expect([suite, result.ok]).toEqual([suite, !implicitIv]);
        if (!result.ok) expect(result.error).toContain('the kernel has no implicit IVs');
      }
      const shown = await states();
      expect(shown).toContain('rfc7539esp(chacha20,poly1305)');
      const extended = suites.filter(({ encryption, esn }) => esn && !encryptionOf(encryption).implicitIv);
      expect(shown.match(/ esn/g)?.length).toBeGreaterThanOrEqual(extended.length);
      expect(suites.some(({ encryption }) => encryption === NULL)).toBe(true);
      expect(suites.some(({ encryption }) => encryption === AES_CBC)).toBe(true);
    }));

  it('block what they should carry while they cannot', () =>
    withBackend(async ({ backend, policies }) => {
      const [policy, path] = [testPolicy('p'), testPath()];
      await backend.apply([{ kind: 'inbound', sa: testSa(800, policy) }]);
      expect(await policies()).toContain('dir out action block');
      await backend.apply([{ kind: 'outbound', sa: testSa(900, policy) }]);
      expect(await policies()).toContain('dir out action allow');
      await backend.apply([{ kind: 'remove', direction: 'outbound', spi: 900, path, tunnelId: 'p' }]);
      expect(await policies()).toContain('dir out action block');
    }));

  it('share policies with those of another tunnel with the same peer, until either is gone', () =>
    withBackend(async ({ backend, policies, states }) => {
      const [first, second] = [testPolicy('first'), testPolicy('second')];
      const sender = async () => /proto esp spi 0x0*([0-9a-f]+)/.exec(await policies())?.[1];
      const results = await backend.apply([
        { kind: 'inbound', sa: testSa(800, first) },
        { kind: 'outbound', sa: testSa(900, first) },
        { kind: 'inbound', sa: testSa(801, second) },
        { kind: 'outbound', sa: testSa(901, second) },
      ]);
      expect(results.every(({ ok }) => ok)).toBe(true);
      expect(await sender()).toBe((901).toString(16));
      expect((await policies()).match(/dir in /g)).toHaveLength(1);
      expect(new Set((await states()).match(/reqid \d+/g)).size).toBe(1);
      await backend.tunnel('second').close();
      expect(await sender()).toBe((900).toString(16));
      expect((await states()).match(/proto esp spi/g)).toHaveLength(2);
      await backend.apply([{ kind: 'outbound', sa: testSa(902, second) }]);
      await backend.tunnel('first').close();
      expect(await sender()).toBe((902).toString(16));
      await backend.tunnel('second').close();
      expect(await policies()).toBe('');
    }));

  it('are refused where the same packets already go to another peer', () =>
    withBackend(async ({ backend }) => {
      await backend.apply([{ kind: 'outbound', sa: testSa(900, testPolicy('first')) }]);
      const other = testSa(901, testPolicy('second'), testPath({ address: '192.0.2.9' }));
      const [result] = await backend.apply([{ kind: 'outbound', sa: other }]);
      expect(result).toMatchObject({ ok: false, error: expect.stringContaining('EEXIST') });
    }));
});

/** States in an order that does not depend on the way they are asked for. */
async function sorted(channel: XfrmChannel): Promise<readonly InstalledState[]> {
  return [...(await channel.states())].sort((a, b) => a.spi - b.spi);
}

describe('the ways to the kernel', () => {
  it('install the same SAs, and tell the same of them', () =>
    withNamespaces(2, async (a, b) => {
      const open = (namespace: NetworkNamespace, channel?: XfrmOptions['channel']) =>
        openXfrm({ native: native(), namespace: namespace.file, ...(channel && { channel }) });
      const byNetlink = await open(a);
      const byIp = await open(b, ipChannel);
      const replay = { extended: true, sent: 2 ** 32 + 5, received: 0, window: 1024 };
      const states = suites
        .filter(({ encryption }) => !encryptionOf(encryption).implicitIv)
        .map((suite, index): XfrmState => {
          const ports = { sourcePort: 4500, destinationPort: index + 1 };
          return {
            source: index % 3 === 0 ? '2001:db8::1' : '192.0.2.1',
            destination: index % 3 === 0 ? '2001:db8::2' : '192.0.2.2',
            spi: 1000 + index,
            reqid: 77,
            algorithms: xfrmAlgorithms(suite, keysOf(suite)),
            replay: { ...replay, extended: suite.esn, sent: suite.esn ? replay.sent : index },
            limits: index % 2 === 0 ? {} : { softOctets: 1000, hardOctets: 2000, hardPackets: 40 },
            ...(index % 4 === 3 && { lifetime: 5700 }),
            ...(index % 4 === 1 && { mark: 0xa7000000 + index }),
            ...(index % 4 === 2 && { interfaceId: index }),
            ...(index % 3 !== 0 && index % 5 === 0 && { encapsulation: ports }),
          };
        });
      const requests = states.map((state): XfrmRequest => ({ kind: 'add-state', state }));
      for (const { channel } of [byNetlink, byIp]) expect(await channel.apply(requests)).toBeUndefined();
      const printed = await Promise.all(
        [a, b].map(async (namespace) => (await namespace.exec(['ip', 'xfrm', 'state'])).stdout),
      );
      expect(printed[1]).toBe(printed[0]);
      const other = within(b, () => netlinkChannel(native()));
      const seen = await sorted(other);
      expect(seen).toHaveLength(states.length);
      expect(await sorted(byIp.channel)).toEqual(seen);
      expect(await sorted(byNetlink.channel)).toEqual(seen);
      for (const state of states) {
        const told = seen.find(({ spi }) => spi === state.spi);
        const { algorithms: _, ...rest } = state;
        expect(told).toMatchObject({ ...rest, replay: { ...state.replay, window: 1024 } });
        expect(await byNetlink.channel.state(state)).toEqual(told);
        if (state.spi < 1004) expect(await byIp.channel.state(state)).toEqual(told);
      }
      const again = await byIp.channel.apply(requests.slice(3, 5));
      expect(again).toMatchObject({ index: 0, code: 'EEXIST' });
      const deletions = states.map((id): XfrmRequest => ({ kind: 'delete-state', id }));
      for (const { channel } of [byNetlink, byIp]) {
        expect(await channel.apply(deletions)).toBeUndefined();
        expect(await channel.states()).toEqual([]);
      }
      await other.close();
      await byNetlink.close();
      await byIp.close();
    }));
});

describe('an SA whose lifetime is over', () => {
  it('is gone, and an event says so, whether or not anybody is there to remove it', () =>
    withNamespaces(1, async (namespace) => {
      const xfrm = await openXfrm({ native: native(), namespace: namespace.file });
      const events: XfrmEvent[] = [];
      xfrm.channel.onEvent((event) => events.push(event));
      const state: XfrmState = {
        source: '192.0.2.1',
        destination: '192.0.2.2',
        spi: 1000,
        reqid: 77,
        mark: 7,
        algorithms: { aead: 'rfc4106(gcm(aes))', key: new Uint8Array(20).fill(1), icvLength: 128 },
        replay: { extended: true, sent: 0, received: 0, window: 1024 },
        limits: {},
        lifetime: 1,
      };
      expect(await xfrm.channel.apply([{ kind: 'add-state', state }])).toBeUndefined();
      await expect.poll(() => events, { timeout: 10_000 }).toHaveLength(1);
      expect(events).toMatchObject([
        {
          kind: 'expired',
          hard: true,
          state: { destination: '192.0.2.2', spi: 1000, reqid: 77, mark: 7, packets: 0 },
        },
      ]);
      expect(await xfrm.channel.states()).toEqual([]);
      await xfrm.close();
    }));
});

describe('SAs of several owners', () => {
  it('are removed when theirs was killed, and left alone when it lives or is a stranger', () =>
    withNamespaces(1, async (namespace) => {
      const stranger =
        'ip xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x77 reqid 77 mode tunnel aead rfc4106(gcm(aes)) 0x0102030405060708090a0b0c0d0e0f1011121314 128';
      await namespace.exec(stranger.split(' '));
      const spis = async (channel: XfrmChannel) => (await sorted(channel)).map(({ spi }) => spi);
      const start = async (spi: number, channel?: XfrmOptions['channel']) => {
        const options = { native: native(), namespace: namespace.file, ...(channel && { channel }) };
        const xfrm = await openXfrm(options);
        const backend = xfrmBackend({ xfrm, attach: () => ({ mark: spi }) })(
          () => {},
          () => {},
          () => {},
        );
        const results = await backend.apply([
          { kind: 'inbound', sa: testSa(spi, testPolicy('p')) },
          { kind: 'outbound', sa: testSa(spi + 1, testPolicy('p')) },
        ]);
        expect(results.map(({ ok }) => ok)).toEqual([true, true]);
        return { xfrm, backend };
      };
      const live = await start(800);
      // What is deleted no more stays, as if its process had been killed.
      let killed = false;
      const doomed = await start(900, () => {
        const channel = netlinkChannel(native());
        const apply = (requests: readonly XfrmRequest[]) =>
          killed ? Promise.resolve(undefined) : channel.apply(requests);
        return {
          apply,
          state: (id) => channel.state(id),
          states: () => channel.states(),
          policies: () => channel.policies(),
          onEvent: (listener) => channel.onEvent(listener),
          close: () => channel.close(),
        };
      });
      killed = true;
      await doomed.backend.close();
      await doomed.xfrm.close();
      expect(await spis(live.xfrm.channel)).toEqual([0x77, 800, 801, 900, 901]);
      const next = await start(1000);
      expect(await spis(live.xfrm.channel)).toEqual([0x77, 800, 801, 1000, 1001]);
      expect((await live.xfrm.channel.policies()).map(({ mark }) => mark)).not.toContain(900);
      for (const { xfrm, backend } of [live, next]) {
        await backend.close();
        await xfrm.close();
      }
      expect((await namespace.exec(['ip', 'xfrm', 'state'])).stdout.match(/proto esp/g)).toHaveLength(1);
    }));
});
