import { createHmac } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { CryptoProvider } from '../../src/crypto/provider.ts';
import { KeyExchangeMethod } from '../../src/crypto/transforms.ts';
import type { SelectorPair } from '../../src/ike/child-sa.ts';
import { ExchangeType, NotifyType } from '../../src/ike/constants.ts';
import { ProtocolError } from '../../src/ike/errors.ts';
import { notify, type Payload } from '../../src/ike/payload/index.ts';
import { findNotify, payloadOf } from '../../src/ike/payloads.ts';
import { parsePrefix } from '../../src/wire/address.ts';
import { concat, hex } from '../../src/wire/bytes.ts';
import { prefixSelector } from '../../src/wire/traffic-selector.ts';
import { Duel, type DuelOptions, type InFlight } from '../support/duel.ts';
import { anonymousProfile, initiatorConfig, responderConfig, sharedKey } from '../support/ike-configs.ts';
import { Pair, testCrypto } from '../support/pair.ts';
import { transforms } from '../support/transforms-text.ts';
import { close, expectKept, proposal, rekey, withAdditional } from './steps.ts';

const { CURVE25519, ECP_256, ECP_384 } = KeyExchangeMethod;
const childProposals = [withAdditional(proposal(CURVE25519))];
const MULTI_KE: DuelOptions = { initiator: { childProposals }, responder: { childProposals } };

/** A has asked, and its IKE_FOLLOWUP_KE request is on its way. */
function underWay(options: DuelOptions = MULTI_KE): Duel {
  const duel = new Duel(options);
  rekey(duel, 'a');
  duel.deliver('b');
  duel.deliver('a');
  expect(duel.b.reserved).toEqual([4]);
  return duel;
}

/** The request on its way to B, with other payloads. */
function changed(duel: Duel, change: (payloads: readonly Payload[]) => readonly Payload[]): InFlight {
  const flight = duel.take('b');
  return duel.rewrite(flight, change(duel.read(flight).payloads));
}

it('scenario: child create: multi ke', () => {
  const net = (text: string) => prefixSelector(parsePrefix(text));
  const selectors: SelectorPair = { tsI: [net('10.1.0.0/16')], tsR: [net('10.2.0.0/16')] };
  const duel = new Duel({ ...MULTI_KE, profile: { maxChildren: 2 } });
  duel.call('a', (ike, now) => ike.createChild(selectors, now));
  duel.deliver('b');
  expect(duel.b.installed).toEqual([1, 2]);
  expect(duel.deliver('a').names).toEqual(['SA', 'NONCE', 'KE', 'TSi', 'TSr', 'N(ADDITIONAL_KEY_EXCHANGE)']);
  expect(duel.a.installed).toEqual([1, 2]);
  expect(duel.deliver('b').names).toEqual(['KE', 'N(ADDITIONAL_KEY_EXCHANGE)']);
  expect(duel.b.installed).toEqual([1, 2, 3, 4]);
  expect(duel.deliver('a').names).toEqual(['KE']);
  expect(duel.a.installed).toEqual([1, 2, 3, 4]);
  expect([...duel.pending('a'), ...duel.pending('b')]).toEqual([]);
  for (const host of [duel.a, duel.b]) expect(host.eventTypes.at(-1)).toBe('child-established');
  const [a, b] = [duel.a.store, duel.b.store].map(({ inbound }) => [...inbound.values()].at(-1)!);
  expect(duel.b.store.outbound.get(a.spi)!.keys).toEqual(a.keys);
  expect(duel.a.store.outbound.get(b.spi)!.keys).toEqual(b.keys);
});

