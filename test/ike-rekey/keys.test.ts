import { createHmac } from 'node:crypto';
import { expect, it } from 'vitest';
import type { CryptoProvider, ProtectionKeys } from '../../src/crypto/provider.ts';
import {
  EncryptionTransform,
  KeyExchangeMethod,
  PrfTransform,
  TransformType,
} from '../../src/crypto/transforms.ts';
import type { Proposal } from '../../src/ike/config.ts';
import { payloadOf } from '../../src/ike/payloads.ts';
import { concat } from '../../src/wire/bytes.ts';
import { anonymousProfile, initiatorConfig, responderConfig, sharedKey } from '../support/ike-configs.ts';
import { Pair, testCrypto } from '../support/pair.ts';

function withPrf(prf: number): Proposal {
  return {
    transforms: [
      { type: TransformType.ENCR, id: EncryptionTransform.AES_GCM_16, keyLength: 256 },
      { type: TransformType.PRF, id: prf },
      { type: TransformType.KE, id: KeyExchangeMethod.CURVE25519 },
    ],
  };
}

function hmac(hash: string, key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array {
  const mac = createHmac(hash, key);
  for (const part of parts) mac.update(part);
  return new Uint8Array(mac.digest());
}

function expand(hash: string, key: Uint8Array, seed: Uint8Array, length: number): Uint8Array {
  const blocks: Uint8Array[] = [];
  let block: Uint8Array = new Uint8Array(0);
  for (let total = 0; total < length; total += block.length) {
    block = hmac(hash, key, block, seed, Uint8Array.of(blocks.length + 1));
    blocks.push(block);
  }
  return concat(...blocks).subarray(0, length);
}

// Two ends that make the same mistake agree; so everything is computed anew here from the messages and from g^ir.
it('derives the keys of a rekeyed IKE SA from the old SK_d with the old PRF, then with the new one (rule 26)', () => {
  const crypto = testCrypto(71);
  const secrets: Uint8Array[] = [];
  const keys: ProtectionKeys[] = [];
  const provider: CryptoProvider = {
    ...crypto.provider,
    keyExchange: (method) => {
      const inner = crypto.provider.keyExchange(method);
      return {
        ...inner,
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
    protector: (suite, given) => {
      keys.push({ encryption: given.encryption.slice(), integrity: given.integrity.slice() });
      return crypto.provider.protector(suite, given);
    },
  };
  const proposals = [withPrf(PrfTransform.HMAC_SHA2_256)];
  const relay = sharedKey('relay');
  const pair = new Pair({
    initiator: { ...initiatorConfig(provider, relay), ikeProposals: proposals },
    responder: { ...responderConfig(crypto.provider, anonymousProfile(relay)), ikeProposals: proposals },
  }).run(1000);
  proposals.splice(0, 1, withPrf(PrfTransform.HMAC_SHA2_512));
  // The responder rekeys: it is the initiator of the new IKE SA.
  pair.call(pair.responder, (ike, now) => ike.rekey(now));
  pair.run(1000);
  const [init, initAnswer, , , request, response] = pair.sent.map(({ message }) => crypto.read(message));

  const first = [payloadOf(init, 'NONCE').data, payloadOf(initAnswer, 'NONCE').data] as const;
  const oldSpis = pair.sent[1].message.subarray(0, 16);
  const oldSeed = hmac('sha256', concat(...first), secrets[0]);
  const oldSkD = expand('sha256', oldSeed, concat(...first, oldSpis), 32);

  const nonces = concat(payloadOf(request, 'NONCE').data, payloadOf(response, 'NONCE').data);
  const [spiI, spiR] = [request, response].map((payloads) => payloadOf(payloads, 'SA').proposals[0].spi);
  expect([spiI.length, spiR.length]).toEqual([8, 8]);
  const skeyseed = hmac('sha256', oldSkD, secrets[1], nonces);
  // AES-GCM-256 and HMAC-SHA-512: SK_d, no SK_a, 2 x (key and salt).
  const keymat = expand('sha512', skeyseed, concat(nonces, spiI, spiR), 64 + 2 * 36);
  expect(keys.slice(-2).map(({ encryption }) => encryption)).toEqual([
    keymat.subarray(64, 100),
    keymat.subarray(100, 136),
  ]);
  // The first message on the new IKE SA can be opened with them by the peer.
  pair.call(pair.initiator, (ike, now) => ike.checkLiveness(now));
  pair.run(1000);
  const last = pair.sent.at(-1)!.message;
  expect([...last.subarray(0, 16)]).toEqual([...spiI, ...spiR]);
});
