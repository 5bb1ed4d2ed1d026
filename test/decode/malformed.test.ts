import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readCapture } from '../../src/decode/capture-file.ts';
import { Decoder } from '../../src/decode/decoder.ts';
import { ikeTableLine } from '../../src/decode/key-table.ts';
import { parseKeyTable } from '../../src/decode/key-table-file.ts';
import { messageText } from '../../src/decode/message-text.ts';
import { concat, fromHex, utf8 } from '../../src/wire/bytes.ts';
import { CONTENT, informational, pcapFile, seal, sealingOf, tableLine, udpPacket } from './captures.ts';
import { conversation, SUITES } from './suites.ts';

const header = informational(1);
const OPEN = sealingOf('NULL [RFC2410]', 'NONE [RFC4306]');
const CBC = sealingOf('AES-CBC-128 [RFC3602]', 'HMAC_SHA2_256_128 [RFC4868]');

function decodeOne(message: Uint8Array, table = '') {
  return new Decoder(parseKeyTable(table, 'keys')).decode({
    number: 1,
    linkType: 101,
    bytes: udpPacket(message),
  });
}

/** What is in an SK payload. */
function decodeContent(first: number, content: string) {
  const message = seal(header, { first, bytes: fromHex(content) }, OPEN);
  return decodeOne(message, tableLine(header, OPEN));
}

describe('headers', () => {
  const message = seal(header, CONTENT, OPEN);
  it.each([
    ['too short', message.subarray(0, 27), /^27 octets are less than an IKE header$/],
    ['of IKEv1', change(message, 17, 0x10), /^IKE version 1\.0/],
    [
      'with a wrong length',
      concat(message, fromHex('00')),
      /header says \d+ octets, but the datagram has \d+/,
    ],
  ])('%s', (_, bytes, error) => {
    expect(decodeOne(bytes)).toMatchObject({ payloads: [], decrypted: false, icv: null });
    expect(decodeOne(bytes)?.error).toMatch(error);
  });

  it('name exchanges that are not registered by their number', () => {
    expect(decodeOne(change(message, 18, 99))?.exchange).toBe('99');
  });

  it('without a time in the capture', () => {
    expect(decodeOne(message)?.time).toBeNull();
    const far = { number: 1, linkType: 101, bytes: udpPacket(message), time: 1n << 90n };
    expect(new Decoder(new Map()).decode(far)?.time).toBeNull();
  });
});

function change(bytes: Uint8Array, at: number, octet: number): Uint8Array {
  const copy = bytes.slice();
  copy[at] = octet;
  return copy;
}

describe('payloads', () => {
  it('that do not parse keep their octets, and the others are read', () => {
    expect(decodeContent(40, '2a 00 0006 abcd  00 00 0008 01 00 0000')?.payloads).toEqual([
      { type: 'NONCE', data: 'abcd', error: 'a nonce of 2 octets' },
      { type: 'DELETE', protocol: 'IKE', spis: [] },
    ]);
  });

  it('that are not registered, or not ours', () => {
    expect(decodeContent(30, '30 80 0005 11  00 00 0008 01020004')?.payloads).toEqual([
      { type: '30', critical: true, data: '11' },
      { type: 'EAP', critical: false, data: '01020004' },
    ]);
  });

  it.each([
    [41, '00 00 00ff', /needs 251 octets at offset 4/],
    [41, '00 00 0003', /payload of type 41: length 3/],
    [0, 'abcd', /2 octets after its end/],
    [46, '00 00 0008 00000000', /encrypted payload in an encrypted payload/],
    [43, '2b 00 0004'.repeat(200), /more than 100 payloads/],
  ])('a chain of type %i: %s', (first, content, error) => {
    expect(decodeContent(first, content)?.error).toMatch(error);
  });

  it('never let text through that a terminal would obey', () => {
    const payload = (text: string) =>
      `00 00 00${(text.length + 8).toString(16).padStart(2, '0')} 02 000000 ${Buffer.from(utf8(text)).toString('hex')}`;
    expect(decodeContent(35, payload('a\x1b[2J'))?.payloads[0]).not.toHaveProperty('text');
    expect(decodeContent(35, payload('a b'))?.payloads[0]).toMatchObject({ text: 'a b' });
    expect(messageText(decodeContent(35, payload('a b'))!)).toContain('text="a b"');
  });
});

describe('encrypted payloads', () => {
  const table = tableLine(header, CBC);
  const cut = (length: number) => {
    const message = seal(header, CONTENT, CBC).slice(0, length);
    const view = new DataView(message.buffer);
    view.setUint32(24, length);
    view.setUint16(30, length - 28);
    return decodeOne(message, table);
  };

  it.each([32, 40, 64])('cut off after %i octets', (length) => {
    expect(cut(length)).toMatchObject({ decrypted: false, icv: null });
    expect(cut(length)?.error).toMatch(/too short/);
  });

  it('of a length that no block cipher makes', () => {
    expect(cut(28 + 4 + 16 + 17 + 16)?.error).toMatch(/not whole blocks of AES-CBC-128/);
  });

  it('with an impossible pad length, which wrong keys make when nothing is verified', () => {
    const message = change(seal(header, CONTENT, OPEN), 28 + 4 + CONTENT.bytes.length, 200);
    expect(decodeOne(message, tableLine(header, OPEN))?.error).toMatch(/pad length.*keys may be wrong/);
  });

  it('of a fragment without room for its numbers', () => {
    const message = seal(header, CONTENT, OPEN).slice(0, 34);
    message[16] = 53;
    new DataView(message.buffer).setUint32(24, 34);
    new DataView(message.buffer).setUint16(30, 6);
    expect(decodeOne(message, tableLine(header, OPEN))?.error).toBe('a fragment without its numbers');
  });
});

describe('anything at all', () => {
  const { packets, secrets } = conversation(SUITES[0]);
  const keys = parseKeyTable(`${ikeTableLine(secrets)}\n${tableLine(header, OPEN)}`, 'keys');
  const read = (file: Uint8Array) => {
    const decoder = new Decoder(keys);
    for (const frame of readCapture(file).frames) {
      const message = decoder.decode(frame);
      if (message !== undefined) JSON.parse(JSON.stringify(message)) && messageText(message);
    }
  };

  it('in a packet never throws', () => {
    const linkTypes = fc.constantFrom(0, 1, 12, 101, 108, 113, 276, 999);
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 120 })), linkTypes, (frames, linkType) =>
        read(pcapFile(frames, { linkType })),
      ),
    );
  });

  it('in a message never throws', () => {
    const content = fc.tuple(fc.integer({ min: 0, max: 60 }), fc.uint8Array({ maxLength: 200 }));
    fc.assert(
      fc.property(fc.array(content, { minLength: 1 }), (contents) =>
        read(pcapFile(contents.map(([first, bytes]) => udpPacket(seal(header, { first, bytes }, OPEN))))),
      ),
      { numRuns: 300 },
    );
  });

  it('in a file never throws, once it begins as a capture', () => {
    const place = fc.tuple(fc.nat({ max: 2000 }), fc.integer({ min: 0, max: 255 }));
    fc.assert(
      fc.property(fc.array(place, { minLength: 1, maxLength: 8 }), (places) => {
        const file = pcapFile(packets);
        for (const [at, octet] of places) file[4 + (at % (file.length - 4))] = octet;
        read(file);
      }),
      { numRuns: 300 },
    );
  });
});
