import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nobleProvider } from '../../../src/crypto/noble.ts';
import { EncryptionTransform, IntegrityTransform } from '../../../src/crypto/transforms.ts';
import { ExchangeType, NotifyType } from '../../../src/ike/constants.ts';
import type { HeaderFields } from '../../../src/ike/header.ts';
import {
  type DecodedPlain,
  type DecodedProtected,
  decodePlain,
  decodeProtected,
  encodePlain,
  encodeProtected,
  peekHeader,
} from '../../../src/ike/message.ts';
import { encodePayloads, notify, type Payload, PayloadType } from '../../../src/ike/payload/index.ts';
import { concat, fromHex, hex } from '../../../src/wire/bytes.ts';
import { payloads } from './arbitraries.ts';

const vector = JSON.parse(
  readFileSync(new URL('../../../fixtures/vectors/ike-rfc7634.json', import.meta.url), 'utf8'),
);
const crypto = nobleProvider();
const NONE = new Uint8Array(0);

const PROTECTORS = {
  'AES-GCM': () =>
    crypto.protector(
      { encryption: EncryptionTransform.AES_GCM_16, keyLength: 256, integrity: 0 },
      { encryption: new Uint8Array(36).fill(1), integrity: NONE },
    ),
  'ChaCha20-Poly1305': () =>
    crypto.protector(
      { encryption: EncryptionTransform.CHACHA20_POLY1305, keyLength: 256, integrity: 0 },
      { encryption: new Uint8Array(36).fill(2), integrity: NONE },
    ),
  'AES-CBC with HMAC': () =>
    crypto.protector(
      {
        encryption: EncryptionTransform.AES_CBC,
        keyLength: 128,
        integrity: IntegrityTransform.HMAC_SHA2_256_128,
      },
      { encryption: new Uint8Array(16).fill(3), integrity: new Uint8Array(32).fill(4) },
    ),
};
const suites = Object.entries(PROTECTORS).map(([name, make]) => ({ name, make }));

const request: HeaderFields = {
  spiI: fromHex('0102030405060708'),
  spiR: fromHex('1112131415161718'),
  exchangeType: ExchangeType.INFORMATIONAL,
  flags: { initiator: true, response: false },
  messageId: 7,
};
const response: HeaderFields = { ...request, flags: { initiator: false, response: true } };
const CRITICAL: Payload = { kind: 'UNKNOWN', type: 200, critical: true, data: Uint8Array.of(1) };

/** The reason for a discard; undefined for other results. */
const reason = (decoded: DecodedPlain | DecodedProtected) =>
  decoded.kind === 'discard' ? decoded.reason : undefined;

/** A copy with one octet changed. */
const tampered = (bytes: Uint8Array, at: number, value: number) => bytes.with(at, value);

describe('header', () => {
  const message = encodePlain(request, [notify(NotifyType.COOKIE, Uint8Array.of(1))]);

  it('has the layout of RFC 7296 3.1 (rule 44)', () => {
    expect(hex(message.subarray(0, 28))).toBe('01020304050607081112131415161718292025080000000700000025');
    expect(hex(encodePlain(response, []).subarray(16, 28))).toBe('00202520000000070000001c');
  });

  it('is read back', () => {
    expect(peekHeader(message)).toEqual({
      ...request,
      nextPayload: PayloadType.NOTIFY,
      majorVersion: 2,
      minorVersion: 0,
      length: 37,
    });
  });

  it('ignores the version bit, reserved flags and the minor version (rule 44) (bad input 17)', () => {
    const strange = tampered(tampered(message, 19, 0x08 | 0x10 | 0xc7), 17, 0x2f);
    expect(peekHeader(strange)).toMatchObject({
      flags: { initiator: true, response: false },
      minorVersion: 15,
    });
    expect(decodePlain(strange).kind).toBe('ok');
  });

  it.each([
    ['empty', NONE],
    ['27 octets', message.subarray(0, 27)],
    ['shorter than its length', message.subarray(0, message.length - 1)],
    ['longer than its length', concat(message, Uint8Array.of(0))],
    ['length 0', tampered(message, 27, 0)],
    [
      'initiator SPI 0',
      tampered(concat(new Uint8Array(8), message.subarray(8)), 18, ExchangeType.IKE_SA_INIT),
    ],
  ])('is not plausible: %s (rule 60) (bad input 17)', (_, bytes) => {
    expect(peekHeader(bytes)).toBeUndefined();
    expect(decodePlain(bytes).kind).toBe('discard');
    expect(decodeProtected(bytes, PROTECTORS['AES-GCM']()).kind).toBe('discard');
  });
});

