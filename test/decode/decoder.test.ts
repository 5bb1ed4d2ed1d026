import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { readCapture } from '../../src/decode/capture-file.ts';
import { type DecodedMessage, Decoder } from '../../src/decode/decoder.ts';
import { espTableLine, ikeTableLine } from '../../src/decode/key-table.ts';
import { parseKeyTable } from '../../src/decode/key-table-file.ts';
import { messageText } from '../../src/decode/message-text.ts';
import { encodePayloads, notify } from '../../src/ike/payload/index.ts';
import { concat, fromHex, hex, utf8 } from '../../src/wire/bytes.ts';
import {
  AUTH,
  CONTENT,
  ENDS,
  informational,
  PAIRS,
  pcapFile,
  seal,
  sealingOf,
  tableLine,
  UNCHECKED_NAMES,
  udpPacket,
} from './captures.ts';
import { conversation, SUITES } from './suites.ts';

function decode(packets: readonly Uint8Array[], table: string): DecodedMessage[] {
  const decoder = new Decoder(parseKeyTable(table, 'keys'));
  return readCapture(pcapFile(packets)).frames.flatMap((frame) => decoder.decode(frame) ?? []);
}

const GCM = sealingOf('AES-GCM-256 with 16 octet ICV [RFC5282]', 'NONE [RFC4306]');
const CBC = sealingOf('AES-CBC-128 [RFC3602]', 'HMAC_SHA2_256_128 [RFC4868]');
const DESCRIBED_AUTH = { type: 'AUTH', method: 'SHARED_KEY', data: '000102030405060708090a0b0c0d0e0f' };

describe('the suites of the project', () => {
  it.each(SUITES)('encryption $encryption with $keyLength bits', (suite) => {
    const { sent, secrets, reader, packets } = conversation(suite);
    const messages = decode(packets, ikeTableLine(secrets));
    expect(messages.map(({ exchange }) => exchange)).toEqual([
      'IKE_SA_INIT',
      'IKE_SA_INIT',
      'IKE_AUTH',
      'IKE_AUTH',
      'INFORMATIONAL',
      'INFORMATIONAL',
    ]);
    messages.forEach((message, index) => {
      const own = reader.read(sent[index].message);
      expect(message).toMatchObject({ decrypted: index > 1, icv: index > 1 ? true : null });
      expect(message.error).toBeUndefined();
      expect(message.payloads).toHaveLength(own.length);
      for (const payload of own) {
        if (payload.kind === 'AUTH') {
          expect(message.payloads).toContainEqual(expect.objectContaining({ data: hex(payload.data) }));
        }
      }
    });
  });

  it('says what a conversation is about', () => {
    const { packets, secrets } = conversation(SUITES[2]);
    const [init, , request, response, close] = decode(packets, ikeTableLine(secrets));
    expect(init).toMatchObject({
      frame: 1,
      time: '2023-11-14T22:13:20.123456Z',
      source: { address: '192.0.2.1', port: 500 },
      destination: { address: '192.0.2.2', port: 500 },
      spiI: hex(secrets.spiI),
      spiR: '0000000000000000',
      flags: { initiator: true, response: false },
      messageId: 0,
    });
    expect(init.payloads[0]).toEqual({
      type: 'SA',
      proposals: [
        {
          number: 1,
          protocol: 'IKE',
          spi: '',
          transforms: [
            { type: 'ENCR', id: 'AES_GCM_16', keyLength: 256 },
            { type: 'PRF', id: 'HMAC_SHA2_256' },
            { type: 'KE', id: 'CURVE25519' },
          ],
        },
      ],
    });
    expect(request.payloads).toContainEqual({ type: 'IDi', id: 'ID_NULL', data: '' });
    const everything = {
      protocol: 0,
      startPort: 0,
      endPort: 65535,
      startAddress: '0.0.0.0',
      endAddress: '255.255.255.255',
    };
    expect(request.payloads).toContainEqual({ type: 'TSr', selectors: [everything] });
    expect(response.payloads).toContainEqual({
      type: 'IDr',
      id: 'ID_FQDN',
      data: hex(utf8('relay.example')),
      text: 'relay.example',
    });
    const reply = response.payloads.find(({ type }) => type === 'CP');
    expect(reply).toMatchObject({ configuration: 'CFG_REPLY' });
    expect(reply?.attributes).toContainEqual({
      attribute: 'INTERNAL_IP4_DNS',
      data: '0a090035',
      text: '10.9.0.53',
    });
    expect(close.payloads).toEqual([{ type: 'DELETE', protocol: 'IKE', spis: [] }]);
  });

  it('prints it for people', () => {
    const { packets, secrets } = conversation(SUITES[3]);
    const text = decode(packets, ikeTableLine(secrets)).map(messageText).join('\n');
    expect(text).toContain('192.0.2.1:500 > 192.0.2.2:500  IKE_AUTH request 1 of the initiator');
    expect(text).toContain('  decrypted; ICV right\n');
    expect(text).toContain('  in clear\n');
    expect(decode(packets, '').map(messageText)[2]).toContain('  not decrypted\n');
    expect(text).toContain('      transform type=ENCR id=AES_CBC keyLength=128\n');
    expect(text).toContain('text=relay.example\n');
    expect(text).toContain('  DELETE protocol=IKE');
  });
});

