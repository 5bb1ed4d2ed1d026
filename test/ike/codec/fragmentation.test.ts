import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nodeProvider } from '../../../src/crypto/node.ts';
import type { Protector } from '../../../src/crypto/provider.ts';
import { EncryptionTransform, IntegrityTransform } from '../../../src/crypto/transforms.ts';
import { ExchangeType } from '../../../src/ike/constants.ts';
import {
  type Content,
  clearMessage,
  type FragmentNumbers,
  sealContent,
  sealedLength,
} from '../../../src/ike/encrypted.ts';
import {
  fragments,
  longestMessage,
  MAX_FRAGMENTS,
  MAX_REASSEMBLED,
  Reassembly,
} from '../../../src/ike/fragmentation.ts';
import type { HeaderFields } from '../../../src/ike/header.ts';
import type { IkeKeys } from '../../../src/ike/key-schedule.ts';
import { decodeProtected, encodeProtected, type MessageFragment } from '../../../src/ike/message.ts';
import { encodePayloads, type Payload, PayloadType } from '../../../src/ike/payload/index.ts';
import { Protection } from '../../../src/ike/protection.ts';
import { concat, fromHex, hex } from '../../../src/wire/bytes.ts';
import { mirror, TO_RESPONDER } from '../../support/ike-configs.ts';
import { seededRandom } from '../../support/seeded-random.ts';

const vectors = JSON.parse(
  readFileSync(new URL('../../../fixtures/vectors/ike-fragment.json', import.meta.url), 'utf8'),
);
const crypto = nodeProvider(seededRandom(7383));
const NONE = new Uint8Array(0);

const gcm = (key: Uint8Array): Protector =>
  crypto.protector(
    { encryption: EncryptionTransform.AES_GCM_16, keyLength: 256, integrity: 0 },
    { encryption: key, integrity: NONE },
  );
const cbc = crypto.protector(
  {
    encryption: EncryptionTransform.AES_CBC,
    keyLength: 128,
    integrity: IntegrityTransform.HMAC_SHA2_256_128,
  },
  { encryption: new Uint8Array(16).fill(3), integrity: new Uint8Array(32).fill(4) },
);
const SUITES = [
  { name: 'AES-GCM', protector: gcm(new Uint8Array(36).fill(1)) },
  { name: 'AES-CBC with HMAC', protector: cbc },
];
const GCM = SUITES[0].protector;

const fields: HeaderFields = {
  spiI: fromHex('0102030405060708'),
  spiR: fromHex('1112131415161718'),
  exchangeType: ExchangeType.IKE_AUTH,
  flags: { initiator: true, response: false },
  messageId: 1,
};
/** About so many octets of payloads. */
const payloadsOf = (octets: number): Payload[] => [
  { kind: 'VENDOR_ID', data: crypto.random(Math.floor(octets / 2)) },
  { kind: 'NONCE', data: crypto.random(32) },
  { kind: 'VENDOR_ID', data: crypto.random(Math.ceil(octets / 2)) },
];

const seal = (content: Content, protector: Protector, numbers?: FragmentNumbers) =>
  sealContent(fields, content, protector, crypto.random(protector.ivLength), numbers);

function cut(payloads: readonly Payload[], longest: number, protector: Protector = GCM): Uint8Array[] {
  return fragments(encodePayloads(payloads), longest, protector).map((each) =>
    seal(each.content, protector, each),
  );
}

const queue = () => new Reassembly<MessageFragment>();
const numbersOf = (message: Uint8Array) => {
  const view = new DataView(message.buffer);
  return { next: message[28], number: view.getUint16(32), total: view.getUint16(34) };
};
const kinds = (messages: readonly Uint8Array[], into = queue(), protector = GCM) =>
  messages.map((message) => decodeProtected(message, protector, into).kind);

describe('recorded messages', () => {
  it('of one fragment are made and read octet by octet (rule 78)', () => {
    const { messageId, number, total, keyAndSalt, iv, text, message } = vectors.fragment;
    const { spiI, spiR } = vectors;
    const header: HeaderFields = {
      spiI: fromHex(spiI),
      spiR: fromHex(spiR),
      exchangeType: ExchangeType.IKE_AUTH,
      flags: { initiator: false, response: true },
      messageId,
    };
    const protector = gcm(fromHex(keyAndSalt));
    const content = { first: 0, bytes: fromHex(text) };
    expect(hex(sealContent(header, content, protector, fromHex(iv), { number, total }))).toBe(message);
    const whole = queue();
    expect(decodeProtected(fromHex(message), protector, whole).kind).toBe('incomplete');
    expect(whole.holds({ number, total })).toBe(true);
  });

  it('of one whole message have the same form without the numbers', () => {
    const { messageId, first, keyAndSalt, iv, text, message } = vectors.whole;
    const header: HeaderFields = {
      spiI: fromHex(vectors.spiI),
      spiR: fromHex(vectors.spiR),
      exchangeType: ExchangeType.IKE_AUTH,
      flags: { initiator: true, response: false },
      messageId,
    };
    const protector = gcm(fromHex(keyAndSalt));
    const content = { first, bytes: fromHex(text) };
    expect(hex(sealContent(header, content, protector, fromHex(iv)))).toBe(message);
  });
});

