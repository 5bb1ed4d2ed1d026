import { describe, expect, it } from 'vitest';
import {
  EncryptionTransform,
  KeyExchangeMethod,
  PrfTransform,
  TransformType,
} from '../../src/crypto/transforms.ts';
import { ExchangeType, NotifyType } from '../../src/ike/constants.ts';
import { notify, type Payload, ProtocolId } from '../../src/ike/payload/index.ts';
import { payloadOf } from '../../src/ike/payloads.ts';
import { accomplice } from '../support/accomplice.ts';
import { names } from '../support/pair.ts';

const { CREATE_CHILD_SA, INFORMATIONAL } = ExchangeType;
const SPI = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
const NONCE: Payload = { kind: 'NONCE', data: new Uint8Array(32).fill(7) };

function proposal(spi: Uint8Array, method: number = KeyExchangeMethod.CURVE25519): Payload {
  const transforms = [
    { type: TransformType.ENCR, id: EncryptionTransform.AES_GCM_16, keyLength: 256 },
    { type: TransformType.PRF, id: PrfTransform.HMAC_SHA2_256 },
    { type: TransformType.KE, id: method },
  ];
  return { kind: 'SA', proposals: [{ number: 1, protocol: ProtocolId.IKE, spi, transforms }] };
}

function ke(data: Uint8Array, method: number = KeyExchangeMethod.CURVE25519): Payload {
  return { kind: 'KE', method, data };
}

const GOOD_KE = ke(new Uint8Array(32).fill(9));

describe('a request to rekey the IKE SA', () => {
  it.each<[string, readonly Payload[], string]>([
    ['without KE', [proposal(SPI), NONCE], 'N(INVALID_KE_PAYLOAD)'],
    ['without a new SPI', [proposal(new Uint8Array(0)), NONCE, GOOD_KE], 'N(NO_PROPOSAL_CHOSEN)'],
    ['with an SPI of zero', [proposal(new Uint8Array(8)), NONCE, GOOD_KE], 'N(NO_PROPOSAL_CHOSEN)'],
    ['without a key exchange (NONE)', [proposal(SPI, 0), NONCE, GOOD_KE], 'N(NO_PROPOSAL_CHOSEN)'],
    [
      'with KE of a method that is not chosen',
      [proposal(SPI), NONCE, ke(new Uint8Array(256), 14)],
      'N(INVALID_KE_PAYLOAD)',
    ],
  ])('%s is refused, and the IKE SA stays', (_, payloads, answer) => {
    const { pair, send, lastAnswer } = accomplice(91);
    pair.run(1_000);
    send(CREATE_CHILD_SA, 2, payloads);
    expect(lastAnswer()).toEqual([answer]);
    expect(pair.responder.ike.established).toBe(true);
    expect(pair.responder.ike.localSpis).toHaveLength(1);
    send(INFORMATIONAL, 3, []);
    expect(lastAnswer()).toEqual([]);
  });

  it.each<[string, readonly Payload[]]>([
    ['a KE value that fails its test (rule 20)', [proposal(SPI), NONCE, ke(new Uint8Array(32))]],
    ['a KE value that is too short (rule 20)', [proposal(SPI), NONCE, ke(new Uint8Array(31))]],
    ['a nonce that is too short', [proposal(SPI), { kind: 'NONCE', data: new Uint8Array(15) }, GOOD_KE]],
    ['no nonce', [proposal(SPI), GOOD_KE]],
  ])('with %s is answered with INVALID_SYNTAX, and ends the IKE SA', (_, payloads) => {
    const { pair, send, lastAnswer } = accomplice(92);
    pair.run(1_000);
    send(CREATE_CHILD_SA, 2, payloads);
    expect(lastAnswer()).toEqual(['N(INVALID_SYNTAX)']);
    expect(pair.responder.ike.closed).toBe(true);
    pair.run(100);
    expect(pair.responder.store.isEmpty).toBe(true);
  });

  it('is refused while another one of the same peer waits for its outcome', () => {
    const { pair, send, lastAnswer } = accomplice(93);
    pair.run(1_000);
    pair.network = () => [];
    pair.call(pair.responder, (ike, now) => ike.rekey(now));
    send(CREATE_CHILD_SA, 2, [proposal(SPI), NONCE, GOOD_KE]);
    expect(lastAnswer()).toEqual(['SA', 'NONCE', 'KE']);
    send(CREATE_CHILD_SA, 3, [proposal(SPI), NONCE, GOOD_KE]);
    expect(lastAnswer()).toEqual(['N(TEMPORARY_FAILURE)']);
    expect(pair.responder.ike.localSpis).toHaveLength(2);
  });

  it('is refused on an IKE SA that was rekeyed, where Deletes and liveness checks are answered (rules 10, 67)', () => {
    const { pair, send, lastAnswer } = accomplice(94);
    pair.run(1_000);
    pair.network = () => [];
    send(CREATE_CHILD_SA, 2, [proposal(SPI), NONCE, GOOD_KE]);
    expect(lastAnswer()).toEqual(['SA', 'NONCE', 'KE']);
    send(CREATE_CHILD_SA, 3, [proposal(SPI), NONCE, GOOD_KE]);
    expect(lastAnswer()).toEqual(['N(TEMPORARY_FAILURE)']);
    send(INFORMATIONAL, 4, []);
    expect(lastAnswer()).toEqual([]);
    send(INFORMATIONAL, 5, [{ kind: 'DELETE', protocol: ProtocolId.IKE, spis: [] }]);
    expect(lastAnswer()).toEqual([]);
    expect(pair.responder.ike.established).toBe(true);
    expect(pair.responder.ike.localSpis).toHaveLength(1);
    expect(pair.responder.store.inbound.size).toBe(1);
  });
});

