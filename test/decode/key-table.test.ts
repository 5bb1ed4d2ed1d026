import { describe, expect, it } from 'vitest';
import { UnsupportedAlgorithm } from '../../src/crypto/provider.ts';
import { protectionKeyLengths, protectionLayout } from '../../src/crypto/transforms.ts';
import { espTableLine, ikeTableLine } from '../../src/decode/key-table.ts';
import { KeyTableError, parseKeyTable } from '../../src/decode/key-table-file.ts';
import { fromHex } from '../../src/wire/bytes.ts';
import { SUITES } from './suites.ts';

const SPI = '0011223344556677';
const KEY = '000102030405060708090a0b0c0d0e0f';
const SALTED = `${KEY}aabbccdd`;
const GCM = '"AES-GCM-128 with 16 octet ICV [RFC5282]"';
const NONE = '"NONE [RFC4306]"';

describe('reading', () => {
  it('comments, blank lines, Windows line ends, spaces; the last line of an IKE SA first', () => {
    const first = `${SPI},${SPI},${SALTED},${SALTED},${GCM},,,${NONE}`;
    const second = ` ${SPI}, ${SPI} ,${SALTED.toUpperCase()},ff${SALTED.slice(2)}, ${GCM},"",,${NONE} `;
    const table = parseKeyTable(`# keys\r\n\r\n${first}\r\n${second}\r\n`, 'keys');
    expect([...table.keys()]).toEqual([`${SPI}:${SPI}`]);
    const keys = table.get(`${SPI}:${SPI}`)!;
    expect(keys.map(({ initiator }) => initiator.encryptionKey)).toEqual([fromHex(SALTED), fromHex(SALTED)]);
    expect(keys.map(({ responder }) => responder.encryptionKey[0])).toEqual([255, 0]);
  });

  const E128 = '"AES-CBC-128 [RFC3602]"';
  const H96 = '"HMAC_SHA1_96 [RFC2404]"';
  it.each([
    ['1,2,3', /not eight fields with commas between them; write <SPIi>,<SPIr>/],
    [`${SPI},${SPI},"x,${SALTED},${GCM},,,${NONE}`, /not eight fields/],
    [`${SPI},${SPI},${SALTED},${SALTED},${GCM},,,${NONE},1`, /not eight fields/],
    [
      `00,${SPI},${SALTED},${SALTED},${GCM},,,${NONE}`,
      /SPIi has 1 octets, but an SPI takes 8; write 16 hex digits/,
    ],
    [
      `${SPI},zz,${SALTED},${SALTED},${GCM},,,${NONE}`,
      /SPIr is not hex; write two hex digits for each octet/,
    ],
    [`${SPI},${SPI},${KEY},${SALTED},${GCM},,,${NONE}`, /SK_ei has 16 octets, but AES-GCM-128.* takes 20/],
    [`${SPI},${SPI},${SALTED},,${GCM},,,${NONE}`, /SK_er has 0 octets.*write 40 hex digits, with the salt/],
    [`${SPI},${SPI},${KEY},${KEY},${E128},00,,${H96}`, /SK_ai has 1 octets, but HMAC_SHA1_96 .* takes 20/],
    [`${SPI},${SPI},${KEY},${KEY},${E128},,00,${NONE}`, /SK_ar has 1 octets.*leave the field empty/],
    [`${SPI},${SPI},${SALTED},${SALTED},${GCM},,,${H96}`, /has an ICV of its own; write "NONE \[RFC4306\]"/],
    [
      `${SPI},${SPI},,,"DES [RFC1]",,,${NONE}`,
      /unknown encryption algorithm "DES \[RFC1\]"; write one of "3DES \[RFC2451\]",/,
    ],
    [
      `${SPI},${SPI},,,"NULL [RFC2410]",,,"MD5"`,
      /unknown integrity algorithm "MD5"; write one of "HMAC_MD5_96/,
    ],
  ])('%s is refused', (line, message) => {
    const read = () => parseKeyTable(`# keys\n\n${line}\n`, 'my/keys');
    expect(read).toThrow(KeyTableError);
    expect(read).toThrow(/^my\/keys:3: /);
    expect(read).toThrow(message);
  });

  it('does not tell a key that is in a wrong column', () => {
    const read = () => parseKeyTable(`${SPI},${SPI},${GCM},${KEY},${KEY},,,${NONE}`, 'keys');
    expect(read).toThrow(/unknown encryption algorithm; write/);
  });
});