describe.each(SUITES)('fragments with $name', ({ protector }) => {
  it('are numbered from 1, name the first payload in the first only, and each has an IV and an ICV (rule 78)', () => {
    const messages = cut(payloadsOf(1500), 548, protector);
    const total = messages.length;
    expect(total).toBeGreaterThan(2);
    expect(messages.map(numbersOf)).toEqual(
      messages.map((_, i) => ({ next: i === 0 ? PayloadType.VENDOR_ID : 0, number: i + 1, total })),
    );
    expect(messages.map((message) => message[16])).toEqual(messages.map(() => PayloadType.SKF));
    const ivs = messages.map((message) => hex(message.subarray(36, 36 + protector.ivLength)));
    expect(new Set(ivs).size).toBe(total);
    // All but the numbers and lengths of the header is that of every message.
    for (const message of messages) expect(message.subarray(0, 16)).toEqual(messages[0].subarray(0, 16));
    for (const index of messages.keys()) {
      const tampered = messages.map((message) => message.slice());
      tampered[index][tampered[index].length - 1] ^= 1;
      expect(kinds(tampered, queue(), protector)).toEqual(
        messages.map((_, i) => (i === index ? 'discard' : 'incomplete')),
      );
    }
  });

  it('are put together in any order, however they are cut', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 4000 }),
        fc.integer({ min: 150, max: 1300 }),
        fc.infiniteStream(fc.nat()),
        (octets, longest, order) => {
          const payloads = payloadsOf(octets);
          const messages = cut(payloads, longest, protector);
          const shuffled = messages
            .map((message) => ({ message, at: order.next().value as number }))
            .sort((a, b) => a.at - b.at)
            .map(({ message }) => message);
          for (const message of messages) expect(message.length).toBeLessThanOrEqual(longest);
          const into = queue();
          const results = shuffled.map((message) => decodeProtected(message, protector, into));
          expect(results.slice(0, -1).every(({ kind }) => kind === 'incomplete')).toBe(true);
          const last = results.at(-1)!;
          expect(last).toMatchObject({ kind: 'ok', header: fields, payloads });
          if (last.kind !== 'ok') throw new Error('unreachable');
          expect(last.fragmented).toBe(true);
          expect(last.datagram).toEqual(messages[0]);
          expect(last.bytes).toEqual(clearMessage(fields, encodePayloads(payloads)));
        },
      ),
      { numRuns: 30 },
    );
  });

  it('fill what they may, and one octet more takes one more', () => {
    const longest = 548;
    const { length } = encodePayloads(payloadsOf(400)).bytes;
    const exact = (total: number) => {
      let octets = 400;
      while (fragments(encodePayloads(payloadsOf(octets + 1)), longest, protector).length <= total) octets++;
      return octets;
    };
    for (const total of [1, 2, 5]) {
      const octets = exact(total);
      const full = cut(payloadsOf(octets), longest, protector);
      expect(full).toHaveLength(total);
      expect(Math.max(...full.map((message) => message.length))).toBeGreaterThan(
        longest - protector.blockLength,
      );
      expect(cut(payloadsOf(octets + 1), longest, protector)).toHaveLength(total + 1);
    }
    expect(sealedLength(length, protector)).toBe(
      encodeProtected(fields, payloadsOf(400), protector, new Uint8Array(protector.ivLength)).length,
    );
  });

  it('need room', () => {
    expect(() => cut(payloadsOf(10), 60, protector)).toThrow(/no room for a fragment/);
  });
});