// Two ends that make the same mistake agree; so it is computed anew here from the messages and the secrets.
it('derives KEYMAT of SK(0) | Ni | Nr | SK(1) | ... | SK(n) (RFC 9370 2.2.4)', () => {
  const crypto = testCrypto(94);
  const secrets: Uint8Array[] = [];
  const seeds: string[] = [];
  const provider: CryptoProvider = {
    ...crypto.provider,
    answerKeyExchange: (method, value) => {
      const answer = crypto.provider.answerKeyExchange(method, value);
      secrets.push(answer.sharedSecret.slice());
      return answer;
    },
    prf: (id, key, ...parts) => {
      seeds.push(`${hex(key)} ${hex(concat(...parts))}`);
      return crypto.provider.prf(id, key, ...parts);
    },
  };
  const proposals = [
    { transforms: transforms(`ENCR 20/256, KE 31, ADDKE1 ${ECP_256}, 9 ${ECP_384}, ESN 1`) },
  ];
  const relay = sharedKey('relay');
  const pair = new Pair({
    initiator: { ...initiatorConfig(provider, relay), childProposals: proposals },
    responder: { ...responderConfig(provider, anonymousProfile(relay)), childProposals: proposals },
  }).run(1000);
  secrets.length = 0;
  pair.call(pair.initiator, (ike, now) => ike.rekeyChild(pair.initiator.tunnelId, now));
  pair.run(1000);
  const sent = pair.sent.findIndex(({ message }) => message[18] === ExchangeType.CREATE_CHILD_SA);
  expect(secrets).toHaveLength(3);
  const nonce = (index: number) => payloadOf(crypto.read(pair.sent[index].message), 'NONCE').data;
  const seed = concat(secrets[0], nonce(sent), nonce(sent + 1), secrets[1], secrets[2]);
  const first = seeds.find((entry) => entry.endsWith(` ${hex(seed)}01`));
  expect(first).toBeDefined();
  const skD = Buffer.from(first!.split(' ')[0], 'hex');
  const expand = (previous: Uint8Array, counter: number) =>
    new Uint8Array(
      createHmac('sha256', skD).update(previous).update(seed).update(Uint8Array.of(counter)).digest(),
    );
  const t1 = expand(new Uint8Array(0), 1);
  const keymat = hex(concat(t1, expand(t1, 2)).subarray(0, 36));
  const installed = [...pair.initiator.store.outbound.values()].map(({ keys }) => hex(keys.encryption));
  expect(installed).toContain(keymat);
});

