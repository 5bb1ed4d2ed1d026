import { createHmac } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { nodeProvider } from '../../src/crypto/node.ts';
import type { CryptoProvider, ProtectionKeys } from '../../src/crypto/provider.ts';
import type { InitiatorConfig, Proposal, ResponderConfig } from '../../src/ike/config.ts';
import { ExchangeType, NotifyType } from '../../src/ike/constants.ts';
import { AuthenticationError, ProtocolError, type RefusedError } from '../../src/ike/errors.ts';
import { encodeProtected, peekHeader } from '../../src/ike/message.ts';
import { notify, type Payload } from '../../src/ike/payload/index.ts';
import { findNotify, payloadOf } from '../../src/ike/payloads.ts';
import { defaultIkeProposals, postQuantumIkeProposals, relayIkeProposals } from '../../src/ike/proposal.ts';
import { concat, fromHex, hex, utf8 } from '../../src/wire/bytes.ts';
import { accomplice } from '../support/accomplice.ts';
import { anonymousProfile, initiatorConfig, responderConfig, sharedKey } from '../support/ike-configs.ts';
import { names, Pair, testCrypto } from '../support/pair.ts';
import { expectEqualSas, expectNothingLeft } from '../support/pair-assertions.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { transforms } from '../support/transforms-text.ts';

const { IKE_AUTH, IKE_INTERMEDIATE, INFORMATIONAL } = ExchangeType;
const relay = sharedKey('secret of the relay');
const only = (text: string): readonly Proposal[] => [{ transforms: transforms(text) }];
const THREE = only('ENCR 20/256, PRF 5, KE 31, ADDKE1 35, ADDKE2 0, 8 19, 12 37');
const POST_QUANTUM = { ikeProposals: postQuantumIkeProposals };
const RELAY = { ikeProposals: relayIkeProposals };

function pairOf(
  provider: CryptoProvider,
  initiator: Partial<InitiatorConfig>,
  responder: Partial<ResponderConfig> = RELAY,
): Pair {
  return new Pair({
    initiator: { ...initiatorConfig(provider, relay), ...initiator },
    responder: { ...responderConfig(provider, anonymousProfile(relay)), ...responder },
  });
}

/** Exchange type and message ID of what an end sent, in order. */
function exchanges(pair: Pair, side: 'initiator' | 'responder'): string[] {
  return pair.sent
    .filter(({ from }) => from === side)
    .map(({ message }) => `${message[18]}/${peekHeader(message)!.messageId}`);
}

describe('IKE_INTERMEDIATE', () => {
  it('is not asked for by default, and not missed at a relay that would do it', () => {
    const crypto = testCrypto(70);
    const pair = pairOf(crypto.provider, {}).run(5000);
    expectEqualSas(pair);
    expect(exchanges(pair, 'initiator')).toEqual(['34/0', '35/1']);
    for (const { message } of pair.sent) {
      expect(names(crypto.read(message))).not.toContain('N(INTERMEDIATE_EXCHANGE_SUPPORTED)');
    }
  });

  it('takes one additional key exchange between IKE_SA_INIT and IKE_AUTH, whose message ID follows', () => {
    const crypto = testCrypto(71);
    const pair = pairOf(crypto.provider, POST_QUANTUM).run(5000);
    expectEqualSas(pair);
    for (const side of ['initiator', 'responder'] as const)
      expect(exchanges(pair, side)).toEqual(['34/0', '43/1', '35/2']);
    expect(pair.initiator.ike.exchanges).toBe(3);
    const read = pair.sent.map(({ message }) => crypto.read(message));
    for (const init of read.slice(0, 2)) expect(names(init)).toContain('N(INTERMEDIATE_EXCHANGE_SUPPORTED)');
    expect(read.slice(2, 4).map(names)).toEqual([['KE'], ['KE']]);
    expect(read.slice(2, 4).map((payloads) => payloadOf(payloads, 'KE').data.length)).toEqual([1184, 1088]);
  });

  it('takes several, in the order of their transform types, and none for NONE', () => {
    const crypto = testCrypto(72);
    const config = { ikeProposals: THREE };
    const pair = pairOf(crypto.provider, config, config).run(5000);
    expectEqualSas(pair);
    expect(exchanges(pair, 'responder')).toEqual(['34/0', '43/1', '43/2', '43/3', '35/4']);
    const methods = pair.sent
      .filter(({ message }) => message[18] === IKE_INTERMEDIATE)
      .map(({ message }) => payloadOf(crypto.read(message), 'KE').method);
    expect(methods).toEqual([35, 35, 19, 19, 37, 37]);
  });

  it('works in fragments, lost and repeated, whatever their size', () => {
    for (const pathMtu of [576, 1280, 1400]) {
      const config = { ikeProposals: THREE, pathMtu };
      const pair = pairOf(nodeProvider(seededRandom(73)), { ...config, fragmentation: true }, config);
      pair.network = (_, index) =>
        index % 5 === 3 ? [] : index % 4 === 1 ? [20, 25] : [20 + (index % 3) * 7];
      pair.run(60_000);
      expectEqualSas(pair);
      expect(pair.initiator.eventTypes).toEqual(['established', 'child-established']);
    }
  });

  it('is what a relay does for whoever asks, by any of its methods', () => {
    for (const method of [35, 36, 37]) {
      const proposals = only(`ENCR 20/256, PRF 5, KE 31, ADDKE1 ${method}`);
      expectEqualSas(pairOf(nodeProvider(seededRandom(74)), { ikeProposals: proposals }).run(5000));
    }
  });

  it('is not done without: who demands it refuses peers that cannot', () => {
    const { provider } = testCrypto(75);
    const refused = pairOf(provider, POST_QUANTUM, { ikeProposals: defaultIkeProposals }).run(60_000);
    expect((refused.initiator.ending as RefusedError).notify).toBe(NotifyType.NO_PROPOSAL_CHOSEN);
    const demanding = pairOf(provider, {}, POST_QUANTUM).run(60_000);
    expect((demanding.initiator.ending as RefusedError).notify).toBe(NotifyType.NO_PROPOSAL_CHOSEN);
  });
});

