import { describe, expect, it } from 'vitest';
import type { CryptoProvider } from '../../src/crypto/provider.ts';
import { carryOut } from './attack.ts';
import { Fuzzer, type FuzzReport } from './fuzzer.ts';
import { REGRESSIONS, readRegressions } from './regression.ts';
import { attackRelay } from './relay-attack.ts';

const MUTATIONS = 20_000;
const SETTLED = ['established', 'closed'];
const UNDER_WAY = [
  'creating a child',
  'rekeying a child',
  'rekeying',
  'deleting a child',
  'deleting',
  'INFORMATIONAL',
];

function fuzz(seed: number, count: number, spoil?: (crypto: CryptoProvider) => CryptoProvider): FuzzReport {
  const fuzzer = new Fuzzer(seed, spoil);
  while (fuzzer.executions < count && !fuzzer.isEnough) fuzzer.attackOnce(count - fuzzer.executions);
  return fuzzer.report();
}

describe('mutated messages', () => {
  it(`do nothing that none may: ${MUTATIONS} of every exchange, to both roles, in every state`, {
    timeout: 240_000,
  }, () => {
    const report = fuzz(1, MUTATIONS);
    expect(report.failures).toEqual([]);
    expect(report.executions).toBeGreaterThanOrEqual(MUTATIONS);
    expect(Object.keys(report.states)).toEqual(
      expect.arrayContaining([
        'gate',
        'initiator: initiating',
        'initiator: authenticating',
        'responder: half-open',
        ...[...SETTLED, ...UNDER_WAY].flatMap((state) => [`initiator: ${state}`, `responder: ${state}`]),
      ]),
    );
    expect(Object.keys(report.decoded).sort()).toEqual([
      'discard',
      'incomplete',
      'ok',
      'protected-error',
      'unprotected-error',
    ]);
    expect(Math.min(...Object.values(report.mutations))).toBeGreaterThan(100);
    expect(report.twins).toBeGreaterThan(10);
  });

  it('are the same for the same seed, and others for another', () => {
    const [once, again, other] = [fuzz(3, 400), fuzz(3, 400), fuzz(4, 400)];
    expect(again).toEqual(once);
    expect(other.mutations).not.toEqual(once.mutations);
  });

  it('find a core that takes what is not the peer’s', () => {
    const { failures } = fuzz(5, 1_000, (crypto) => ({
      ...crypto,
      protector: (suite, keys) => {
        const protector = crypto.protector(suite, keys);
        return {
          ...protector,
          seal: (...parts) => protector.seal(...parts),
          destroy: () => protector.destroy(),
          open: (...parts) => {
            protector.open(...parts);
            return true;
          },
        };
      },
    }));
    expect(failures.map(({ message }) => message)).toContainEqual(
      expect.stringMatching(/a datagram of a stranger (changed|closed) an IKE SA/),
    );
    for (const { attack } of failures) expect(attack.inputs.length).toBeLessThan(5);
  });

  it('find a defect that only some values bring out', () => {
    const { failures } = fuzz(6, 1_000, (crypto) => ({
      ...crypto,
      answerKeyExchange: (method, value) => {
        if (value[0] < 8) throw new TypeError('planted');
        return crypto.answerKeyExchange(method, value);
      },
    }));
    expect(failures.map(({ message }) => message)).toContain('a defect: planted');
  });
});

describe('mutated packets at the sockets of a relay and of its client', () => {
  it('change nothing about the telescope between them, and are answered with less than they are', async () => {
    const { packets, octets } = await attackRelay(2_000, 1);
    expect(packets).toBe(2_000);
    expect(octets.answered).toBeGreaterThan(0);
    expect(octets.answered).toBeLessThan(octets.sent);
  });
});

describe('attacks that once succeeded', () => {
  it.each(readRegressions(REGRESSIONS))('do not any more: %s', (_, attack) => {
    expect(carryOut(attack)).toBeUndefined();
  });
});