describe('decodePlain', () => {
  it('decodes what encodePlain encodes', () => {
    fc.assert(
      fc.property(
        payloads.filter((list) => !list.some((p) => p.kind === 'UNKNOWN' && p.critical)),
        (list) => {
          const decoded = decodePlain(encodePlain(request, list));
          expect(decoded).toMatchObject({ kind: 'ok', header: request });
          expect(decoded.kind === 'ok' && decoded.payloads).toEqual(list);
        },
      ),
    );
  });

  it('returns nothing that later changes with the received octets', () => {
    const bytes = encodePlain(request, [notify(NotifyType.COOKIE, Uint8Array.of(1, 2, 3))]);
    const decoded = decodePlain(bytes);
    bytes.fill(0xff);
    expect(decoded).toMatchObject({
      header: { spiI: request.spiI },
      payloads: [{ data: Uint8Array.of(1, 2, 3) }],
    });
  });

  it('answers a major version greater than 2, if it is a request', () => {
    const newer = tampered(encodePlain(request, []), 17, 0x30);
    expect(decodePlain(newer)).toMatchObject({
      kind: 'unprotected-error',
      error: { notify: NotifyType.INVALID_MAJOR_VERSION },
    });
    expect(decodePlain(tampered(encodePlain(response, []), 17, 0x30)).kind).toBe('discard');
    expect(decodePlain(tampered(encodePlain(request, []), 17, 0x10)).kind).toBe('discard');
  });

  it('answers an unknown critical payload, if it is a request', () => {
    expect(decodePlain(encodePlain(request, [CRITICAL]))).toMatchObject({
      kind: 'unprotected-error',
      error: { notify: NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD, data: Uint8Array.of(200) },
    });
    expect(decodePlain(encodePlain(response, [CRITICAL])).kind).toBe('discard');
  });

  it('discards malformed payloads', () => {
    const message = encodePlain(request, [notify(1)]);
    expect(reason(decodePlain(tampered(message, 31, 3)))).toMatch(/length 3/);
  });

  it('discards an SK payload', () => {
    const iv = new Uint8Array(8);
    const message = encodeProtected(request, [], PROTECTORS['AES-GCM'](), iv);
    expect(decodePlain(message).kind).toBe('discard');
  });

  it('gives a Decoded for any octets behind a plausible header', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(255), fc.nat(255), (body, next, flags) => {
        const bytes = concat(encodePlain(request, []), body);
        bytes[16] = next;
        bytes[19] = flags;
        new DataView(bytes.buffer).setUint32(24, bytes.length);
        expect(['ok', 'discard', 'unprotected-error']).toContain(decodePlain(bytes).kind);
      }),
      { numRuns: 3000 },
    );
  });
});

describe('RFC 7634 appendix B', () => {
  const protector = crypto.protector(
    { encryption: vector.encryption, keyLength: vector.keyLength, integrity: 0 },
    { encryption: fromHex(vector.keyAndSalt), integrity: NONE },
  );
  const fields: HeaderFields = {
    spiI: fromHex(vector.spiI),
    spiR: fromHex(vector.spiR),
    exchangeType: ExchangeType.INFORMATIONAL,
    flags: { initiator: false, response: false },
    messageId: vector.messageId,
  };
  const windowSize = notify(vector.notifyType, fromHex(vector.notifyData));

  it('is encoded octet by octet (rule 55)', () => {
    const message = encodeProtected(fields, [windowSize], protector, fromHex(vector.iv));
    expect(hex(message)).toBe(hex(fromHex(vector.message)));
  });

  it('is decoded', () => {
    const decoded = decodeProtected(fromHex(vector.message), protector);
    expect(decoded).toMatchObject({ kind: 'ok', header: fields, payloads: [windowSize] });
  });
});