function hmac(key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(
    createHmac('sha256', key)
      .update(concat(...parts))
      .digest(),
  );
}

function expand(key: Uint8Array, seed: Uint8Array, length: number): Uint8Array {
  let [out, block] = [new Uint8Array(0), new Uint8Array(0)];
  for (let i = 1; out.length < length; i++) {
    block = hmac(key, block, seed, Uint8Array.of(i)) as Uint8Array<ArrayBuffer>;
    out = concat(out, block) as Uint8Array<ArrayBuffer>;
  }
  return out.subarray(0, length);
}

// Two ends that make the same mistake agree; so everything is computed anew here from the messages and the secrets.
describe('the keys and AUTH payloads after IKE_INTERMEDIATE', () => {
  it('are those of RFC 9370 2.2.2 and RFC 9242 3.3.2 (rule 34)', () => {
    const crypto = testCrypto(76);
    const secrets: Uint8Array[] = [];
    const made: ProtectionKeys[] = [];
    const provider: CryptoProvider = {
      ...crypto.provider,
      answerKeyExchange: (method, value) => {
        const answer = crypto.provider.answerKeyExchange(method, value);
        secrets.push(answer.sharedSecret.slice());
        return answer;
      },
      protector: (suite, keys) => {
        made.push({ encryption: keys.encryption.slice(), integrity: keys.integrity.slice() });
        return crypto.provider.protector(suite, keys);
      },
    };
    const config = { ikeProposals: THREE };
    const pair = pairOf(provider, config, config).run(5000);
    expectEqualSas(pair);
    expect(secrets).toHaveLength(4);

    const messages = pair.sent.map(({ message }) => message);
    const read = messages.map((message) => crypto.read(message));
    const nonces = concat(payloadOf(read[0], 'NONCE').data, payloadOf(read[1], 'NONCE').data);
    const spis = messages[1].subarray(0, 16);
    // AES-GCM-256 and HMAC-SHA-256: SK_d, no SK_a, 2 x (key and salt), SK_pi, SK_pr.
    const keysOf = (skeyseed: Uint8Array) => {
      const keymat = expand(skeyseed, concat(nonces, spis), 32 + 2 * 36 + 2 * 32);
      return {
        skD: keymat.subarray(0, 32),
        skE: [keymat.subarray(32, 68), keymat.subarray(68, 104)],
        skPi: keymat.subarray(104, 136),
        skPr: keymat.subarray(136),
      };
    };
    // A message as it was before it was encrypted: the lengths count neither IV nor padding nor ICV. KE is type 34.
    const clear = (index: number) => {
      const { method, data } = payloadOf(read[index], 'KE');
      const length = 8 + data.length;
      const u16 = (value: number) => Uint8Array.of(value >> 8, value & 255);
      const inner = concat(fromHex('0000'), u16(length), u16(method), fromHex('0000'), data);
      const header = concat(messages[index].subarray(0, 24), fromHex('0000'), u16(32 + length));
      return concat(header, fromHex('2200'), u16(4 + length), inner);
    };

    let keys = keysOf(hmac(nonces, secrets[0]));
    let [intAuthI, intAuthR] = [new Uint8Array(0), new Uint8Array(0)] as Uint8Array[];
    for (let n = 1; n <= 3; n++) {
      intAuthI = hmac(keys.skPi, intAuthI, clear(2 * n));
      intAuthR = hmac(keys.skPr, intAuthR, clear(2 * n + 1));
      keys = keysOf(hmac(keys.skD, secrets[n], nonces));
      // Each end derives both directions anew.
      const generation = made.slice(4 * n, 4 * n + 4).map(({ encryption }) => hex(encryption));
      expect(generation).toEqual([...keys.skE, ...keys.skE].map(hex));
    }
    const intAuth = concat(intAuthI, intAuthR, fromHex('00000004'));
    const pad = utf8('Key Pad for IKEv2');
    const [auth, authAnswer] = read.slice(8);
    const macedI = hmac(keys.skPi, payloadOf(auth, 'IDi').body);
    const macedR = hmac(keys.skPr, payloadOf(authAnswer, 'IDr').body);
    const [nonceI, nonceR] = [nonces.subarray(0, 32), nonces.subarray(32)];
    expect(hex(payloadOf(auth, 'AUTH').data)).toBe(
      hex(hmac(hmac(keys.skPi, pad), messages[0], nonceR, macedI, intAuth)),
    );
    expect(hex(payloadOf(authAnswer, 'AUTH').data)).toBe(
      hex(hmac(hmac(utf8('secret of the relay'), pad), messages[1], nonceI, macedR, intAuth)),
    );
    const [outbound] = pair.initiator.store.outbound.values();
    expect(hex(outbound.keys.encryption)).toBe(hex(expand(keys.skD, nonces, 72).subarray(0, 36)));
  });

  it.each([
    ['request', 'initiator'],
    ['response', 'responder'],
  ] as const)(
    'fail if a %s of it was changed by somebody who has the keys of IKE_SA_INIT (rule 34)',
    (_, from) => {
      const { pair, protectors, crypto } = accomplice(77, { initiator: POST_QUANTUM, responder: RELAY });
      pair.network = (sent) => {
        if (sent.from !== from || sent.message[18] !== IKE_INTERMEDIATE) return [20];
        const fields = peekHeader(sent.message)!;
        const payloads = [...crypto.read(sent.message), notify(60_000)];
        const changed = encodeProtected(
          fields,
          payloads,
          protectors[from === 'initiator' ? 0 : 1],
          new Uint8Array(8),
        );
        if (from === 'initiator') pair.deliverToResponder(changed);
        else
          pair.call(pair.initiator, (ike, now) =>
            ike.handleDatagram(changed, pair.initiator.ike.origin, now),
          );
        return [];
      };
      pair.run(60_000);
      expect(pair.initiator.eventTypes).not.toContain('established');
      expect(pair.responder.ending).toBeInstanceOf(AuthenticationError);
      expect((pair.initiator.ending as RefusedError).notify).toBe(NotifyType.AUTHENTICATION_FAILED);
      expectNothingLeft(pair);
    },
  );
});