describe('the algorithms of the table', () => {
  it.each(PAIRS)('%s, %s', (encryption, integrity) => {
    const sealing = sealingOf(encryption, integrity);
    const header = informational(1);
    const message = seal(header, CONTENT, sealing);
    const unverified = !encryption.includes('octet ICV') && UNCHECKED_NAMES.includes(integrity);
    const [decoded] = decode([udpPacket(message)], tableLine(header, sealing));
    expect(decoded).toMatchObject({ decrypted: true, icv: unverified ? null : true });
    expect(decoded.payloads).toEqual([DESCRIBED_AUTH]);

    message[message.length - 1] ^= 1;
    const [changed] = decode([udpPacket(message)], tableLine(header, sealing));
    expect(changed.icv).toBe(unverified ? null : false);
    if (!unverified) {
      expect(changed).toMatchObject({ decrypted: false, payloads: [{ type: 'SK' }] });
      expect(changed.error).toMatch(/ICV is wrong/);
    }
  });

  it('ChaCha20-Poly1305: the example of RFC 7634 appendix B', () => {
    const vector = JSON.parse(readFileSync('fixtures/vectors/ike-rfc7634.json', 'utf8'));
    const { spiI, spiR, keyAndSalt } = vector;
    const line = `${spiI},${spiR},${keyAndSalt},${keyAndSalt},"ChaCha20 with Poly1305 [RFC7634]",,,"NONE [RFC4306]"`;
    const [decoded] = decode([udpPacket(fromHex(vector.message))], line);
    expect(decoded).toMatchObject({
      icv: true,
      messageId: 9,
      payloads: [{ type: 'NOTIFY', notify: 'SET_WINDOW_SIZE', data: vector.notifyData }],
    });
  });

  it('takes the keys of the sender', () => {
    const theirs = sealingOf(GCM.encryption, GCM.integrity, 50);
    const header = informational(1);
    const [e, r] = [hex(GCM.encryptionKey), hex(theirs.encryptionKey)];
    const line = tableLine(header, GCM).replace(`${e},${e}`, `${e},${r}`);
    const answer = { ...header, flags: { initiator: false, response: true } };
    const packets = [seal(header, CONTENT, GCM), seal(answer, CONTENT, theirs), seal(answer, CONTENT, GCM)];
    const verified = decode(
      packets.map((message) => udpPacket(message)),
      line,
    ).map(({ icv }) => icv);
    expect(verified).toEqual([true, true, false]);
  });
});

describe('messages that are not in the table', () => {
  it('are printed as far as they are in clear', () => {
    const { packets } = conversation(SUITES[0]);
    const messages = decode(packets, '');
    expect(messages[0].payloads.map(({ type }) => type)).toContain('NONCE');
    expect(messages[2]).toMatchObject({ decrypted: false, icv: null, payloads: [{ type: 'SK' }] });
    expect(messages[2].error).toBeUndefined();
  });
});

