import { describe, expect, it } from 'vitest';
import { ConfigAttributeType } from '../../src/cp/attributes.ts';
import { IdType } from '../../src/ike/constants.ts';
import { findNotify, payloadOf } from '../../src/ike/payloads.ts';
import { fromHex } from '../../src/wire/bytes.ts';
import { anySelector } from '../../src/wire/traffic-selector.ts';
import { anonymousProfile, initiatorConfig, responderConfig, signature } from '../support/ike-configs.ts';
import { names, Pair, testCrypto } from '../support/pair.ts';

const INIT = ['SA', 'KE', 'NONCE', 'N(SIGNATURE_HASH_ALGORITHMS)'];
const NAT = ['N(NAT_DETECTION_SOURCE_IP)', 'N(NAT_DETECTION_DESTINATION_IP)'];

describe('what is sent (T6)', () => {
  it('is one fixed list of payloads at hops after the first', () => {
    const crypto = testCrypto(4);
    const relay = signature(crypto.provider);
    const pair = new Pair({
      initiator: initiatorConfig(crypto.provider, relay),
      responder: responderConfig(crypto.provider, anonymousProfile(relay)),
    }).run(5000);
    const [init, initAnswer, auth, authAnswer] = pair.sent.map(({ message }) => crypto.read(message));
    expect(names(init)).toEqual(INIT);
    expect(names(initAnswer)).toEqual(INIT);
    expect(names(auth)).toEqual(['IDi', 'AUTH', 'CP', 'SA', 'TSi', 'TSr']);
    expect(names(authAnswer)).toEqual(['IDr', 'AUTH', 'CP', 'SA', 'TSi', 'TSr']);
    expect(payloadOf(init, 'NONCE').data).toHaveLength(32);
    expect(findNotify(init, 16431)?.data).toEqual(fromHex('0002 0003 0004 0005'));
    const id = payloadOf(auth, 'IDi');
    expect([id.type, id.data.length]).toEqual([IdType.ID_NULL, 0]);
    expect(payloadOf(auth, 'CP').attributes).toEqual([
      { type: ConfigAttributeType.INTERNAL_IP4_ADDRESS, value: new Uint8Array(0) },
      { type: ConfigAttributeType.INTERNAL_IP4_DNS, value: new Uint8Array(0) },
    ]);
    expect(payloadOf(auth, 'TSi').selectors).toEqual([anySelector(4)]);
    expect(payloadOf(auth, 'TSr').selectors).toEqual([anySelector(4)]);
  });

  it('has NAT detection with one source hash at the first hop, answered in kind', () => {
    const crypto = testCrypto(5);
    const relay = signature(crypto.provider);
    const pair = new Pair({
      initiator: { ...initiatorConfig(crypto.provider, relay), natDetection: true },
      responder: responderConfig(crypto.provider, anonymousProfile(relay)),
    }).run(5000);
    const [init, initAnswer] = pair.sent.map(({ message }) => crypto.read(message));
    expect(names(init)).toEqual([...INIT, ...NAT]);
    expect(names(initAnswer)).toEqual([...INIT, ...NAT]);
  });

  it('has CERT and INITIAL_CONTACT only where they are configured', () => {
    const crypto = testCrypto(6);
    const relay = signature(crypto.provider, 'ed25519', true);
    const pair = new Pair({
      initiator: { ...initiatorConfig(crypto.provider, relay), local: relay.local, initialContact: true },
      responder: responderConfig(crypto.provider, { ...anonymousProfile(relay), remote: relay.remote }),
    }).run(5000);
    const [, , auth, authAnswer] = pair.sent.map(({ message }) => crypto.read(message));
    expect(names(auth)).toEqual(['IDi', 'CERT', 'N(INITIAL_CONTACT)', 'AUTH', 'CP', 'SA', 'TSi', 'TSr']);
    expect(names(authAnswer)).toEqual(['IDr', 'CERT', 'AUTH', 'CP', 'SA', 'TSi', 'TSr']);
    expect(payloadOf(auth, 'CERT').data).toEqual(relay.remote.kind === 'signature' && relay.remote.publicKey);
  });

  it('never repeats a nonce, an SPI, a key exchange value or an IV between IKE SAs and directions', () => {
    const seen = new Set<string>();
    for (let seed = 1; seed <= 10; seed++) {
      const { provider } = testCrypto(100 + seed);
      const relay = signature(provider);
      const pair = new Pair({
        initiator: initiatorConfig(provider, relay),
        responder: responderConfig(provider, anonymousProfile(relay)),
      }).run(5000);
      const ivs = pair.sent.slice(2).map(({ message }) => message.subarray(32, 40));
      for (const value of [
        pair.sent[0].message.subarray(0, 8),
        pair.sent[1].message.subarray(8, 16),
        ...ivs,
      ]) {
        const text = value.join();
        expect(seen.has(text)).toBe(false);
        seen.add(text);
      }
    }
  });
});
