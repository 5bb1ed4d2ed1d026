import { describe, expect, it } from 'vitest';
import { type XfrmBackendOptions, xfrmBackend } from '../../../src/backend/xfrm/backend.ts';
import { openXfrm } from '../../../src/backend/xfrm/xfrm.ts';
import {
  EncryptionTransform,
  encryptionOf,
  IntegrityTransform,
  protectionKeyLengths,
} from '../../../src/crypto/transforms.ts';
import type { NetworkNamespace } from '../../../src/host/namespace.ts';
import type { Backend, EspSuite, SaEvent } from '../../../src/link/sa-store.ts';
import { native, withNamespaces } from '../../support/namespaces.ts';
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
});