describe('fragments (RFC 7383)', () => {
  const header = informational(1, 3);
  const identity = encodePayloads([AUTH, notify(16384), { kind: 'VENDOR_ID', data: utf8('somebody') }]);
  const cut = (total: number, sealing = GCM) =>
    Array.from({ length: total }, (_, index) => {
      const size = Math.ceil(identity.bytes.length / total);
      const bytes = identity.bytes.subarray(index * size, (index + 1) * size);
      return udpPacket(seal(header, { first: identity.first, bytes }, sealing, { number: index + 1, total }));
    });

  it.each([GCM, CBC])('are put together in any order', (sealing) => {
    const [a, b, c] = cut(3, sealing);
    const messages = decode([c, a, a, b], tableLine(header, sealing));
    expect(messages.map(({ fragment }) => fragment?.number)).toEqual([3, 1, 1, 2]);
    expect(messages.map(({ icv, decrypted }) => icv && decrypted)).toEqual([true, true, true, true]);
    expect(messages.slice(0, 3).flatMap(({ payloads }) => payloads.map(({ type }) => type))).toEqual([
      'SKF',
      'SKF',
      'SKF',
    ]);
    expect(messages[3].reassembled).toEqual([2, 4, 1]);
    expect(messages[3].payloads.map(({ type }) => type)).toEqual(['AUTH', 'NOTIFY', 'VENDOR_ID']);
    expect(messages[3].payloads[0]).toEqual(DESCRIBED_AUTH);
    expect(messageText(messages[3])).toContain('fragment 2 of 3; put together from frames 2, 4, 1');
  });

  it('start over when the sender cuts smaller', () => {
    const [a, b] = cut(2);
    const smaller = cut(4);
    const messages = decode([a, ...smaller, b], tableLine(header, GCM));
    expect(messages[4].reassembled).toEqual([2, 3, 4, 5]);
    expect(messages[5].error).toMatch(/4 fragments has replaced/);
  });

  it('must have possible numbers', () => {
    const impossible = [
      { number: 0, total: 2 },
      { number: 3, total: 2 },
    ].map((fragment) => udpPacket(seal(header, CONTENT, GCM, fragment)));
    const messages = decode(impossible, tableLine(header, GCM));
    expect(messages.map(({ error }) => error)).toEqual(['fragment 0 of 2', 'fragment 3 of 2']);
  });

  it('show their numbers without keys, and a wrong one is left out', () => {
    const [a, b] = cut(2);
    a[a.length - 1] ^= 1;
    expect(decode([b], '')[0]).toMatchObject({ decrypted: false, fragment: { number: 2, total: 2 } });
    const messages = decode([a, b], tableLine(header, GCM));
    expect(messages.map(({ icv }) => icv)).toEqual([false, true]);
    expect(messages[1].reassembled).toBeUndefined();
  });
});

describe('UDP ports', () => {
  const header = informational(1);
  const message = seal(header, CONTENT, GCM);
  const natT = { ...ENDS, sourcePort: 40_000, destinationPort: 4500 };

  it('4500: IKE is what has the non-ESP marker', () => {
    const marked = concat(new Uint8Array(4), message);
    const esp = concat(fromHex('12345678'), message);
    const packets = [marked, esp, Uint8Array.of(0xff), Uint8Array.of(0, 0)].map((p) => udpPacket(p, natT));
    const messages = decode(packets, tableLine(header, GCM));
    expect(messages.map(({ frame, icv }) => [frame, icv])).toEqual([[1, true]]);
  });

  it('others are not IKE', () => {
    expect(decode([udpPacket(message, { ...ENDS, sourcePort: 53, destinationPort: 53 })], '')).toEqual([]);
  });
});

it('refuses keys that are not of the suite', () => {
  const { secrets } = conversation(SUITES[0]);
  const initiator = { ...secrets.initiator, encryption: new Uint8Array(3) };
  expect(() => ikeTableLine({ ...secrets, initiator })).toThrow(RangeError);
  const esp = { source: '192.0.2.1', destination: '192.0.2.2', spi: 1, suite: { ...SUITES[0], esn: false } };
  expect(() => espTableLine({ ...esp, keys: initiator })).toThrow(RangeError);
});