describe('bad input in IKE_INTERMEDIATE', () => {
  /** Lets IKE_SA_INIT happen, and no more. */
  function afterInit(initiator: Partial<InitiatorConfig>, responder: Partial<ResponderConfig> = RELAY) {
    const scene = accomplice(78, { initiator, responder });
    scene.pair.network = ({ message }) => (message[18] === 34 ? [20] : []);
    scene.pair.run(100);
    const sent = scene.pair.sent.length;
    const answers = () => scene.pair.sent.slice(sent).filter(({ from }) => from === 'responder');
    return { ...scene, answers };
  }
  const ke = (method: number, data: Uint8Array): Payload => ({ kind: 'KE', method, data });

  it('drops one that was not negotiated (bad input 3)', () => {
    const { pair, send, answers } = afterInit({});
    send(IKE_INTERMEDIATE, 1, [ke(36, new Uint8Array(1184))]);
    send(IKE_INTERMEDIATE, 1, []);
    expect(answers()).toEqual([]);
    expect(pair.responder.ike.closed).toBe(false);
    pair.network = () => [20];
    pair.run(5000);
    expectEqualSas(pair);
  });

  it('drops one after the last, and one of an established IKE SA (bad input 3)', () => {
    const { pair, protectors } = accomplice(79, { initiator: POST_QUANTUM, responder: RELAY });
    pair.network = ({ message }) => (message[18] === IKE_AUTH ? [] : [20]);
    pair.run(200);
    const ask = (messageId: number) => {
      const { spiI, spiR } = peekHeader(pair.sent[1].message)!;
      const flags = { initiator: true, response: false };
      const fields = { spiI, spiR, exchangeType: IKE_INTERMEDIATE, messageId, flags };
      const before = pair.sent.length;
      const request = encodeProtected(
        fields,
        [ke(36, new Uint8Array(1184))],
        protectors[2],
        seededRandom(messageId)(8),
      );
      pair.deliverToResponder(request);
      return pair.sent.length - before;
    };
    expect(ask(2)).toBe(0);
    expect(ask(1)).toBe(0);
    pair.network = () => [20];
    pair.run(5000);
    expectEqualSas(pair);
    expect(ask(3)).toBe(0);
    expect(pair.responder.ike.established).toBe(true);
  });

  it('drops IKE_AUTH and INFORMATIONAL while key exchanges are still to come (bad input 3)', () => {
    const { pair, send, answers } = afterInit(POST_QUANTUM);
    send(IKE_AUTH, 1, []);
    send(INFORMATIONAL, 1, []);
    send(ExchangeType.CREATE_CHILD_SA, 1, []);
    expect(answers()).toEqual([]);
    pair.network = () => [20];
    pair.run(5000);
    expectEqualSas(pair);
  });

  it.each([
    ['another method', [ke(35, new Uint8Array(800))]],
    ['no method', [ke(0, new Uint8Array(1184))]],
    ['a value that is too short', [ke(36, new Uint8Array(1183))]],
    ['a value that is too long', [ke(36, new Uint8Array(1185))]],
    ['an empty value', [ke(36, new Uint8Array(0))]],
    ['coefficients that are out of range', [ke(36, new Uint8Array(1184).fill(0xff))]],
    ['no KE payload', []],
    ['two KE payloads', [ke(36, new Uint8Array(1184)), ke(36, new Uint8Array(1184))]],
  ])('answers %s with INVALID_SYNTAX, and ends the IKE SA (bad input 2)', (_, payloads) => {
    const { pair, crypto, send, answers } = afterInit(POST_QUANTUM);
    send(IKE_INTERMEDIATE, 1, payloads);
    expect(answers().map(({ message }) => names(crypto.read(message)))).toEqual([['N(INVALID_SYNTAX)']]);
    expect(pair.responder.ending).toBeInstanceOf(ProtocolError);
    pair.run(60_000);
    expectNothingLeft(pair);
  });

  it.each([
    ['another method', [ke(35, new Uint8Array(768))]],
    ['a value of the wrong length', [ke(36, new Uint8Array(1087))]],
    ['no KE payload', []],
    ['an error', [notify(NotifyType.INVALID_SYNTAX)]],
  ])('ends an IKE SA whose responder answers with %s (bad input 2)', (_, payloads) => {
    const { pair, answer } = afterInit(POST_QUANTUM);
    answer(IKE_INTERMEDIATE, 1, payloads);
    expect(pair.initiator.ending).toBeDefined();
    pair.run(60_000);
    expectNothingLeft(pair);
  });

  it('refuses additional key exchanges from who does not say that it has the exchange for them', () => {
    const crypto = testCrypto(80);
    const plain = { ...crypto.provider };
    const pair = pairOf(plain, POST_QUANTUM);
    pair.network = (sent) => {
      if (sent.from === 'initiator' && sent.message[18] === 34) {
        expect(
          findNotify(crypto.read(sent.message), NotifyType.INTERMEDIATE_EXCHANGE_SUPPORTED),
        ).toBeDefined();
        // Its type becomes that of another status notify.
        const changed = sent.message.slice();
        changed.set([0x40, 0x3f], changed.length - 2);
        pair.deliverToResponder(changed);
        return [];
      }
      return [20];
    };
    pair.run(100);
    expect((pair.responder.ending as ProtocolError).notify).toBe(NotifyType.NO_PROPOSAL_CHOSEN);
  });
});
