import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { nodeProvider } from '../../src/crypto/node.ts';
import { readCapture } from '../../src/decode/capture-file.ts';
import { Decoder } from '../../src/decode/decoder.ts';
import { espTableLine, ikeTableLine } from '../../src/decode/key-table.ts';
import { parseKeyTable } from '../../src/decode/key-table-file.ts';
import { NextHeader, OutboundSa } from '../../src/esp/sa.ts';
import { packetBytes, packetFrom } from '../../src/link/packet.ts';
import type { EspSuite } from '../../src/link/sa-store.ts';
import { pcapngFile } from '../../src/transport/pcap.ts';
import { concat, utf8 } from '../../src/wire/bytes.ts';
import { IpProtocol, writeIpHeader } from '../../src/wire/ip.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { DECRYPT_ESP, tshark, VERIFY_ESP } from '../support/tshark.ts';
import { CONTENT, informational, PAIRS, seal, sealingOf, tableLine, udpPacket } from './captures.ts';
import { conversation, SUITES } from './suites.ts';

/** Wireshark reads our captures with our key tables: each of us is right about what the other one says. */
let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'ike-telescope-tshark-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const CHACHA20_POLY1305 = 28;

function captureOf(packets: readonly Uint8Array[]): Uint8Array {
  const frames = packets.map((bytes, index) => ({
    interface: 0,
    micros: 1_700_000_000_000_000 + index,
    bytes,
  }));
  return pcapngFile([{ name: 'test', linkType: 101 }], frames);
}

function ours(capture: Uint8Array, table: string) {
  const decoder = new Decoder(parseKeyTable(table, 'keys'));
  return readCapture(capture).frames.map((frame) => decoder.decode(frame)!);
}

function fieldOf(
  payloads: readonly { readonly [key: string]: unknown }[],
  type: string,
  field: string,
): string {
  return payloads
    .filter((payload) => payload.type === type)
    .map((payload) => String(payload[field]))
    .join(',');
}

describe('ikev2_decryption_table', () => {
  it('of conversations of every suite, except ChaCha20-Poly1305, which Wireshark lacks', () => {
    const suites = SUITES.filter(({ encryption }) => encryption !== CHACHA20_POLY1305);
    // With names on both sides: Wireshark 4.0 stops at the empty data of an ID_NULL.
    const conversations = suites.map((suite, index) => conversation(suite, false, index + 1));
    const table = conversations.map(({ secrets }) => ikeTableLine(secrets)).join('\n');
    writeFileSync(join(directory, 'ikev2_decryption_table'), `${table}\n`);
    const capture = captureOf(conversations.flatMap(({ packets }) => packets));
    const theirs = tshark(directory, capture, [
      'isakmp.auth.data',
      'isakmp.id.data.fqdn',
      'isakmp.key_exchange.data',
      'isakmp.nonce',
      'isakmp.messageid',
    ]);
    const read = ours(capture, table).map(({ payloads, messageId }) => [
      fieldOf(payloads, 'AUTH', 'data'),
      fieldOf(payloads, 'IDi', 'text') + fieldOf(payloads, 'IDr', 'text'),
      fieldOf(payloads, 'KE', 'data'),
      fieldOf(payloads, 'NONCE', 'data'),
      `0x${messageId!.toString(16).padStart(8, '0')}`,
    ]);
    expect(read.filter(([auth]) => auth !== '')).toHaveLength(2 * conversations.length);
    expect(read).toEqual(theirs);
  });

  it('of messages of every pair of algorithms', () => {
    const messages = PAIRS.map(([encryption, integrity], index) => {
      const header = informational(index + 1);
      const sealing = sealingOf(encryption, integrity);
      return { line: tableLine(header, sealing), packet: udpPacket(seal(header, CONTENT, sealing)) };
    });
    const table = messages.map(({ line }) => line).join('\n');
    writeFileSync(join(directory, 'ikev2_decryption_table'), `${table}\n`);
    const capture = captureOf(messages.map(({ packet }) => packet));
    const theirs = tshark(directory, capture, ['isakmp.auth.data', '_ws.expert.message']);
    const read = ours(capture, table);
    PAIRS.forEach((names, index) => {
      const [data, expert] = theirs[index];
      expect([...names, data, expert ?? '']).toEqual([
        ...names,
        fieldOf(read[index].payloads, 'AUTH', 'data'),
        '',
      ]);
    });
  });

  it('of fragments', () => {
    const messages = FRAGMENTED.map((names, index) => {
      const header = informational(index + 1);
      const sealing = sealingOf(names[0], names[1]);
      const packets = [1, 2].map((number) => {
        const bytes = CONTENT.bytes.subarray((number - 1) * 10, number === 1 ? 10 : undefined);
        return udpPacket(seal(header, { ...CONTENT, bytes }, sealing, { number, total: 2 }));
      });
      return { line: tableLine(header, sealing), packets };
    });
    const table = messages.map(({ line }) => line).join('\n');
    writeFileSync(join(directory, 'ikev2_decryption_table'), `${table}\n`);
    const capture = captureOf(messages.flatMap(({ packets }) => packets));
    const theirs = tshark(directory, capture, [
      'isakmp.frag.number',
      'isakmp.auth.data',
      '_ws.expert.message',
    ]);
    const read = ours(capture, table);
    expect(theirs).toEqual(
      read.map(({ fragment, payloads }) => [`${fragment?.number}`, fieldOf(payloads, 'AUTH', 'data'), '']),
    );
    expect(theirs.map(([, data]) => data !== '')).toEqual([false, true, false, true, false, true]);
  });
});