describe('IKE_FOLLOWUP_KE', () => {
  it.each([
    ['of another exchange', [notify(NotifyType.ADDITIONAL_KEY_EXCHANGE, new Uint8Array(8))]],
    ['of an empty one', [notify(NotifyType.ADDITIONAL_KEY_EXCHANGE)]],
    ['of none', []],
  ])('is answered with STATE_NOT_FOUND if it is %s, and the rekey is tried again', (_, link) => {
    const duel = underWay();
    duel.deliver(
      'b',
      changed(duel, ([ke]) => [ke, ...link]),
    );
    expect(duel.deliver('a').names).toEqual(['N(STATE_NOT_FOUND)']);
    expect(duel.a.installed).toEqual([1, 2]);
    expect(duel.a.reserved).toEqual([]);
    duel.advance(10_000);
    duel.settle();
    // The peer's new request gives up what B still had of the first.
    expectKept(duel, 5, 6);
  });

  it('is answered with STATE_NOT_FOUND where nothing was begun, and changes nothing', () => {
    const duel = new Duel();
    duel.call('a', (ike, now) => ike.checkLiveness(now));
    const ke: Payload = { kind: 'KE', method: ECP_384, data: new Uint8Array(96) };
    const link = notify(NotifyType.ADDITIONAL_KEY_EXCHANGE, new Uint8Array(8));
    const message = duel.rewrite(duel.take('b'), [ke, link], ExchangeType.IKE_FOLLOWUP_KE);
    duel.deliver('b', message);
    expect(duel.read(duel.pending('a')[0]).names).toEqual(['N(STATE_NOT_FOUND)']);
    expect(duel.b.installed).toEqual([1, 2]);
    expect(duel.b.ike.established).toBe(true);
  });

  it.each<[string, (ke: Payload & { readonly kind: 'KE' }) => readonly Payload[]]>([
    ['another method', (ke) => [{ ...ke, method: ECP_256 }]],
    ['a value that is too short', (ke) => [{ ...ke, data: ke.data.subarray(1) }]],
    ['a value that is not on the curve', (ke) => [{ ...ke, data: new Uint8Array(96) }]],
    ['no KE payload', () => []],
  ])('ends the IKE SA with %s (rule 20) (bad input 2)', (_, change) => {
    const duel = underWay();
    const message = changed(duel, (payloads) => [
      ...change(payloadOf(payloads, 'KE')),
      findNotify(payloads, NotifyType.ADDITIONAL_KEY_EXCHANGE)!,
    ]);
    duel.deliver('b', message);
    expect(duel.read(duel.pending('a')[0]).names).toEqual(['N(INVALID_SYNTAX)']);
    expect(duel.b.ike.closed).toBe(true);
    const last = duel.b.events.at(-1);
    expect(last?.type === 'closed' && last.error).toBeInstanceOf(ProtocolError);
    expect(duel.b.store.isEmpty).toBe(true);
  });

  it('is not waited for for ever: the SPI is given back', () => {
    const duel = underWay();
    const late = duel.take('b');
    duel.advance(179_000);
    expect(duel.b.reserved).toEqual([4]);
    duel.advance(2_000);
    expect(duel.b.reserved).toEqual([]);
    duel.deliver('b', late);
    expect(duel.read(duel.pending('a').at(-1)!).names).toEqual(['N(STATE_NOT_FOUND)']);
    expect(duel.b.installed).toEqual([1, 2]);
  });

  it('may never come: what was begun ends with the IKE SA', () => {
    const duel = underWay();
    duel.call('b', (ike, now) => ike.abort(now));
    expect(duel.b.store.isEmpty).toBe(true);
  });

  it('is given up when the peer closes the Child SA instead', () => {
    const duel = underWay();
    const late = duel.take('b');
    close(duel, 'b');
    expect(duel.deliver('a').spis).toEqual([2]);
    duel.deliver('b');
    duel.deliver('b', late);
    expect(duel.deliver('a').names).toEqual(['N(TEMPORARY_FAILURE)']);
    expect(duel.b.reserved).toEqual([]);
    expect(duel.a.reserved).toEqual([]);
  });

  it('is refused while the IKE SA is being closed', () => {
    const duel = underWay();
    duel.call('b', (ike, now) => ike.close(now));
    duel.deliver('b');
    expect(duel.b.reserved).toEqual([]);
    duel.settle();
    for (const host of [duel.a, duel.b]) expect(host.store.isEmpty).toBe(true);
  });

  it('is refused while the IKE SA is being rekeyed (rule 67)', () => {
    const duel = underWay();
    duel.call('b', (ike, now) => ike.rekey(now));
    duel.deliver('b');
    expect(duel.b.reserved).toEqual([]);
    expect(duel.b.installed).toEqual([1, 2]);
    duel.settle();
    for (let seconds = 0; seconds < 20; seconds++) {
      duel.advance(1000);
      duel.settle();
    }
    expect([duel.a.inbound, duel.b.inbound]).toEqual([[5], [6]]);
  });

  it('is of no use once the IKE SA is replaced: the Child SA may be rekeyed anew', () => {
    const duel = underWay();
    duel.deliver(
      'b',
      changed(duel, ([ke]) => [ke]),
    );
    duel.deliver('a');
    duel.call('b', (ike, now) => ike.rekey(now));
    duel.deliver('a');
    duel.deliver('b');
    const deletion = duel.take('a');
    expect(duel.b.reserved).toEqual([]);
    rekey(duel, 'a');
    duel.deliver('b');
    duel.deliver('a', deletion);
    duel.settle();
    expectKept(duel, 5, 6);
  });

  it('cannot be left out by who answers: a response without what it needs ends the IKE SA', () => {
    const duel = new Duel(MULTI_KE);
    rekey(duel, 'a');
    duel.deliver('b');
    const flight = duel.take('a');
    const { payloads } = duel.read(flight);
    duel.deliver(
      'a',
      duel.rewrite(
        flight,
        payloads.filter(({ kind }) => kind !== 'NOTIFY'),
      ),
    );
    expect(duel.a.ike.closed).toBe(true);
    expect(duel.a.store.isEmpty).toBe(true);
  });
});

it('who has lost a collision rekeys anew if the other rekey is never ended', () => {
  const childLifetime = { soft: 3_600_000, hard: 5_400_000, jitter: 0 };
  const duel = new Duel({ initiator: { childProposals, childLifetime }, responder: { childProposals } });
  duel.nonce = 0x00;
  duel.advance(childLifetime.soft);
  duel.nonce = 0xff;
  rekey(duel, 'b');
  duel.deliver('b');
  duel.deliver('a');
  duel.deliver('a');
  // B gives up, which A cannot know: it waits as long as B may take.
  while (duel.pending('b').length > 0) duel.take('b');
  duel.advance(180_000);
  expect(duel.pending('b')).toEqual([]);
  duel.advance(10_000);
  expect(duel.read(duel.take('b')).names[0]).toBe('N(REKEY_SA)');
  expect(duel.a.installed).toEqual([1, 2]);
});