describe('the longest message', () => {
  const { address: peer } = TO_RESPONDER;
  const at = (address: string, encapsulated: boolean) => ({ ...mirror(TO_RESPONDER), address, encapsulated });

  it('makes IP packets of 576 octets over IPv4 and 1280 over IPv6, unless more is known (rule 79)', () => {
    expect(longestMessage(at(peer, false), undefined, false)).toBe(576 - 20 - 8);
    expect(longestMessage(at(peer, true), undefined, false)).toBe(576 - 20 - 8 - 4);
    expect(longestMessage(at('2001:db8::1', false), undefined, false)).toBe(1280 - 40 - 8);
    expect(longestMessage(at('2001:db8::1', true), undefined, false)).toBe(1280 - 40 - 8 - 4);
    expect(longestMessage(at(peer, false), 1390, false)).toBe(1390 - 28);
    expect(longestMessage(at('2001:db8::1', true), 1390, false)).toBe(1390 - 52);
  });

  it('is as long as a packet may be in the answer to a whole request, unless less is known (rule 81)', () => {
    expect(longestMessage(at(peer, false), undefined, true)).toBe(1500 - 28);
    expect(longestMessage(at(peer, false), 1390, true)).toBe(1390 - 28);
  });
});

describe('a received fragment (rule 80) (bad input 9)', () => {
  const payloads = payloadsOf(2000);
  const messages = cut(payloads, 548);
  const total = messages.length;
  const content = { first: PayloadType.NONCE, bytes: new Uint8Array(20) };
  const odd = (number: number, of: number) => seal(content, GCM, { number, total: of });

  /** `strange` among the fragments of a message changes nothing of it. */
  function expectIgnored(strange: Uint8Array, kind = 'discard'): void {
    const into = queue();
    kinds(messages.slice(0, 2), into);
    const result = decodeProtected(strange, GCM, into);
    expect(result.kind).toBe(kind);
    expect(kinds(messages.slice(2), into)).toEqual([...Array(total - 3).fill('incomplete'), 'ok']);
  }

  it.each([
    ['number 0', odd(0, total)],
    ['total 0', odd(1, 0)],
    ['number and total 0', odd(0, 0)],
    ['a number above the total', odd(total + 1, total)],
    ['a total that shrinks', odd(1, total - 1)],
    ['more fragments than anybody needs', odd(3, 65_535)],
  ])('is silently discarded: %s', (_, strange) => expectIgnored(strange));

  it.each([
    ['with other content', odd(2, total)],
    ['repeated', messages[1]],
  ])('adds nothing where its number is there already: %s', (_, strange) =>
    expectIgnored(strange, 'incomplete'),
  );

  it('is not even looked at for its ICV when its numbers tell enough', () => {
    let opened = 0;
    const counting: Protector = {
      ...GCM,
      ivLength: 8,
      icvLength: 16,
      blockLength: 1,
      seal: GCM.seal.bind(GCM),
      destroy: () => {},
      open: (...parts) => {
        opened++;
        return GCM.open(...parts);
      },
    };
    const into = queue();
    kinds([messages[0], messages[0], odd(0, 2), odd(1, total - 1), odd(9, 65_535)], into, counting);
    expect(opened).toBe(1);
  });

  it('changes nothing with a wrong ICV, whatever its numbers say', () => {
    const forged = [odd(3, total), odd(1, total + 1), odd(1, MAX_FRAGMENTS)].map((message) => {
      message[message.length - 1] ^= 1;
      return message;
    });
    const into = queue();
    kinds(messages.slice(0, 2), into);
    expect(kinds(forged, into)).toEqual(forged.map(() => 'discard'));
    expect(kinds(messages.slice(2), into).at(-1)).toBe('ok');
  });

  it('with one of five tampered on the way is replaced by its true form', () => {
    const five = cut(payloadsOf(2300), 548);
    expect(five).toHaveLength(5);
    const tampered = five[2].slice();
    tampered[100] ^= 0x80;
    const into = queue();
    const sent = [five[4], tampered, five[0], five[3], five[1], five[2]];
    expect(kinds(sent, into)).toEqual([
      'incomplete',
      'discard',
      'incomplete',
      'incomplete',
      'incomplete',
      'ok',
    ]);
  });

  it('of a larger total starts the message anew, and the smaller ones are of no more use', () => {
    const smaller = cut(payloads, 300);
    expect(smaller.length).toBeGreaterThan(total);
    const into = queue();
    kinds(messages.slice(0, total - 1), into);
    expect(kinds([smaller[0], messages[total - 1]], into)).toEqual(['incomplete', 'discard']);
    expect(kinds(smaller.slice(1), into)).toEqual([...Array(smaller.length - 2).fill('incomplete'), 'ok']);
  });

  it('that is the only one of its message is the whole message', () => {
    const [only] = cut(payloadsOf(100), 548);
    expect(decodeProtected(only, GCM, queue())).toMatchObject({ kind: 'ok', fragmented: true });
  });

  it('is not taken where fragments were not negotiated (rule 77)', () => {
    expect(decodeProtected(messages[0], GCM)).toEqual({
      kind: 'discard',
      reason: 'fragmentation was not negotiated',
    });
  });

  it.each([false, true])(
    'is taken by an IKE SA only if that does fragmentation: %s (rule 77)',
    (fragmentation) => {
      const keys = { initiator: GCM, responder: GCM } as IkeKeys;
      const protection = new Protection(crypto, keys, 'responder', fragmentation);
      expect(protection.decode(messages[0]).kind).toBe(fragmentation ? 'incomplete' : 'discard');
      expect(protection.isReassembling).toBe(fragmentation);
    },
  );

  it('must have its numbers', () => {
    const message = seal({ first: 0, bytes: NONE }, GCM).subarray(0, 28 + 6);
    message[16] = PayloadType.SKF;
    new DataView(message.buffer).setUint32(24, message.length);
    new DataView(message.buffer).setUint16(30, 6);
    expect(decodeProtected(message, GCM, queue()).kind).toBe('discard');
  });

  it('may have payloads ahead that we do not know, but not any number of them (bad input 8)', () => {
    const ahead = (count: number, message: Uint8Array) => {
      const unknown = encodePayloads(
        Array.from(
          { length: count },
          () => ({ kind: 'UNKNOWN', type: 200, critical: false, data: NONE }) as const,
        ),
      ).bytes;
      unknown[unknown.length - 4] = PayloadType.SKF;
      const { next, number, total: of } = numbersOf(message);
      const { bytes } = fragments(encodePayloads(payloads), 548, GCM)[number - 1].content;
      const header = message.slice(0, 28);
      header[16] = 200;
      const length = 8 + 8 + bytes.length + 1 + 16;
      const skf = Uint8Array.of(next, 0, length >> 8, length & 255, 0, number, 0, of);
      const result = concat(header, unknown, skf, crypto.random(8), bytes, new Uint8Array(17));
      new DataView(result.buffer).setUint32(24, result.length);
      const start = 28 + unknown.length + 16;
      GCM.seal(
        result.subarray(0, start - 8),
        result.subarray(start - 8, start),
        result.subarray(start, result.length - 16),
        result.subarray(result.length - 16),
      );
      return result;
    };
    const into = queue();
    const crowded = messages.map((message) => ahead(20, message));
    expect(kinds(crowded, into)).toEqual([...Array(total - 1).fill('incomplete'), 'ok']);
    const again = queue();
    expect(decodeProtected(ahead(1000, messages[0]), GCM, again)).toMatchObject({ kind: 'discard' });
    expect(kinds(messages, again).at(-1)).toBe('ok');
  });
});