describe('an answer to a request to rekey the IKE SA', () => {
  /** The initiator has asked for it; `answer` is the responder's in name only. */
  function asked(seed: number) {
    const { pair, crypto, answer } = accomplice(seed);
    pair.run(1_000);
    pair.network = () => [];
    pair.call(pair.initiator, (ike, now) => ike.rekey(now));
    const request = crypto.read(pair.sent.at(-1)!.message);
    const [offered] = payloadOf(request, 'SA').proposals;
    const said = () => names(crypto.read(pair.sent.at(-1)!.message));
    return {
      pair,
      offered,
      said,
      answer: (payloads: readonly Payload[], messageId = 2) => answer(CREATE_CHILD_SA, messageId, payloads),
    };
  }

  it.each<[string, readonly Payload[]]>([
    ['without an SPI', [proposal(new Uint8Array(0)), NONCE, GOOD_KE]],
    ['with another method', [proposal(SPI, KeyExchangeMethod.ECP_256), NONCE, GOOD_KE]],
    ['with another KE', [proposal(SPI), NONCE, ke(new Uint8Array(256), 14)]],
    ['without KE', [proposal(SPI), NONCE]],
    ['without a nonce', [proposal(SPI), GOOD_KE]],
    ['with a KE value that fails its test (rule 20)', [proposal(SPI), NONCE, ke(new Uint8Array(32))]],
  ])('%s has the IKE SA deleted', (_, payloads) => {
    const { pair, answer, said } = asked(95);
    answer(payloads);
    expect(said()).toEqual(['DELETE']);
    pair.run();
    expect(pair.initiator.ending?.message).toBeDefined();
    expect(pair.initiator.store.isEmpty).toBe(true);
  });

  it.each([NotifyType.NO_ADDITIONAL_SAS, NotifyType.NO_PROPOSAL_CHOSEN, 8_000])(
    'that refuses it (%i) leaves the IKE SA as it was, and is the last word',
    (type) => {
      const { pair, answer } = asked(96);
      const before = pair.sent.length;
      answer([notify(type)]);
      pair.run(600_000);
      expect(pair.sent.length).toBe(before);
      expect(pair.initiator.ike.established).toBe(true);
      expect(pair.initiator.ike.localSpis).toHaveLength(1);
    },
  );

  it('that calls it malformed ends the IKE SA', () => {
    const { pair, answer } = asked(97);
    answer([notify(NotifyType.INVALID_SYNTAX)]);
    expect(pair.initiator.ike.closed).toBe(true);
  });

  it('that puts it off has it sent again 5 to 10 s later, and again (rule 67)', () => {
    const { pair, answer, said } = asked(98);
    const at = pair.now;
    answer([notify(NotifyType.TEMPORARY_FAILURE)]);
    const before = pair.sent.length;
    pair.run(4_999);
    expect(pair.sent.length).toBe(before);
    pair.run(5_001);
    expect(pair.sent[before].at - at).toBeGreaterThanOrEqual(5_000);
    expect(said()).toEqual(['SA', 'NONCE', 'KE']);
  });

  it('that puts it off for minutes ends the IKE SA: the peers do not agree on its state (rule 67)', () => {
    const { pair, answer, said } = asked(99);
    const end = pair.now + 300_000;
    answer([notify(NotifyType.TEMPORARY_FAILURE)]);
    for (let messageId = 3; pair.now < end - 1_000; messageId++) {
      pair.run(10_000);
      if (said()[0] === 'SA') answer([notify(NotifyType.TEMPORARY_FAILURE)], messageId);
    }
    pair.run();
    expect(said()).toEqual(['DELETE']);
    expect(pair.initiator.ending?.message).toContain('TEMPORARY_FAILURE');
  });
});