describe('writing', () => {
  const keysOf = (octets: number, integrity: number) => ({
    encryption: new Uint8Array(octets).fill(0xab),
    integrity: new Uint8Array(integrity).fill(0xcd),
  });
  const lengthsOf = ({ encryption, keyLength, integrity }: (typeof SUITES)[number]) =>
    keysOf(keyLength / 8 + (encryption === 12 ? 0 : 4), integrity === 0 ? 0 : 32);

  it.each(SUITES)('of encryption $encryption with $keyLength bits can be read again', (suite) => {
    const spiI = fromHex(SPI);
    const spiR = fromHex('8899aabbccddeeff');
    const keys = lengthsOf(suite);
    const initiator = { ...keys, encryption: keys.encryption.fill(1) };
    const line = ikeTableLine({ spiI, spiR, suite, initiator, responder: lengthsOf(suite) });
    const read = parseKeyTable(line, 'keys').get(`${SPI}:8899aabbccddeeff`)?.[0];
    expect(read?.initiator.encryptionKey).toEqual(initiator.encryption);
    expect(read?.responder.encryptionKey).toEqual(lengthsOf(suite).encryption);
    expect(read?.initiator.integrityKey).toEqual(keys.integrity);
  });

  const WIRESHARK_HAS: readonly (readonly [encryption: number, integrity: number])[] = [
    ...[14, 15, 16, 18, 19, 20, 28].map((encryption) => [encryption, 0] as const),
    ...[2, 12, 13, 14].map((integrity) => [12, integrity] as const),
  ];
  it.each(WIRESHARK_HAS)(
    'of encryption %i with integrity %i names it as it is read',
    (encryption, integrity) => {
      const suite = { encryption, keyLength: 256, integrity };
      const lengths = protectionKeyLengths(suite);
      const keys = keysOf(lengths.encryption, lengths.integrity);
      const spiI = fromHex(SPI);
      const line = ikeTableLine({ spiI, spiR: spiI, suite, initiator: keys, responder: keys });
      const [read] = parseKeyTable(line, 'keys').get(`${SPI}:${SPI}`)!;
      const { icvLength, blockLength } = protectionLayout(suite);
      expect(read.initiator.encryption.icvLength || read.initiator.integrity.icvLength).toBe(icvLength);
      expect(read.initiator.encryption.blockLength).toBe(blockLength);
      expect(read.responder).toEqual({
        ...read.initiator,
        encryptionKey: keys.encryption,
        integrityKey: keys.integrity,
      });
    },
  );

  it.each([29, 30, 31])('has no name for implicit IVs (%i), in neither table', (encryption) => {
    const suite = { encryption, keyLength: 256, integrity: 0, esn: false };
    const { encryption: length } = protectionKeyLengths(suite);
    const keys = keysOf(length, 0);
    const spiI = fromHex(SPI);
    expect(() => ikeTableLine({ spiI, spiR: spiI, suite, initiator: keys, responder: keys })).toThrow(
      UnsupportedAlgorithm,
    );
    const sa = { source: '192.0.2.1', destination: '192.0.2.2', spi: 0x1001, suite, keys };
    expect(() => espTableLine(sa)).toThrow(UnsupportedAlgorithm);
  });

  it('esp_sa', () => {
    const sa = { source: '192.0.2.1', destination: '192.0.2.2', spi: 0x1001 };
    const keys = keysOf(20, 0);
    const suite = { encryption: 20, keyLength: 128, integrity: 0, esn: false };
    expect(espTableLine({ ...sa, suite, keys })).toBe(
      `"IPv4","192.0.2.1","192.0.2.2","0x00001001","AES-GCM with 16 octet ICV [RFC4106]","0x${'ab'.repeat(20)}","NULL",""`,
    );
    const v6 = { ...sa, source: '2001:db8::1', destination: '2001:db8::2', keys: keysOf(32, 32) };
    expect(espTableLine({ ...v6, suite: { encryption: 12, keyLength: 256, integrity: 12, esn: true } })).toBe(
      `"IPv6","2001:db8::1","2001:db8::2","0x00001001","AES-CBC [RFC3602]","0x${'ab'.repeat(32)}",` +
        `"HMAC-SHA-256-128 [RFC4868]","0x${'cd'.repeat(32)}","64-bit","0"`,
    );
    const chacha = { encryption: 28, keyLength: 256, integrity: 0, esn: false };
    expect(espTableLine({ ...sa, suite: chacha, keys: keysOf(36, 0) })).toContain(
      '"ChaCha20 with Poly1305 [RFC7634]"',
    );
  });
});