describe.each(suites)('SK payload with $name', ({ make }) => {
  const protector = make();
  const iv = new Uint8Array(protector.ivLength).fill(9);
  const seal = (fields: HeaderFields, list: readonly Payload[]) =>
    encodeProtected(fields, list, protector, iv);

  /** A message with any plaintext in SK, and any unprotected payloads ahead of it. */
  function sealText(text: Uint8Array, first: number, ahead: Uint8Array = NONE, aheadFirst = 0) {
    const header = encodePlain(request, []);
    const skLength = 4 + iv.length + text.length + protector.icvLength;
    const sk = Uint8Array.of(first, 0, skLength >> 8, skLength & 255);
    const message = concat(header, ahead, sk, iv, text.slice(), new Uint8Array(protector.icvLength));
    new DataView(message.buffer).setUint32(24, message.length);
    message[16] = aheadFirst || PayloadType.SK;
    const start = header.length + ahead.length + 4;
    protector.seal(
      message.subarray(0, start),
      iv,
      message.subarray(start + iv.length, message.length - protector.icvLength),
      message.subarray(message.length - protector.icvLength),
    );
    return message;
  }
  /** Pads `bytes` to the block with the pad length octet. */
  function padded(bytes: Uint8Array): Uint8Array {
    const pad = protector.blockLength - 1 - (bytes.length % protector.blockLength);
    return concat(bytes, new Uint8Array(pad), Uint8Array.of(pad));
  }

  it('decodes what it encodes, and leaves the received octets alone', () => {
    fc.assert(
      fc.property(
        payloads.filter((list) => !list.some((p) => p.kind === 'UNKNOWN' && p.critical)),
        (list) => {
          const message = seal(request, list);
          const received = message.slice();
          const decoded = decodeProtected(received, protector);
          expect(decoded).toMatchObject({ kind: 'ok', header: request });
          expect(decoded.kind === 'ok' && decoded.payloads).toEqual(list);
          expect(received).toEqual(message);
        },
      ),
      { numRuns: 50 },
    );
  });

  it('takes an empty SK payload', () => {
    expect(decodeProtected(seal(request, []), protector)).toMatchObject({ kind: 'ok', payloads: [] });
  });

  it('discards a message with any one octet changed', () => {
    const message = seal(request, [notify(NotifyType.REKEY_SA, NONE, 3, fromHex('00000101'))]);
    for (let at = 0; at < message.length; at++) {
      const decoded = decodeProtected(tampered(message, at, message[at] ^ 1), protector);
      expect(decoded.kind, `octet ${at}`).toBe('discard');
    }
  });

  it('discards a message cut at any octet (bad input 18)', () => {
    const message = seal(request, [notify(1)]);
    for (let length = 0; length < message.length; length++) {
      const cut = message.slice(0, length);
      if (length >= 28) new DataView(cut.buffer).setUint32(24, length);
      expect(decodeProtected(cut, protector).kind).toBe('discard');
      if (length < 32) continue;
      new DataView(cut.buffer).setUint16(30, length - 28);
      expect(decodeProtected(cut, protector).kind).toBe('discard');
    }
  });

  it('discards a message of another key', () => {
    const other = Object.entries(PROTECTORS).map(([, makeOther]) => makeOther());
    const message = seal(request, [notify(1)]);
    const results = other.map((candidate) => decodeProtected(message, candidate).kind);
    expect(results.filter((kind) => kind === 'ok')).toHaveLength(1);
  });

  it('is a protected error if authenticated but malformed', () => {
    const malformed = sealText(padded(fromHex('0000000300')), PayloadType.NOTIFY);
    expect(decodeProtected(malformed, protector)).toMatchObject({
      kind: 'protected-error',
      header: { messageId: 7 },
      error: { notify: NotifyType.INVALID_SYNTAX },
    });
    const nested = sealText(padded(fromHex('00000004')), PayloadType.SK);
    expect(decodeProtected(nested, protector).kind).toBe('protected-error');
    const trailing = sealText(padded(fromHex('00000004')), PayloadType.NONE);
    expect(decodeProtected(trailing, protector).kind).toBe('protected-error');
  });

  it('refuses 1000 payloads inside', () => {
    const { first, bytes } = encodePayloads(
      Array<Payload>(1000).fill({ kind: 'UNKNOWN', type: 200, critical: false, data: NONE }),
    );
    expect(decodeProtected(sealText(padded(bytes), first), protector).kind).toBe('protected-error');
  });

  it('answers an unknown critical payload in a request with its type, and discards it in a response (rule 43)', () => {
    expect(decodeProtected(seal(request, [notify(1), CRITICAL]), protector)).toMatchObject({
      kind: 'protected-error',
      error: { notify: NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD, data: Uint8Array.of(200) },
    });
    expect(decodeProtected(seal(response, [CRITICAL]), protector).kind).toBe('discard');
  });

  it('takes any padding (rule 54)', () => {
    const { first, bytes } = encodePayloads([notify(16385, fromHex('0000000a'))]);
    const room = 200 + protector.blockLength - ((bytes.length + 201) % protector.blockLength);
    const text = concat(bytes, new Uint8Array(room).fill(0xee), Uint8Array.of(room));
    expect(decodeProtected(sealText(text, first), protector)).toMatchObject({
      kind: 'ok',
      payloads: [{ type: 16385 }],
    });
  });

  it('discards a pad length beyond the text (bad input 18)', () => {
    const text = new Uint8Array(16).fill(16);
    expect(reason(decodeProtected(sealText(text, 0), protector))).toMatch(/pad length/);
    expect(decodeProtected(sealText(new Uint8Array(16).fill(15), 0), protector).kind).toBe('ok');
  });

  it('ignores payloads ahead of SK, and authenticates them', () => {
    const ahead = concat(Uint8Array.of(PayloadType.SK), encodePayloads([notify(1)]).bytes.subarray(1));
    const message = sealText(padded(NONE), 0, ahead, PayloadType.NOTIFY);
    expect(decodeProtected(message, protector)).toMatchObject({ kind: 'ok', payloads: [] });
    expect(reason(decodeProtected(tampered(message, 35, 2), protector))).toBe('wrong ICV');
  });

  it('discards SK that is not last, is missing, is a fragment, or comes after 1000 payloads (rule 54)', () => {
    const message = seal(request, []);
    const withMore = concat(message, fromHex('00000004'));
    new DataView(withMore.buffer).setUint32(24, withMore.length);
    expect(reason(decodeProtected(withMore, protector))).toMatch(/4 octets after its end/);
    expect(reason(decodeProtected(encodePlain(request, [notify(1)]), protector))).toBe('no SK payload');
    expect(decodeProtected(tampered(message, 16, PayloadType.SKF), protector).kind).toBe('discard');
    const ahead = encodePayloads(
      Array<Payload>(1000).fill({ kind: 'UNKNOWN', type: 200, critical: false, data: NONE }),
    ).bytes;
    ahead[ahead.length - 4] = PayloadType.SK;
    expect(reason(decodeProtected(sealText(padded(NONE), 0, ahead, 200), protector))).toBe('no SK payload');
  });

  it('discards another major version', () => {
    for (const version of [0x10, 0x30]) {
      expect(decodeProtected(tampered(seal(request, []), 17, version), protector).kind).toBe('discard');
    }
  });

  it('is a whole number of blocks', () => {
    for (let length = 0; length < 20; length++) {
      const message = seal(request, [notify(1, new Uint8Array(length))]);
      const text = message.length - 32 - protector.ivLength - protector.icvLength;
      expect(text % protector.blockLength).toBe(0);
      expect(text - (8 + length + 1)).toBeLessThan(protector.blockLength);
    }
  });

  it('refuses to encode with a wrong IV, or beyond 65535 octets', () => {
    expect(() => encodeProtected(request, [], protector, new Uint8Array(7))).toThrow(RangeError);
    const data = new Uint8Array(40_000);
    expect(() =>
      seal(request, [
        { kind: 'VENDOR_ID', data },
        { kind: 'VENDOR_ID', data },
      ]),
    ).toThrow(RangeError);
  });

  it('gives a discard for any octets', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(255), (body, next) => {
        const bytes = concat(encodePlain(request, []), body);
        bytes[16] = next;
        new DataView(bytes.buffer).setUint32(24, bytes.length);
        expect(decodeProtected(bytes, protector).kind).toBe('discard');
      }),
      { numRuns: 300 },
    );
  });
});