describe('a reassembly', () => {
  const fragment = (number: number, total: number, octets: number) => ({
    number,
    total,
    text: new Uint8Array(octets),
  });

  it('takes at least 64 fragments (rule 82)', () => {
    expect(MAX_FRAGMENTS).toBeGreaterThanOrEqual(64);
    const payloads = payloadsOf(64 * 480);
    const messages = cut(payloads, 548);
    expect(messages.length).toBeGreaterThanOrEqual(64);
    const into = queue();
    const results = messages.map((message) => decodeProtected(message, GCM, into));
    expect(results.at(-1)).toMatchObject({ kind: 'ok', payloads });
  });

  it('keeps no more than one message may have, whatever an authentic peer sends (rule 82)', () => {
    const whole = new Reassembly();
    for (let number = 1; number <= MAX_FRAGMENTS; number++) {
      expect(whole.add(fragment(number, MAX_FRAGMENTS, 1400))).toBeUndefined();
    }
    const kept = Array.from({ length: MAX_FRAGMENTS }, (_, i) => i + 1).filter((number) =>
      whole.holds({ number, total: MAX_FRAGMENTS }),
    );
    expect(kept.length * 1400).toBeLessThanOrEqual(MAX_REASSEMBLED);
    expect((kept.length + 1) * 1400).toBeGreaterThan(MAX_REASSEMBLED);
    expect(whole.refusal({ number: 1, total: MAX_FRAGMENTS + 1 })).toMatch(/fragments/);
  });

  it('keeps copies of the content, not the datagrams', () => {
    const into: MessageFragment[] = [];
    const spy = {
      holds: () => false,
      refusal: () => undefined,
      add: (each: MessageFragment) => void into.push(each),
    };
    const [, second] = cut(payloadsOf(1500), 548);
    decodeProtected(second, GCM, spy as unknown as Reassembly<MessageFragment>);
    expect(into[0].text.buffer.byteLength).toBe(into[0].text.length);
    expect(into[0].opening).toBeUndefined();
  });
});