const FRAGMENTED = [
  ['AES-CBC-128 [RFC3602]', 'HMAC_SHA2_256_128 [RFC4868]'],
  ['AES-GCM-256 with 16 octet ICV [RFC5282]', 'NONE [RFC4306]'],
  ['AES-CCM-128 with 12 octet ICV [RFC5282]', 'NONE [RFC4306]'],
] as const;

/** Keys of these lengths for ESP, with and without extended sequence numbers. */
const ESP_SUITES: readonly EspSuite[] = [
  { encryption: 20, keyLength: 128, integrity: 0, esn: false },
  { encryption: 20, keyLength: 256, integrity: 0, esn: false },
  { encryption: 20, keyLength: 256, integrity: 0, esn: true },
  { encryption: 12, keyLength: 128, integrity: 12, esn: false },
  { encryption: 12, keyLength: 256, integrity: 12, esn: true },
];

it('esp_sa', () => {
  const [source, destination] = ['192.0.2.1', '192.0.2.2'];
  const inner = udpPacket(utf8('hello'), {
    source: '10.0.0.1',
    destination: '10.0.0.2',
    sourcePort: 7000,
    destinationPort: 7001,
  });
  const sas = ESP_SUITES.map((suite, index) => ({
    spi: 0x1234_5678 + index,
    suite,
    keys: {
      encryption: new Uint8Array(suite.keyLength / 8 + (suite.integrity === 0 ? 4 : 0)).fill(3),
      integrity: new Uint8Array(suite.integrity === 0 ? 0 : 32).fill(4),
    },
  }));
  const table = sas.map((sa) => espTableLine({ source, destination, ...sa })).join('\n');
  writeFileSync(join(directory, 'esp_sa'), `${table}\n`);
  const packets = sas.map((sa) => {
    const packet = packetFrom(inner);
    new OutboundSa(nodeProvider(seededRandom(1)), sa).seal(packet, NextHeader.IPV4);
    const outer = new Uint8Array(20);
    const esp = packetBytes(packet);
    writeIpHeader(outer, 0, { source, destination, protocol: IpProtocol.ESP }, esp.length);
    return concat(outer, esp);
  });
  const theirs = tshark(
    directory,
    captureOf(packets),
    ['ip.src', 'udp.dstport', 'esp.icv_good'],
    [...DECRYPT_ESP, ...VERIFY_ESP],
  );
  theirs.forEach(([ip, port, good], index) => {
    expect([ip, port]).toEqual([`${source},10.0.0.1`, '7001']);
    // Only newer versions know what extended sequence numbers mean for the ICV.
    if (!ESP_SUITES[index].esn) expect(good).toBe('1');
  });
  expect(theirs).toHaveLength(ESP_SUITES.length);
});
