import { createHmac } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { CryptoProvider } from '../../src/crypto/provider.ts';
import { NotifyType } from '../../src/ike/constants.ts';
import { findNotify, payloadOf } from '../../src/ike/payloads.ts';
import { concat, utf8 } from '../../src/wire/bytes.ts';
import {
  anonymousProfile,
  initiatorConfig,
  NULL_AUTH,
  responderConfig,
  sharedKey,
} from '../support/ike-configs.ts';
import { Pair, testCrypto } from '../support/pair.ts';

function hmac(key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array {
  const mac = createHmac('sha256', key);
  for (const part of parts) mac.update(part);
  return new Uint8Array(mac.digest());
}

function expand(key: Uint8Array, seed: Uint8Array, length: number): Uint8Array {
  const blocks: Uint8Array[] = [];
  let block: Uint8Array = new Uint8Array(0);
  for (let i = 1; i <= Math.ceil(length / 32); i++) {
    block = hmac(key, block, seed, Uint8Array.of(i));
    blocks.push(block);
  }
  return concat(...blocks).subarray(0, length);
}

// Two ends that make the same mistake agree; so everything is computed anew here from the messages and from g^ir.
describe('the keys and AUTH payloads of a pair', () => {
  it.each([
    ['at once', 100, sharedKey('secret of the relay')],
    ['after a cookie', 0, sharedKey('secret of the relay')],
    ['with NULL both ways', 100, { local: NULL_AUTH, remote: NULL_AUTH }],
  ])('are those of RFC 7296 2.14, 2.15 and 2.17, %s (rules 27, 29, 30)', (_, cookieThreshold, relay) => {
    const crypto = testCrypto(51);
    const secrets: Uint8Array[] = [];
    const provider: CryptoProvider = {
      ...crypto.provider,
      keyExchange: (method) => {
        const inner = crypto.provider.keyExchange(method);
        return {
          method,
          publicValue: inner.publicValue,
          destroy: () => inner.destroy(),
          agree: (value) => {
            const secret = inner.agree(value);
            secrets.push(secret.slice());
            return secret;
          },
        };
      },
      answerKeyExchange: (method, value) => {
        const answer = crypto.provider.answerKeyExchange(method, value);
        secrets.push(answer.sharedSecret.slice());
        return answer;
      },
    };
    const pair = new Pair({
      initiator: { ...initiatorConfig(provider, relay), local: NULL_AUTH },
      responder: responderConfig(provider, anonymousProfile(relay)),
      cookieThreshold,
    }).run(5000);
    expect(secrets).toHaveLength(2);
    expect(secrets[0]).toEqual(secrets[1]);

    // What was said before, about the cookie, does not count.
    const last = pair.sent.slice(-4).map(({ message }) => message);
    const [request, response] = last;
    const [init, initAnswer, auth, authAnswer] = last.map((message) => crypto.read(message));
    expect(findNotify(init, NotifyType.COOKIE) !== undefined).toBe(cookieThreshold === 0);
    const nonceI = payloadOf(init, 'NONCE').data;
    const nonceR = payloadOf(initAnswer, 'NONCE').data;
    const spis = response.subarray(0, 16);
    const skeyseed = hmac(concat(nonceI, nonceR), secrets[0]);
    // AES-GCM-256 and HMAC-SHA-256: SK_d, no SK_a, 2 x (key and salt), SK_pi, SK_pr.
    const keymat = expand(skeyseed, concat(nonceI, nonceR, spis), 32 + 2 * 36 + 2 * 32);
    const skD = keymat.subarray(0, 32);
    const skPi = keymat.subarray(104, 136);
    const skPr = keymat.subarray(136, 168);

    const pad = utf8('Key Pad for IKEv2');
    const idI = payloadOf(auth, 'IDi').body;
    const idR = payloadOf(authAnswer, 'IDr').body;
    expect(payloadOf(auth, 'AUTH').data).toEqual(hmac(hmac(skPi, pad), request, nonceR, hmac(skPi, idI)));
    const secret = relay.local.kind === 'null' ? skPr : utf8('secret of the relay');
    expect(payloadOf(authAnswer, 'AUTH').data).toEqual(
      hmac(hmac(secret, pad), response, nonceI, hmac(skPr, idR)),
    );
    // NULL is method 13, ID_NULL type 13 with no data (RFC 7619 2).
    expect([payloadOf(auth, 'AUTH').method, ...idI]).toEqual([13, 13, 0, 0, 0]);
    if (relay.local.kind === 'null') {
      expect([payloadOf(authAnswer, 'AUTH').method, ...idR]).toEqual([13, 13, 0, 0, 0]);
    }

    const childKeymat = expand(skD, concat(nonceI, nonceR), 72);
    const [outbound] = pair.initiator.store.outbound.values();
    const [inbound] = pair.initiator.store.inbound.values();
    expect(outbound.keys.encryption).toEqual(childKeymat.subarray(0, 36));
    expect(inbound.keys.encryption).toEqual(childKeymat.subarray(36));
  });
});
